/* silu_mul.c - gate = silu(gate) * up, the gated unit of SwiGLU (Shazeer 2020). */
#include <math.h>

#include "kernels/ref/ref.h"

void vd_ref_silu_mul(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)gate[i];
        gate[i] = (float)(g / (1.0 + exp(-g)) * (double)up[i]);
    }
}
