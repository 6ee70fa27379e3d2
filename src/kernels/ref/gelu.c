/* gelu.c - x = gelu(x) in the tanh form (Hendrycks and Gimpel 2016); see gelu_mul.c. */
#include <math.h>

#include "kernels/ref/ref.h"

void vd_ref_gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)x[i];
        double inner = 0.79788456080286535588 * (g + 0.044715 * g * g * g);
        x[i] = (float)(0.5 * g * (1.0 + tanh(inner)));
    }
}
