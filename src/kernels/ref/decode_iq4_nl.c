/*
 * decode_iq4_nl.c - 32 values in 18 bytes: d, qs[16].
 * Halves of bytes as in Q4_0; value = d * vd_iq4_values[q]: sixteen steps, finer around zero.
 */
#include "kernels/ref/decode.h"

const int8_t vd_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

void vd_decode_iq4_nl(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 18, dst += 32) {
        float d = vd_load_f16(src);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)vd_iq4_values[src[2 + j] & 15];
            dst[j + 16] = d * (float)vd_iq4_values[src[2 + j] >> 4];
        }
    }
}
