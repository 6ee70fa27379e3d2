/* rms_norm.c - root mean square normalization (Zhang and Sennrich 2019). */
#include <math.h>

#include "kernels/ref/ref.h"

void vd_ref_rms_norm(const float *x, const float *weight, float eps, float *out, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    double factor = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)x[i] * factor * (double)weight[i]);
}
