/*
 * decode_nvfp4.c - 64 values in 36 bytes: d[4], qs[32].
 *
 * Four sub-blocks of 16 values with 8 bytes of qs each, the lower halves first. The values are
 * four-bit floats as in MXFP4, but each sub-block's scale is an unsigned e4m3 float (bias 7, code
 * 0x7f reads as 0, the top bit is not looked at); value = vd_fp4_values[q] * d / 2.
 */
#include <math.h>

#include "kernels/ref/decode.h"

/* Half of what the code means, since the table of values is doubled. */
static float half_of_e4m3(uint8_t code)
{
    int exponent = code >> 3 & 15, mantissa = code & 7;
    if (code == 0x7f)
        return 0;
    return exponent == 0 ? ldexpf((float)mantissa, -10)
                         : ldexpf((float)(8 + mantissa), exponent - 11);
}

void vd_decode_nvfp4(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 36) {
        for (int s = 0; s < 4; s++, dst += 16) {
            const uint8_t *qs = src + 4 + 8 * s;
            float d = half_of_e4m3(src[s]);
            for (int j = 0; j < 8; j++) {
                dst[j] = d * (float)vd_fp4_values[qs[j] & 15];
                dst[j + 8] = d * (float)vd_fp4_values[qs[j] >> 4];
            }
        }
    }
}
