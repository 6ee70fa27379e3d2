/*
 * weighted.c - Q4_0, Q4_1, Q5_0 and Q5_1 where values count differently: scales (and minima) are
 * searched for as in scales.h and affine.h, with the block's own f16 instead of a super-block's.
 */
#include "compress/encode/weighted.h"

#include "compress/encode/affine.h"
#include "compress/encode/scales.h"

enum { SUB = VD_WEIGHTED_BLOCK, PASSES = 4 };

/* A minimum as it will be stored: the best for values near the largest f16 may be beyond it. */
static float stored_min(float value)
{
    return vd_round_f16(vd_clamp(value, -65504.0f, 65504.0f));
}

static const vd_scale_family symmetric_16 = {.sub = SUB, .low = -8, .high = 7,
                                             .step = 0.3f, .below = 3, .n_ranges = 2};
static const vd_scale_family symmetric_32 = {.sub = SUB, .low = -16, .high = 15,
                                             .step = 0.4f, .below = 3, .n_ranges = 2};
static const vd_affine_family affine_16 = {.sub = SUB, .top = 15, .step = 0.1f};
static const vd_affine_family affine_32 = {.sub = SUB, .top = 31, .step = 0.1f};

static float search_symmetric(const vd_scale_family *f, const float *x, const float *given,
                              int zero, int code[SUB])
{
    float w[SUB], level[SUB] = {0};
    float d = vd_given_weights(x, given, SUB, w) ? vd_scale_single(f, x, w, level) : 0.0f;
    for (int i = 0; i < SUB; i++)
        code[i] = (int)level[i] + zero;
    return d;
}

/* Codes for a scale and a minimum, their error, and the best scale and minimum for them; the scale
 * 0 where they say nothing. */
static float round_affine(const float *x, const float *w, float top, float *d, float *min,
                          int code[SUB])
{
    float error = 0, sw = 0, sx = 0, sq = 0, sxq = 0, sqq = 0, id = *d > 0.0f ? 1.0f / *d : 0.0f;
    for (int i = 0; i < SUB; i++) {
        float q = vd_round(vd_clamp((x[i] - *min) * id, 0.0f, top)), wq = w[i] * q;
        float left = x[i] - (*d * q + *min);
        error += w[i] * left * left;
        sw += w[i];
        sx += w[i] * x[i];
        sq += wq;
        sxq += wq * x[i];
        sqq += wq * q;
        code[i] = (int)q;
    }
    float det = sw * sqq - sq * sq;
    *d = det > 0.0f ? (sw * sxq - sx * sq) / det : 0.0f;
    *min = det > 0.0f ? (sx * sqq - sq * sxq) / det : 0.0f;
    return error;
}

/* value = d * q + min here, the minimum of either sign: x is shifted so that none is positive. */
static void search_affine(const vd_affine_family *f, const float *x, const float *given,
                          float *ret_d, float *ret_min, int code[SUB])
{
    float w[SUB], shifted[SUB], high = x[0], d, below, best = INFINITY;
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
        int now[SUB];
        float now_d = d = vd_round_f16(d), now_min = min = stored_min(min);
        float error = round_affine(x, w, f->top, &d, &min, now);
        if (!(error < best))
            break;
        best = error;
        *ret_d = now_d;
        *ret_min = now_min;
        memcpy(code, now, sizeof(now));
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
