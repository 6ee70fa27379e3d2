/* rope.c - rotary position embedding (Su et al. 2021): each pair (a, b) is turned by its angle. */
#include "kernels/ref/ref.h"

void vd_ref_rope(float *x, const float *cos_sin, size_t n_rot, int neox)
{
    size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i++) {
        float *a = neox ? x + i : x + 2 * i;
        float *b = neox ? x + i + half : x + 2 * i + 1;
        double c = (double)cos_sin[2 * i], s = (double)cos_sin[2 * i + 1];
        double u = (double)*a, v = (double)*b;
        *a = (float)(u * c - v * s);
        *b = (float)(u * s + v * c);
    }
}
