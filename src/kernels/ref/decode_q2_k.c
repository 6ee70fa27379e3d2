/*
 * decode_q2_k.c - 256 values in 84 bytes: scales[16], qs[64], d, dmin.
 *
 * Each half of 128 values takes 32 bytes of qs: quarter k (32 values) of a half is bits 2k, 2k+1.
 * One byte of scales per 16 values, S the lower half, M the upper; value = d * S * q - dmin * M.
 */
#include "kernels/ref/decode.h"

void vd_decode_q2_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 84, dst += 256) {
        float d = vd_load_f16(src + 80);
        float dmin = vd_load_f16(src + 82);
        for (int s = 0; s < 16; s++) {
            const uint8_t *qs = src + 16 + 32 * (s / 8) + 16 * (s % 2);
            float ds = d * (float)(src[s] & 15);
            float ms = dmin * (float)(src[s] >> 4);
            for (int j = 0; j < 16; j++)
                dst[16 * s + j] = ds * (float)(qs[j] >> s % 8 / 2 * 2 & 3) - ms;
        }
    }
}
