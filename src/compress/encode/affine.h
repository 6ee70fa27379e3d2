/*
 * affine.h - super-blocks whose sub-blocks have a scale and a minimum: Q2_K, Q4_K, Q5_K.
 * value = d * S * q - dmin * M, with q in 0..top and S, M whole numbers.
 *
 * The same descent as in super.h, in two numbers: (1) for each sub-block alone the best real scale
 * and minimum, many scales being tried and both refitted by least squares (the minimum never
 * negative); (2) d and dmin by the largest of them; (3) for each sub-block the best S and M nearby;
 * (4) d and dmin together by least squares. (3) and (4) repeat while the error falls.
 */
#ifndef VD_COMPRESS_ENCODE_AFFINE_H
#define VD_COMPRESS_ENCODE_AFFINE_H

#include "compress/encode/super.h"

typedef struct vd_affine_family {
    int sub;       /* values per sub-block: 16 or 32 */
    int s_max;     /* of S and M */
    float top;     /* the largest q */
    float step;    /* of the search, in q */
    int n_steps;   /* to each side */
    bool by_square; /* w = x^2 + its mean, as in super.h */
} vd_affine_family;

typedef struct vd_affine_block {
    float d, dmin;      /* as f16 holds them */
    int s[VD_SUBS_MAX], m[VD_SUBS_MAX];
    float q[VD_SUPER];
    float error;
} vd_affine_block;

typedef struct vd_affine_sums {
    float w, x, q, xq, qq; /* sums of w, w x, w q, w x q, w q^2 */
} vd_affine_sums;

VD_INLINE void vd_affine_round(const vd_affine_family *f, const float *x, float id, float min,
                               float *q)
{
    for (int i = 0; i < f->sub; i++)
        q[i] = vd_round(vd_clamp((x[i] + min) * id, 0.0f, f->top));
}

VD_INLINE vd_affine_sums vd_affine_sums_of(const vd_affine_family *f, const float *x,
                                           const float *w, const float *q)
{
    float s[5][VD_LANES] = {{0}}, total[5] = {0};
    for (int i = 0; i < f->sub; i += VD_LANES)
        for (int j = 0; j < VD_LANES; j++) {
            float wx = w[i + j] * x[i + j], wq = w[i + j] * q[i + j];
            s[0][j] += w[i + j];
            s[1][j] += wx;
            s[2][j] += wq;
            s[3][j] += wx * q[i + j];
            s[4][j] += wq * q[i + j];
        }
    for (int k = 0; k < 5; k++)
        for (int j = 0; j < VD_LANES; j++)
            total[k] += s[k][j];
    return (vd_affine_sums){total[0], total[1], total[2], total[3], total[4]};
}

/* x ~ scale * q - min by least squares with min >= 0; false where q says nothing. */
VD_INLINE bool vd_affine_fit(const vd_affine_sums *s, float *ret_scale, float *ret_min)
{
    float det = s->w * s->qq - s->q * s->q;
    if (det > 0.0f) {
        float min = (s->q * s->xq - s->qq * s->x) / det;
        if (min >= 0.0f) {
            *ret_scale = (s->w * s->xq - s->x * s->q) / det;
            *ret_min = min;
            return *ret_scale > 0.0f;
        }
    }
    *ret_scale = s->qq > 0.0f ? s->xq / s->qq : 0.0f;
    *ret_min = 0;
    return *ret_scale > 0.0f;
}

VD_INLINE float vd_affine_error(const vd_affine_family *f, const float *x, const float *w,
                                const float *q, float scale, float min)
{
    float error[VD_LANES] = {0}, total = 0;
    for (int i = 0; i < f->sub; i += VD_LANES)
        for (int j = 0; j < VD_LANES; j++) {
            float left = x[i + j] - (scale * q[i + j] - min);
            error[j] += w[i + j] * left * left;
        }
    for (int j = 0; j < VD_LANES; j++)
        total += error[j];
    return total;
}

