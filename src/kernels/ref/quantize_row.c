/*
 * quantize_row.c - activations to int8 in blocks of 32, symmetric, d = max|x| / 127.
 *
 * Two rules for odd values, the same at every level: a block whose d is below the smallest normal
 * f32 is a block of zeros, since workers flush denormals; a block with a NaN or an infinity has
 * q = 0 and d = sum = NaN, so that what was wrong stays to be seen in the product.
 */
#include <float.h>
#include <math.h>

#include "kernels/ref/ref.h"

void vd_ref_quantize_row(const float *x, int8_t *q, float *scale, float *sum, int32_t *neg_sum,
                         size_t n)
{
    for (size_t b = 0; b < n / 32; b++, x += 32, q += 32) {
        float most = 0;
        for (int i = 0; i < 32; i++)
            if (!(fabsf(x[i]) <= most)) /* true for a NaN too, */
                most = isfinite(most) ? fabsf(x[i]) : NAN; /* which then stays */
        float d = most / 127.0f;
        int total[2] = {0, 0};
        bool usable = isfinite(most) && d >= FLT_MIN;
        for (int i = 0; i < 32; i++) {
            q[i] = usable ? (int8_t)rintf(x[i] / d) : 0;
            total[i / 16] += q[i];
        }
        scale[b] = usable ? d : isfinite(most) ? 0 : NAN;
        sum[b] = scale[b] * (float)(total[0] + total[1]);
        neg_sum[2 * b] = -total[0];
        neg_sum[2 * b + 1] = -total[1];
    }
}
