/*
 * iq4.c - IQ4_NL and IQ4_XS: sixteen levels that are not evenly spaced (vd_iq4_values), with a
 * scale per 32 values. See super.h for the search; IQ4_NL has no super-block, so its scale is
 * rounded to f16 and refitted alone.
 */
#include "compress/encode/super.h"
#include "kernels/ref/decode.h"

enum { SUB = 32 };

/* Adds up the steps between levels that lie below: no table look-up, so it goes in vectors. */
static void round_levels(const float *x, const float *w, float id, int n, float *level)
{
    for (int i = 0; i < n; i++) {
        float scaled = x[i] * id, at = -127.0f;
        for (int k = 0; k < 15; k++) {
            float low = vd_iq4_values[k], high = vd_iq4_values[k + 1];
            at += scaled > 0.5f * (low + high) ? high - low : 0.0f;
        }
        level[i] = at;
    }
}

static const vd_family family = {.sub = SUB, .s_min = -32, .s_max = 31, .s_step = 1, .low = -127,
                                 .high = 113, .step = 4, .n_steps = 5, .rounder = round_levels};

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
        float own[SUB], level[SUB], chosen[SUB] = {0}, best = INFINITY, best_d = 0;
        if (w != NULL)
            vd_given_weights(x, w, SUB, own);
        else
            vd_weights(x, SUB, own);
        float d = vd_best_scale(&family, x, own);
        for (int pass = 0; pass < 3; pass++) {
            d = vd_round_f16(d);
            round_levels(x, own, d != 0.0f ? 1.0f / d : 0.0f, SUB, level);
            float error = vd_error_of(x, own, level, d, SUB);
            if (!(error < best))
                break;
            best = error;
            best_d = d;
            memcpy(chosen, level, sizeof(chosen));
            vd_sums sums = vd_sums_of(x, own, level, SUB);
            d = sums.ll > 0.0f ? sums.xl / sums.ll : d;
        }
        vd_store_f16(dst, best_d);
        put_codes(chosen, dst + 2);
    }
}

VD_ENCODER(vd_encode_iq4_xs)
{
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 136) {
        vd_superblock block;
        unsigned high = 0;
        vd_super_search(&family, x, w, &block);
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
