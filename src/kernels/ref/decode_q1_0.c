/*
 * decode_q1_0.c - 128 signs in 18 bytes: d, bits[16].
 * Value j is d where bit j (from the lowest of each byte) is set, else -d.
 */
#include "kernels/ref/decode.h"

void vd_decode_q1_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 18, dst += 128) {
        float d = vd_load_f16(src);
        for (int j = 0; j < 128; j++)
            dst[j] = src[2 + j / 8] >> j % 8 & 1 ? d : -d;
    }
}
