/*
 * decode_tq1_0.c - 256 ternary values in 54 bytes: qs[48], qh[4], d.
 *
 * A byte holds five digits to the base 3, as a fraction of 256: digit n is the whole part of three
 * times the byte after n multiplications by 3. Digit n of all bytes of a run stand together:
 * 5 x qs[0..31], 5 x qs[32..47], 4 x qh. value = d * (digit - 1).
 */
#include "kernels/ref/decode.h"

static float *decode_run(const uint8_t *q, int n_bytes, int n_digits, float d, float *dst)
{
    uint8_t power = 1;
    for (int n = 0; n < n_digits; n++, power = (uint8_t)(power * 3), dst += n_bytes)
        for (int j = 0; j < n_bytes; j++) {
            uint8_t fraction = (uint8_t)(q[j] * power);
            dst[j] = d * (float)((fraction * 3 >> 8) - 1);
        }
    return dst;
}

void vd_decode_tq1_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 54) {
        float d = vd_load_f16(src + 52);
        dst = decode_run(src, 32, 5, d, dst);
        dst = decode_run(src + 32, 16, 5, d, dst);
        dst = decode_run(src + 48, 4, 4, d, dst);
    }
}
