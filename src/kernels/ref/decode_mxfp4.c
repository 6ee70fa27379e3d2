/*
 * decode_mxfp4.c - 32 values in 17 bytes: e, qs[16].
 *
 * Microscaling FP4 (OCP MX specification 1.0, 2023): four-bit floats e2m1 that share a power of
 * two. Halves of bytes as in Q4_0; value = vd_fp4_values[q] * 2^(e - 128), the table being doubled
 * e2m1.
 */
#include <string.h>

#include "kernels/ref/decode.h"

const int8_t vd_fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float vd_mxfp4_scale(uint8_t e)
{
    uint32_t bits = e < 2 ? UINT32_C(0x200000) << e : (uint32_t)(e - 1) << 23; /* 0, 1: subnormal */
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

void vd_decode_mxfp4(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 17, dst += 32) {
        float d = vd_mxfp4_scale(src[0]);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)vd_fp4_values[src[1 + j] & 15];
            dst[j + 16] = d * (float)vd_fp4_values[src[1 + j] >> 4];
        }
    }
}
