/*
 * decode_iq4_xs.c - 256 values in 136 bytes: d, scales_h (16 bits), scales_l[4], qs[128].
 *
 * Eight sub-blocks of 32 values with 16 bytes of qs each, as in IQ4_NL. The 6-bit scale S of
 * sub-block s: the lower 4 bits are half s % 2 of scales_l[s / 2], the upper two are bits 2s, 2s+1
 * of scales_h; value = d * (S - 32) * vd_iq4_values[q].
 */
#include "kernels/ref/decode.h"

void vd_decode_iq4_xs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 136) {
        float d = vd_load_f16(src);
        for (int s = 0; s < 8; s++, dst += 32) {
            const uint8_t *qs = src + 8 + 16 * s;
            float ds = d * (float)(vd_iq4_xs_scale(src, s) - 32);
            for (int j = 0; j < 16; j++) {
                dst[j] = ds * (float)vd_iq4_values[qs[j] & 15];
                dst[j + 16] = ds * (float)vd_iq4_values[qs[j] >> 4];
            }
        }
    }
}
