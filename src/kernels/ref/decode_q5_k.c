/*
 * decode_q5_k.c - 256 values in 176 bytes: d, dmin, scales[12], qh[32], qs[128].
 * As Q4_K, and bit s of qh[j] is bit 4 of value j of sub-block s.
 */
#include "kernels/ref/decode.h"

void vd_decode_q5_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 176, dst += 256) {
        float d = vd_load_f16(src);
        float dmin = vd_load_f16(src + 2);
        const uint8_t *qh = src + 16;
        for (int s = 0; s < 8; s++) {
            const uint8_t *qs = src + 48 + 32 * (s / 2);
            uint8_t scale, min;
            vd_k_scale(src + 4, s, &scale, &min);
            float ds = d * (float)scale;
            float ms = dmin * (float)min;
            for (int j = 0; j < 32; j++) {
                int q = (qs[j] >> 4 * (s % 2) & 15) | (qh[j] >> s & 1) << 4;
                dst[32 * s + j] = ds * (float)q - ms;
            }
        }
    }
}
