/*
 * affine.c - the search of affine.h, coordinate descent in two numbers.
 *
 * (1) For each sub-block alone the best real scale and minimum. Sixteen scales at once are tried
 * from the range of the values and sixteen from a range narrower below, since rounding a few small
 * values up may pay; each is refitted by least squares, the minimum never negative, and its values
 * are rounded anew (Lloyd's iteration). (2) d and dmin by the largest of them. (3) For each
 * sub-block S and M by the true error of their pairs around the best real ones. The error is no
 * smooth function of them: sixteen values round up or down together, so that a pair some steps away
 * is often better than the nearest. The window is slanted: another S wants another M for the same
 * mean. (4) d and dmin together by least squares for the S, M and q chosen. (3) and (4) repeat
 * while the error falls, in smaller windows.
 */
#include "compress/encode/affine.h"

#include "kernels/kernels.h"

enum { PASSES = 4, LLOYD = 2, RANGES = 2, REACH = 5, WINDOWS = 5 };
static const float range_step = 0.7f; /* in q: how much narrower the second range is */

/* Offsets of S and M, the nearest first; windows of VD_FIT_LANES. */
static const int8_t offsets[WINDOWS * VD_FIT_LANES][2] = {
    {0, 0}, {-1, 0}, {1, 0}, {0, -1}, {0, 1}, {-1, -1}, {-1, 1}, {1, -1}, {1, 1}, {-2, 0}, {2, 0},
    {0, -2}, {0, 2}, {-2, -1}, {-2, 1}, {2, -1}, {2, 1}, {-1, -2}, {-1, 2}, {1, -2}, {1, 2},
    {-3, 0}, {3, 0}, {-2, -2}, {-2, 2}, {2, -2}, {2, 2}, {-3, -1}, {-3, 1}, {3, -1}, {3, 1},
    {0, -3}, {0, 3}, {-1, -3}, {-1, 3}, {1, -3}, {1, 3}, {-3, -2}, {-3, 2}, {3, -2}, {3, 2},
    {-2, -3}, {-2, 3}, {2, -3}, {2, 3}, {-4, 0}, {4, 0}, {-4, -1}, {-4, 1}, {4, -1}, {4, 1},
    {-3, -3}, {-3, 3}, {3, -3}, {3, 3}, {0, -4}, {0, 4}, {-4, -2}, {-4, 2}, {4, -2}, {4, 2},
    {-1, -4}, {-1, 4}, {1, -4}, {1, 4}, {-2, -4}, {-2, 4}, {2, -4}, {2, 4}, {-5, 0}, {5, 0},
    {-5, -1}, {-5, 1}, {5, -1}, {5, 1}, {-4, -3}, {-4, 3}, {4, -3}, {4, 3}, {-3, -4},
};

/* One sub-block and what is known of its best fit so far. */
typedef struct part {
    const float *x, *w;
    float w_sum, x_sum;  /* of w and w x */
    float scale, min;
    float q, xq, qq;     /* sums as in vd_fit */
    int s, m;
} part;

/* Lanes of x ~ scale * q - min; gain: how far the error is below that of zeros, or 0. */
typedef struct lines {
    float scale[VD_FIT_LANES], min[VD_FIT_LANES], gain[VD_FIT_LANES];
} lines;

/* By least squares with min >= 0. One division a lane: they are what this costs. */
static void fit_lines(const part *p, const vd_fit *fit, lines *ret)
{
    for (int j = 0; j < VD_FIT_LANES; j++) {
        float q = fit->q[j], xq = fit->xq[j], qq = fit->qq[j];
        float wqq = p->w_sum * qq, det = wqq - q * q, min_det = q * xq - qq * p->x_sum;
        bool both = det > 1e-6f * wqq && min_det >= 0.0f;
        float divisor = both ? det : qq;
        float in = divisor > 0.0f ? 1.0f / divisor : 0.0f;
        float scale = (both ? p->w_sum * xq - p->x_sum * q : xq) * in;
        float min = (both ? min_det : 0.0f) * in;
        scale = scale > 0.0f ? scale : 0.0f;
        ret->scale[j] = scale;
        ret->min[j] = min;
        ret->gain[j] = scale > 0.0f ? scale * xq - min * p->x_sum : 0.0f;
    }
}

