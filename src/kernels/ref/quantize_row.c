/*
 * quantize_row.c - activations to int8 in blocks of 32, symmetric, d = max|x| / 127, or to 256
 * times as many steps: the same int8 and a second one for what they leave.
 *
 * Two rules for odd values, the same at every level: a block whose scale is below the smallest
 * normal f32 is a block of zeros, since workers flush denormals; a block with a NaN or an infinity
 * has values 0 and scale = sum = NaN, so that what was wrong stays to be seen in the product.
 */
#include <float.h>
#include <math.h>
#include <stddef.h>

#include "base/checked.h"
#include "kernels/ref/ref.h"

static float most_of(const float *x)
{
    float most = 0;
    for (int i = 0; i < 32; i++)
        if (!(fabsf(x[i]) <= most)) /* true for a NaN too, */
            most = isfinite(most) ? fabsf(x[i]) : NAN; /* which then stays */
    return most;
}

void vd_ref_quantize_row(const float *x, int8_t *q, int8_t *q_low, float *scale, float *sum,
                         int32_t *neg_sum, size_t n)
{
    for (size_t b = 0; b < n / 32; b++, x += 32, q += 32) {
        float most = most_of(x), d = most / 127.0f;
        float unit = q_low != NULL ? d / 256.0f : d;
        int total[2] = {0, 0};
        bool usable = isfinite(most) && unit >= FLT_MIN;
        for (int i = 0; i < 32; i++) {
            float steps = usable ? x[i] / d : 0.0f, whole = rintf(steps);
            q[i] = (int8_t)whole;
            if (q_low == NULL) {
                total[i / 16] += q[i];
                continue;
            }
            float rest = rintf(256.0f * (steps - whole));
            q_low[32 * b + (size_t)i] = (int8_t)VD_MAX(-127.0f, VD_MIN(127.0f, rest));
            total[i / 16] += 256 * q[i] + q_low[32 * b + (size_t)i];
        }
        scale[b] = usable ? unit : isfinite(most) ? 0 : NAN;
        sum[b] = scale[b] * (float)(total[0] + total[1]);
        neg_sum[2 * b] = -total[0];
        neg_sum[2 * b + 1] = -total[1];
    }
}
