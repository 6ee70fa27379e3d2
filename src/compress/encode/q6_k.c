/* q6_k.c - Q6_K: sub-blocks of 16, S in -128..127, levels -32..31. See scales.h, decode_q6_k.c. */
#include "compress/encode/scales.h"

static const vd_scale_family family = {.sub = 16, .s_min = -128, .s_max = 127, .low = -32,
                                       .high = 31, .step = 0.5f, .below = 3, .n_ranges = 2,
                                       .n_windows = 6, .n_starts = 1};

VD_ENCODER(vd_encode_q6_k)
{
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 210) {
        vd_scale_block block;
        vd_scale_search(&family, x, w, &block);
        memset(dst, 0, 192);
        for (int i = 0; i < VD_SUPER; i++) {
            int half = i / 128, k = i % 128 / 32, j = i % 32, q = (int)block.level[i] + 32;
            dst[64 * half + 32 * (k % 2) + j] |= (uint8_t)((q & 15) << 4 * (k / 2));
            dst[128 + 32 * half + j] |= (uint8_t)(q >> 4 << 2 * k);
        }
        for (int i = 0; i < 16; i++)
            dst[192 + i] = (uint8_t)block.s[i];
        vd_store_f16(dst + 208, block.d);
    }
}
