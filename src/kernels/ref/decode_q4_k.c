/*
 * decode_q4_k.c - 256 values in 144 bytes: d, dmin, scales[12], qs[128].
 *
 * Four chunks of 64 values take 32 bytes of qs each: the lower halves are the first 32 values
 * (sub-block 2c), the upper halves the next 32 (sub-block 2c+1). Each of the eight sub-blocks has a
 * 6-bit scale S and minimum M; value = d * S * q - dmin * M.
 */
#include "kernels/ref/decode.h"

void vd_decode_q4_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 144, dst += 256) {
        float d = vd_load_f16(src);
        float dmin = vd_load_f16(src + 2);
        for (int s = 0; s < 8; s++) {
            const uint8_t *qs = src + 16 + 32 * (s / 2);
            uint8_t scale, min;
            vd_k_scale(src + 4, s, &scale, &min);
            float ds = d * (float)scale;
            float ms = dmin * (float)min;
            for (int j = 0; j < 32; j++)
                dst[32 * s + j] = ds * (float)(qs[j] >> 4 * (s % 2) & 15) - ms;
        }
    }
}
