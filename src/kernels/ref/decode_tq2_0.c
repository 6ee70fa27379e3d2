/*
 * decode_tq2_0.c - 256 ternary values in 66 bytes: qs[64], d.
 * Two bits per value in the order of Q2_K; value = d * (q - 1).
 */
#include "kernels/ref/decode.h"

void vd_decode_tq2_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 66, dst += 256) {
        float d = vd_load_f16(src + 64);
        for (int s = 0; s < 8; s++)
            for (int j = 0; j < 32; j++)
                dst[32 * s + j] = d * (float)((src[32 * (s / 4) + j] >> s % 4 * 2 & 3) - 1);
    }
}
