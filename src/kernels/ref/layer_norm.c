/* layer_norm.c - layer normalization (Ba, Kiros and Hinton 2016): centred, then scaled. */
#include <math.h>

#include "kernels/ref/ref.h"

void vd_ref_layer_norm(const float *x, const float *weight, const float *bias, float eps,
                       float *out, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double factor = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        double shift = bias != NULL ? (double)bias[i] : 0;
        out[i] = (float)(((double)x[i] - mean) * factor * (double)weight[i] + shift);
    }
}
