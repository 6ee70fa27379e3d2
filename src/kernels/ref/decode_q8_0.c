/* decode_q8_0.c - 32 values in 34 bytes: d, int8 q[32]; value = d * q. */
#include "kernels/ref/decode.h"

void vd_decode_q8_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 34, dst += 32) {
        float d = vd_load_f16(src);
        const int8_t *q = (const int8_t *)src + 2;
        for (int j = 0; j < 32; j++)
            dst[j] = d * (float)q[j];
    }
}