/* Step 1. */
VD_INLINE void vd_affine_best(const vd_affine_family *f, const float *x, const float *w,
                              float *ret_scale, float *ret_min)
{
    float q[32], low = 0, high = x[0], best = INFINITY;
    *ret_scale = *ret_min = 0;
    for (int i = 0; i < f->sub; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (!(high > low)) { /* all equal and not positive: the minimum says it */
        *ret_min = -low;
        return;
    }
    for (int k = 0; k < 2 * (2 * f->n_steps + 1); k++) {
        float id = (f->top + f->step * (float)(k / 2 - f->n_steps)) / (high - low);
        float scale, min = k % 2 == 0 ? -low : vd_round(-low * id) / id;
        vd_affine_round(f, x, id, min, q);
        vd_affine_sums sums = vd_affine_sums_of(f, x, w, q);
        if (!vd_affine_fit(&sums, &scale, &min))
            continue;
        vd_affine_round(f, x, 1.0f / scale, min, q);
        float error = vd_affine_error(f, x, w, q, scale, min);
        if (error < best) {
            best = error;
            *ret_scale = scale;
            *ret_min = min;
        }
    }
}

/* Step 3 for one sub-block. Returns the error. */
VD_INLINE float vd_affine_choose(const vd_affine_family *f, const float *x, const float *w,
                                 float d, float dmin, float scale, float min, int *ret_s,
                                 int *ret_m, float *ret_q)
{
    float best = INFINITY, q[32];
    float s_max = (float)f->s_max;
    float near_s = d > 0.0f ? vd_round(vd_clamp(scale / d, 0.0f, s_max)) : 0.0f;
    float near_m = dmin > 0.0f ? vd_round(vd_clamp(min / dmin, 0.0f, s_max)) : 0.0f;
    for (int k = -1; k <= 1; k++) {
        float s = vd_clamp(near_s + (float)k, 0.0f, s_max), m = near_m;
        float ds = d * s, id = ds > 0.0f ? 1.0f / ds : 0.0f;
        for (int pass = 0; pass < 2; pass++) {
            vd_affine_round(f, x, id, dmin * m, q);
            float error = vd_affine_error(f, x, w, q, ds, dmin * m);
            if (error < best) {
                best = error;
                *ret_s = (int)s;
                *ret_m = (int)m;
                memcpy(ret_q, q, (size_t)f->sub * sizeof(float));
            }
            /* The minimum that is best for these q. */
            vd_affine_sums sums = vd_affine_sums_of(f, x, w, q);
            float better = (ds * sums.q - sums.x) / sums.w;
            m = dmin > 0.0f ? vd_round(vd_clamp(better / dmin, 0.0f, s_max)) : 0.0f;
        }
    }
    return best;
}

/* Step 4: d and dmin for given S, M and q. */
VD_INLINE void vd_affine_refit(const vd_affine_family *f, const float *x, const float *w,
                               const vd_affine_block *b, float *ret_d, float *ret_dmin)
{
    double ss = 0, sm = 0, mm = 0, xs = 0, xm = 0;
    for (int i = 0; i < VD_SUPER / f->sub; i++) {
        vd_affine_sums sums = vd_affine_sums_of(f, x + i * f->sub, w + i * f->sub,
                                                b->q + i * f->sub);
        double s = b->s[i], m = b->m[i];
        ss += s * s * (double)sums.qq;
        sm += s * m * (double)sums.q;
        mm += m * m * (double)sums.w;
        xs += s * (double)sums.xq;
        xm += m * (double)sums.x;
    }
    double det = ss * mm - sm * sm;
    if (det > 1e-9 * ss * mm) {
        *ret_d = (float)((xs * mm - xm * sm) / det);
        *ret_dmin = (float)((xs * sm - xm * ss) / det);
    } else if (ss > 0) {
        *ret_d = (float)(xs / ss);
    }
}

/* w for a super-block; false where all values are zero. */
VD_INLINE bool vd_affine_weights(const vd_affine_family *f, const float *x, float *w)
{
    bool any = false;
    for (int i = 0; i < VD_SUPER; i += f->sub) {
        float sum = 0;
        for (int j = 0; j < f->sub; j++)
            sum += x[i + j] * x[i + j];
        float rms = sqrtf(sum / (float)f->sub);
        for (int j = 0; j < f->sub; j++)
            w[i + j] = rms + fabsf(x[i + j]);
        any = any || rms > 0.0f;
    }
    return any;
}

VD_INLINE void vd_affine_search(const vd_affine_family *f, const float *x, const float *given,
                                vd_affine_block *ret)
{
    enum { PASSES = 4 };
    float w[VD_SUPER], scale[VD_SUBS_MAX], min[VD_SUBS_MAX], most = 0, most_min = 0;
    memset(ret, 0, sizeof(*ret));
    if (!(given != NULL  ? vd_given_weights(x, given, VD_SUPER, w)
          : f->by_square ? vd_weights(x, VD_SUPER, w)
                         : vd_affine_weights(f, x, w)))
        return;
    ret->error = INFINITY;
    for (int i = 0; i < VD_SUPER / f->sub; i++) {
        vd_affine_best(f, x + i * f->sub, w + i * f->sub, &scale[i], &min[i]);
        most = scale[i] > most ? scale[i] : most;
        most_min = min[i] > most_min ? min[i] : most_min;
    }
    float d = most / (float)f->s_max, dmin = most_min / (float)f->s_max;
    for (int pass = 0; pass < PASSES; pass++) {
        vd_affine_block b = {.d = vd_round_f16(d), .dmin = vd_round_f16(dmin)};
        for (int i = 0; i < VD_SUPER / f->sub; i++)
            b.error += vd_affine_choose(f, x + i * f->sub, w + i * f->sub, b.d, b.dmin, scale[i],
                                        min[i], &b.s[i], &b.m[i], b.q + i * f->sub);
        if (!(b.error < ret->error))
            return;
        *ret = b;
        vd_affine_refit(f, x, w, &b, &d, &dmin);
        if (!(d > 0.0f && dmin >= 0.0f))
            return;
    }
}

#endif
