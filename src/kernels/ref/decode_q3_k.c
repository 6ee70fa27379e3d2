/*
 * decode_q3_k.c - 256 values in 110 bytes: hmask[32], qs[64], scales[12], d.
 *
 * The lower two bits as in Q2_K. Bit k of hmask[j] is the third bit of value 32 * k + j. One 6-bit
 * scale S per 16 values (vd_q3_k_scale); value = d * (S - 32) * (q - 4).
 */
#include "kernels/ref/decode.h"

void vd_decode_q3_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 110, dst += 256) {
        float d = vd_load_f16(src + 108);
        for (int s = 0; s < 16; s++) {
            const uint8_t *hmask = src + 16 * (s % 2);
            const uint8_t *qs = src + 32 + 32 * (s / 8) + 16 * (s % 2);
            float ds = d * (float)(vd_q3_k_scale(src + 96, s) - 32);
            for (int j = 0; j < 16; j++) {
                int q = (qs[j] >> s % 8 / 2 * 2 & 3) | (hmask[j] >> s / 2 & 1) << 2;
                dst[16 * s + j] = ds * (float)(q - 4);
            }
        }
    }
}
