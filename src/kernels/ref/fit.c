/*
 * fit.c - sixteen ways to round the same values, and how well each does.
 *
 * Lanes are innermost, so that compilers make vectors of them: this twin is what a machine without
 * AVX2 quantizes with.
 */
#include <string.h>

#include "kernels/ref/ref.h"

/* To the nearest whole number, ties to even, for |x| < 2^22; compiles to two additions anywhere. */
static inline float nearest_whole(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: the sum has no bits below 1 */
    return (x + magic) - magic;
}

static void round_lanes(const vd_fit *f, float x, float q[VD_FIT_LANES])
{
    for (int j = 0; j < VD_FIT_LANES; j++) {
        float at = (x + f->shift[j]) * f->inverse[j];
        at = at > f->low ? at : f->low;
        q[j] = nearest_whole(at < f->high ? at : f->high);
    }
}

static void round_to_levels(const vd_fit *f, float x, float q[VD_FIT_LANES])
{
    float at[VD_FIT_LANES];
    for (int j = 0; j < VD_FIT_LANES; j++) {
        at[j] = (x + f->shift[j]) * f->inverse[j];
        q[j] = f->levels[0];
    }
    for (int k = 1; k < VD_FIT_LEVELS; k++) {
        float middle = 0.5f * (f->levels[k - 1] + f->levels[k]), level = f->levels[k];
        for (int j = 0; j < VD_FIT_LANES; j++)
            q[j] = at[j] > middle ? level : q[j];
    }
}

static void round_value(const vd_fit *f, float x, float q[VD_FIT_LANES])
{
    if (f->levels != NULL)
        round_to_levels(f, x, q);
    else
        round_lanes(f, x, q);
}

void vd_ref_fit_sums(vd_fit *f)
{
    float q[VD_FIT_LANES], q_sum[VD_FIT_LANES] = {0}, xq[VD_FIT_LANES] = {0};
    float qq[VD_FIT_LANES] = {0};
    for (size_t i = 0; i < f->n; i++) {
        round_value(f, f->x[i], q);
        for (int j = 0; j < VD_FIT_LANES; j++) {
            float wq = f->w[i] * q[j];
            q_sum[j] += wq;
            xq[j] += wq * f->x[i];
            qq[j] += wq * q[j];
        }
    }
    memcpy(f->q, q_sum, sizeof(q_sum));
    memcpy(f->xq, xq, sizeof(xq));
    memcpy(f->qq, qq, sizeof(qq));
}

void vd_ref_fit_errors(vd_fit *f)
{
    float q[VD_FIT_LANES], error[VD_FIT_LANES] = {0};
    for (size_t i = 0; i < f->n; i++) {
        round_value(f, f->x[i], q);
        for (int j = 0; j < VD_FIT_LANES; j++) {
            float left = (f->x[i] + f->shift[j]) - f->scale[j] * q[j];
            error[j] += f->w[i] * left * left;
        }
    }
    memcpy(f->error, error, sizeof(error));
}