static void take_best(const vd_fit *fit, const lines *l, float *gain, part *p)
{
    int best = -1;
    for (int j = 0; j < VD_FIT_LANES; j++)
        if (l->gain[j] > *gain) {
            *gain = l->gain[j];
            best = j;
        }
    if (best < 0)
        return;
    p->scale = l->scale[best];
    p->min = l->min[best];
    p->q = fit->q[best];
    p->xq = fit->xq[best];
    p->qq = fit->qq[best];
}

static part part_of(const vd_affine_family *f, const float *x, const float *w)
{
    part p = {.x = x, .w = w};
    for (int i = 0; i < f->sub; i++) {
        p.w_sum += w[i];
        p.x_sum += w[i] * x[i];
    }
    return p;
}

/* Step 1. */
static void best_alone(const vd_kernels *k, const vd_affine_family *f, part *p)
{
    vd_fit fit = {.x = p->x, .w = p->w, .n = (size_t)f->sub, .low = 0, .high = f->top};
    float low = 0, high = p->x[0], gain = 0;
    lines l;
    for (int i = 0; i < f->sub; i++) {
        low = p->x[i] < low ? p->x[i] : low;
        high = p->x[i] > high ? p->x[i] : high;
    }
    p->min = -low;
    if (!(high > low)) /* all equal and not positive: the minimum says it */
        return;
    for (int range = 0; range < RANGES; range++) {
        for (int j = 0; j < VD_FIT_LANES; j++) {
            float steps = f->top + f->step * (float)(j - VD_FIT_LANES / 2);
            fit.inverse[j] = steps / (high - low);
            fit.shift[j] = -low - range_step * (float)range * (high - low) / steps;
        }
        for (int pass = 0; pass <= LLOYD; pass++) {
            k->fit_sums(&fit);
            fit_lines(p, &fit, &l);
            take_best(&fit, &l, &gain, p);
            for (int j = 0; pass < LLOYD && j < VD_FIT_LANES; j++) {
                fit.inverse[j] = l.scale[j] > 0.0f ? 1.0f / l.scale[j] : 0.0f;
                fit.shift[j] = l.min[j];
            }
        }
    }
}

static float inverse(float scale)
{
    return scale > 0.0f ? 1.0f / scale : 0.0f;
}

VD_INLINE void round_all(const vd_affine_family *f, const float *x, float scale, float min,
                         float *q)
{
    float id = inverse(scale);
    for (int i = 0; i < f->sub; i++)
        q[i] = vd_round(vd_clamp((x[i] + min) * id, 0.0f, f->top));
}

/* p's sums for its scale and minimum, in lanes so that the compiler may use vectors. */
static void sum_up(const vd_affine_family *f, part *p)
{
    float q[32], s[3][VD_LANES] = {{0}};
    round_all(f, p->x, p->scale, p->min, q);
    for (int i = 0; i < f->sub; i += VD_LANES)
        for (int j = 0; j < VD_LANES; j++) {
            float wq = p->w[i + j] * q[i + j];
            s[0][j] += wq;
            s[1][j] += wq * p->x[i + j];
            s[2][j] += wq * q[i + j];
        }
    p->q = p->xq = p->qq = 0;
    for (int j = 0; j < VD_LANES; j++) {
        p->q += s[0][j];
        p->xq += s[1][j];
        p->qq += s[2][j];
    }
}

/* Step 3 for one sub-block. Returns the error. */
static float choose(const vd_kernels *k, const vd_affine_family *f, int n_windows, float d,
                    float dmin, part *p)
{
    enum { COLUMNS = 2 * REACH + 1 };
    vd_fit fit = {.x = p->x, .w = p->w, .n = (size_t)f->sub, .low = 0, .high = f->top};
    float s[COLUMNS], scale[COLUMNS], id[COLUMNS], middle[COLUMNS]; /* for each offset of S */
    float m[VD_FIT_LANES], best = INFINITY, most = (float)f->s_max;
    float near = vd_round(vd_clamp(p->scale * inverse(d), 0.0f, most)), in_mins = inverse(dmin);
    float q_mean = p->q / p->w_sum, x_mean = p->x_sum / p->w_sum;
    for (int c = 0; c < COLUMNS; c++) {
        s[c] = vd_clamp(near + (float)(c - REACH), 0.0f, most);
        scale[c] = d * s[c];
        id[c] = inverse(scale[c]);
        middle[c] = vd_round(vd_clamp((scale[c] * q_mean - x_mean) * in_mins, 0.0f, most));
    }
    for (int window = 0; window < n_windows; window++) {
        const int8_t(*offset)[2] = offsets + (ptrdiff_t)window * VD_FIT_LANES;
        for (int j = 0; j < VD_FIT_LANES; j++) {
            int c = offset[j][0] + REACH;
            m[j] = vd_clamp(middle[c] + (float)offset[j][1], 0.0f, most);
            fit.scale[j] = scale[c];
            fit.inverse[j] = id[c];
            fit.shift[j] = dmin * m[j];
        }
        k->fit_errors(&fit);
        for (int j = 0; j < VD_FIT_LANES; j++)
            if (fit.error[j] < best) {
                best = fit.error[j];
                p->s = (int)s[offset[j][0] + REACH];
                p->m = (int)m[j];
            }
    }
    p->scale = d * (float)p->s;
    p->min = dmin * (float)p->m;
    sum_up(f, p);
    return best;
}

