/*
 * decode_q2_0.c - 64 values in 18 bytes: d, qs[16].
 * Four neighbours per byte, from the lowest bits up; value = d * (q - 1).
 */
#include "kernels/ref/decode.h"

void vd_decode_q2_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 18, dst += 64) {
        float d = vd_load_f16(src);
        for (int j = 0; j < 64; j++)
            dst[j] = d * (float)((src[2 + j / 4] >> j % 4 * 2 & 3) - 1);
    }
}
