/*
 * iq4.c - IQ4_NL and IQ4_XS: sixteen levels that are not evenly spaced (vd_iq4_values), with a
 * scale per 32 values. See scales.h for the search; IQ4_NL has no super-block, its scale is an
 * f16 of its own.
 */
#include "compress/encode/scales.h"
#include "kernels/ref/decode.h"

enum { SUB = 32 };

/* vd_iq4_values */
static const float levels[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

static const vd_scale_family family = {.sub = SUB, .s_min = -32, .s_max = 31, .low = -127,
                                       .high = 113, .levels = levels, .step = 6, .below = 3,
                                       .n_ranges = 2, .n_windows = 2, .n_starts = 3};

static unsigned code_of(float level)
{
    unsigned code = 0;
    while (code < 15 && (float)vd_iq4_values[code] < level)
        code++;
    return code;
}

static void put_codes(const float level[SUB], uint8_t *qs)
{
    for (int j = 0; j < SUB / 2; j++)
        qs[j] = (uint8_t)(code_of(level[j]) | code_of(level[j + SUB / 2]) << 4);
}

VD_ENCODER(vd_encode_iq4_nl)
{
    for (size_t b = 0; b < n_blocks; b++, x += SUB, w = vd_next(w, SUB), dst += 18) {
        float own[SUB], chosen[SUB] = {0};
        bool any = w != NULL ? vd_given_weights(x, w, SUB, own) : vd_weights(x, SUB, own);
        float d = any ? vd_scale_single(&family, x, own, chosen) : 0.0f;
        vd_store_f16(dst, d);
        put_codes(chosen, dst + 2);
    }
}

VD_ENCODER(vd_encode_iq4_xs)
{
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 136) {
        vd_scale_block block;
        unsigned high = 0;
        vd_scale_search(&family, x, w, &block);
        memset(dst, 0, 8);
        for (int i = 0; i < VD_SUPER / SUB; i++) {
            unsigned s = (unsigned)(block.s[i] + 32);
            high |= s >> 4 << 2 * i;
            dst[4 + i / 2] |= (uint8_t)((s & 15) << i % 2 * 4);
            put_codes(block.level + SUB * i, dst + 8 + SUB / 2 * i);
        }
        vd_store_f16(dst, block.d);
        vd_store_u16(dst + 2, (uint16_t)high);
    }
}