/* Step 4. */
static void refit(const part *parts, int n, float *ret_d, float *ret_dmin)
{
    double ss = 0, sm = 0, mm = 0, xs = 0, xm = 0;
    for (int i = 0; i < n; i++) {
        const part *p = &parts[i];
        double s = p->s, m = p->m;
        ss += s * s * (double)p->qq;
        sm += s * m * (double)p->q;
        mm += m * m * (double)p->w_sum;
        xs += s * (double)p->xq;
        xm += m * (double)p->x_sum;
    }
    double det = ss * mm - sm * sm;
    if (det > 1e-9 * ss * mm) {
        *ret_d = (float)((xs * mm - xm * sm) / det);
        *ret_dmin = (float)((xs * sm - xm * ss) / det);
    } else if (ss > 0) {
        *ret_d = (float)(xs / ss);
    }
}

/* w without given ones; false where all values are zero. */
static bool own_weights(const vd_affine_family *f, const float *x, float *w)
{
    bool any = false;
    if (f->by_size)
        return vd_size_weights(x, VD_SUPER, f->sub, w);
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

static void descend(const vd_kernels *k, const vd_affine_family *f, part *parts, float d,
                    float dmin, vd_affine_block *ret)
{
    int n = VD_SUPER / f->sub;
    for (int pass = 0; pass < PASSES; pass++) {
        vd_affine_block b = {.d = vd_round_f16(d), .dmin = vd_round_f16(dmin)};
        int n_windows = pass == 0 ? f->n_windows : (f->n_windows + 1) / 2;
        for (int i = 0; i < n; i++) {
            b.error += choose(k, f, n_windows, b.d, b.dmin, &parts[i]);
            b.s[i] = parts[i].s;
            b.m[i] = parts[i].m;
        }
        if (!(b.error < ret->error))
            return;
        *ret = b;
        refit(parts, n, &d, &dmin);
        if (!(d > 0.0f && dmin >= 0.0f))
            return;
    }
}

void vd_affine_search(const vd_affine_family *f, const float *x, const float *given,
                      vd_affine_block *ret)
{
    const vd_kernels *k = vd_kernels_get();
    enum { STARTS = 3 };
    static const float starts[STARTS] = {1.0f, 0.93f, 1.07f};
    float w[VD_SUPER], most = 0, most_min = 0;
    part parts[VD_SUBS_MAX], alone[VD_SUBS_MAX];
    memset(ret, 0, sizeof(*ret));
    if (!(given != NULL ? vd_given_weights(x, given, VD_SUPER, w) : own_weights(f, x, w)))
        return;
    for (int i = 0; i < VD_SUPER / f->sub; i++) {
        alone[i] = part_of(f, x + i * f->sub, w + i * f->sub);
        best_alone(k, f, &alone[i]);
        most = alone[i].scale > most ? alone[i].scale : most;
        most_min = alone[i].min > most_min ? alone[i].min : most_min;
    }
    ret->error = INFINITY;
    for (int i = 0; i < f->n_starts && i < STARTS; i++) {
        memcpy(parts, alone, sizeof(parts));
        descend(k, f, parts, most / (float)f->s_max * starts[i], most_min / (float)f->s_max, ret);
    }
    for (int i = 0; i < VD_SUPER / f->sub; i++)
        round_all(f, x + i * f->sub, ret->d * (float)ret->s[i], ret->dmin * (float)ret->m[i],
                  ret->q + i * f->sub);
}

void vd_affine_best(const vd_affine_family *f, const float *x, const float *w, float *ret_scale,
                    float *ret_min)
{
    part p = part_of(f, x, w);
    best_alone(vd_kernels_get(), f, &p);
    *ret_scale = p.scale;
    *ret_min = p.min;
}
