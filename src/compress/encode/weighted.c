/*
 * weighted.c - Q4_0, Q4_1, Q5_0 and Q5_1 where values count differently: scales (and minima) are
 * searched for as in super.h and affine.h, with the block's own f16 instead of a super-block's.
 */
#include "compress/encode/weighted.h"

#include "compress/encode/affine.h"

enum { SUB = VD_WEIGHTED_BLOCK, PASSES = 4 };

/* A minimum as it will be stored: the best for values near the largest f16 may be beyond it. */
static float stored_min(float value)
{
    return vd_round_f16(vd_clamp(value, -65504.0f, 65504.0f));
}

static void round_16(const float *x, const float *w, float id, int n, float *level)
{
    for (int i = 0; i < n; i++)
        level[i] = vd_round(vd_clamp(x[i] * id, -8.0f, 7.0f));
}

static void round_32(const float *x, const float *w, float id, int n, float *level)
{
    for (int i = 0; i < n; i++)
        level[i] = vd_round(vd_clamp(x[i] * id, -16.0f, 15.0f));
}

static const vd_family symmetric_16 = {.sub = SUB, .low = -8, .high = 7, .step = 0.1f,
                                       .n_steps = 12, .rounder = round_16};
static const vd_family symmetric_32 = {.sub = SUB, .low = -16, .high = 15, .step = 0.1f,
                                       .n_steps = 12, .rounder = round_32};
static const vd_affine_family affine_16 = {.sub = SUB, .top = 15, .step = 0.1f, .n_steps = 12};
static const vd_affine_family affine_32 = {.sub = SUB, .top = 31, .step = 0.1f, .n_steps = 12};

VD_INLINE float search_symmetric(const vd_family *f, const float *x, const float *given, int zero,
                                 int code[SUB])
{
    float w[SUB], level[SUB], best = INFINITY, best_d = 0;
    for (int i = 0; i < SUB; i++)
        code[i] = zero;
    if (!vd_given_weights(x, given, SUB, w))
        return 0;
    float d = vd_best_scale(f, x, w);
    for (int pass = 0; pass < PASSES; pass++) {
        d = vd_round_f16(d);
        f->rounder(x, w, d != 0.0f ? 1.0f / d : 0.0f, SUB, level);
        float error = vd_error_of(x, w, level, d, SUB);
        if (!(error < best))
            break;
        best = error;
        best_d = d;
        for (int i = 0; i < SUB; i++)
            code[i] = (int)level[i] + zero;
        vd_sums sums = vd_sums_of(x, w, level, SUB);
        d = sums.ll > 0.0f ? sums.xl / sums.ll : d;
    }
    return best_d;
}

/* value = d * q + min here, the minimum of either sign: x is shifted so that none is positive. */
VD_INLINE void search_affine(const vd_affine_family *f, const float *x, const float *given,
                             float *ret_d, float *ret_min, int code[SUB])
{
    float w[SUB], shifted[SUB], q[SUB], high = x[0], d, below, best = INFINITY;
    bool any = vd_given_weights(x, given, SUB, w);
    for (int i = 0; i < SUB; i++) {
        high = x[i] > high ? x[i] : high;
        code[i] = 0;
    }
    *ret_d = 0;
    *ret_min = vd_round_f16(x[0]);
    for (int i = 0; i < SUB; i++)
        shifted[i] = x[i] - high;
    vd_affine_best(f, shifted, w, &d, &below);
    float min = high - below;
    for (int pass = 0; any && pass < PASSES; pass++) {
        d = vd_round_f16(d);
        min = stored_min(min);
        vd_affine_round(f, x, d > 0.0f ? 1.0f / d : 0.0f, -min, q);
        float error = vd_affine_error(f, x, w, q, d, -min);
        if (!(error < best))
            break;
        best = error;
        *ret_d = d;
        *ret_min = min;
        for (int i = 0; i < SUB; i++)
            code[i] = (int)q[i];
        vd_affine_sums s = vd_affine_sums_of(f, x, w, q);
        float det = s.w * s.qq - s.q * s.q;
        if (!(det > 0.0f))
            break;
        d = (s.w * s.xq - s.x * s.q) / det;
        min = (s.x * s.qq - s.q * s.xq) / det;
        if (!(d > 0.0f))
            break;
    }
}

float vd_weighted_symmetric(const float *x, const float *w, int zero, int code[SUB])
{
    return zero == 8 ? search_symmetric(&symmetric_16, x, w, 8, code)
                     : search_symmetric(&symmetric_32, x, w, 16, code);
}

void vd_weighted_affine(const float *x, const float *w, int top, float *ret_d, float *ret_min,
                        int code[SUB])
{
    if (top == 15)
        search_affine(&affine_16, x, w, ret_d, ret_min, code);
    else
        search_affine(&affine_32, x, w, ret_d, ret_min, code);
}
