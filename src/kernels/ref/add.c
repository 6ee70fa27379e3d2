/* add.c - x += y, the residual stream. */
#include "kernels/ref/ref.h"

void vd_ref_add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}
