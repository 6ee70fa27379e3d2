/* dot_row.c - one output of an exact product: decode, multiply, add in double. */
#include "kernels/ref/ref.h"

float vd_ref_dot_row(vd_dtype dtype, const void *row, const float *x, size_t n, float *scratch)
{
    vd_dtype_decode(dtype, row, scratch, n);
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)x[i] * (double)scratch[i];
    return (float)total;
}
