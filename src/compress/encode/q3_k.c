/* q3_k.c - Q3_K: sub-blocks of 16, S in -32..31, levels -4..3. See scales.h, decode_q3_k.c. */
#include "compress/encode/scales.h"

static const vd_scale_family family = {.sub = 16, .s_min = -32, .s_max = 31, .low = -4, .high = 3,
                                       .step = 0.4f, .below = 3, .n_ranges = 2,
                                       .n_windows = 2, .n_starts = 3};

VD_ENCODER(vd_encode_q3_k)
{
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 110) {
        vd_scale_block block;
        vd_scale_search(&family, x, w, &block);
        memset(dst, 0, 108);
        for (int i = 0; i < VD_SUPER; i++) {
            int q = (int)block.level[i] + 4, j = i % 32;
            dst[j] |= (uint8_t)(q >> 2 << i / 32);
            dst[32 + 32 * (i / 128) + j] |= (uint8_t)((q & 3) << i % 128 / 32 * 2);
        }
        for (int i = 0; i < 16; i++) {
            int s = block.s[i] + 32;
            dst[96 + i % 8] |= (uint8_t)((s & 15) << 4 * (i / 8));
            dst[104 + i % 4] |= (uint8_t)(s >> 4 << 2 * (i / 4));
        }
        vd_store_f16(dst + 108, block.d);
    }
}
