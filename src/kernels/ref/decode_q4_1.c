/*
 * decode_q4_1.c - 32 values in 20 bytes: d, m, qs[16].
 * Byte j holds value j in its lower and value j+16 in its upper half; value = d * q + m.
 */
#include "kernels/ref/decode.h"

void vd_decode_q4_1(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 20, dst += 32) {
        float d = vd_load_f16(src);
        float m = vd_load_f16(src + 2);
        const uint8_t *qs = src + 4;
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)(qs[j] & 15) + m;
            dst[j + 16] = d * (float)(qs[j] >> 4) + m;
        }
    }
}
