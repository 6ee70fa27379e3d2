/*
 * gelu_mul.c - gate = gelu(gate) * up, the gated unit of GeGLU (Shazeer 2020), with the tanh form
 * of GELU (Hendrycks and Gimpel 2016): g/2 * (1 + tanh(sqrt(2/pi) * (g + 0.044715 g^3))).
 */
#include <math.h>

#include "kernels/ref/ref.h"

void vd_ref_gelu_mul(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)gate[i];
        double inner = 0.79788456080286535588 * (g + 0.044715 * g * g * g);
        gate[i] = (float)(0.5 * g * (1.0 + tanh(inner)) * (double)up[i]);
    }
}
