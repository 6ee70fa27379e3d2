/*
 * mxfp4.c - MXFP4: four-bit floats that share a power of two.
 *
 * The power that the OCP specification names (the largest magnitude's, less 2) cuts what lies above
 * its largest code; the one above and the one below are tried too, and the least squared error
 * wins.
 */
#include <math.h>

#include "compress/encode/blocks.h"
#include "kernels/ref/decode.h"

enum { BLOCK = 32 };

/* The code nearest to x, in units of the shared scale (the table is doubled e2m1). */
static int nearest(float x)
{
    static const float middle[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
    float magnitude = fabsf(x);
    int code = 0;
    for (int i = 0; i < 7; i++)
        code += magnitude > middle[i];
    return code | (x < 0.0f && code > 0 ? 8 : 0);
}

static double error_of(const float *x, float d)
{
    double error = 0;
    float id = 1.0f / d;
    for (int j = 0; j < BLOCK; j++) {
        double left = (double)x[j] - (double)d * vd_fp4_values[nearest(x[j] * id)];
        error += left * left;
    }
    return error;
}

VD_ENCODER(vd_encode_mxfp4)
{
    for (size_t b = 0; b < n_blocks; b++, x += BLOCK, dst += 17) {
        float max = 0;
        for (int j = 0; j < BLOCK; j++)
            max = fabsf(x[j]) > max ? fabsf(x[j]) : max;
        int best_e = 0, first = max > 0.0f ? ilogbf(max) - 2 + 127 : 0;
        double best = INFINITY;
        for (int e = first - 1; e <= first + 1; e++) {
            if (e < 2 || e > 254) /* below 2 the scale is subnormal: such blocks are zeros */
                continue;
            double error = error_of(x, vd_mxfp4_scale((uint8_t)e));
            if (error < best) {
                best = error;
                best_e = e;
            }
        }
        float id = best_e > 0 ? 1.0f / vd_mxfp4_scale((uint8_t)best_e) : 0.0f;
        dst[0] = (uint8_t)best_e;
        for (int j = 0; j < BLOCK / 2; j++)
            dst[1 + j] = (uint8_t)(nearest(x[j] * id) | nearest(x[j + BLOCK / 2] * id) << 4);
    }
}
