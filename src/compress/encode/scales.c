/*
 * scales.c - the search of scales.h, coordinate descent as in affine.c.
 *
 * (1) For each sub-block alone the best real scale of either sign: levels reach further on one
 * side. Eight scales for each end of the levels are tried at once, refitted by least squares, and
 * the values rounded anew. (2) d so that the largest of those fits the range of S. (3) For each
 * sub-block the best S around both, by the true error. (4) d by least squares for the S and levels
 * chosen, rounded to f16. (3) and (4) repeat while the error falls, from several d of step (2).
 */
#include "compress/encode/scales.h"

#include "kernels/kernels.h"

enum { PASSES = 4, LLOYD = 1, HALF = VD_FIT_LANES / 2 };

typedef struct part {
    const float *x, *w;
    float positive, negative; /* the best real scale of either sign; 0: none */
    float xl, ll;             /* sums of w x level and w level^2 for s */
    int s;
} part;

/* gains: of the positive and the negative scale so far. */
static void take_best(const vd_fit *fit, float gains[2], part *p)
{
    for (int j = 0; j < VD_FIT_LANES; j++) {
        float scale = fit->qq[j] > 0.0f ? fit->xq[j] / fit->qq[j] : 0.0f;
        float gain = scale * fit->xq[j];
        if (scale > 0.0f && gain > gains[0]) {
            gains[0] = gain;
            p->positive = scale;
        } else if (scale < 0.0f && gain > gains[1]) {
            gains[1] = gain;
            p->negative = scale;
        }
    }
}

/* Step 1. */
static void best_alone(const vd_kernels *k, const vd_scale_family *f, part *p)
{
    vd_fit fit = {.x = p->x, .w = p->w, .n = (size_t)f->sub, .low = f->low, .high = f->high,
                  .levels = f->levels};
    float extreme = 0, gains[2] = {0, 0};
    for (int i = 0; i < f->sub; i++)
        extreme = fabsf(p->x[i]) > fabsf(extreme) ? p->x[i] : extreme;
    if (extreme == 0.0f)
        return;
    for (int range = 0; range < f->n_ranges; range++) {
        for (int j = 0; j < VD_FIT_LANES; j++) {
            float end = j < HALF ? f->low : f->high;
            float steps = f->step * (float)(j % HALF + HALF * range - f->below);
            fit.inverse[j] = (end < 0.0f ? end - steps : end + steps) / extreme;
        }
        for (int pass = 0; pass <= LLOYD; pass++) {
            k->fit_sums(&fit);
            take_best(&fit, gains, p);
            for (int j = 0; j < VD_FIT_LANES; j++)
                fit.inverse[j] = fit.xq[j] != 0.0f ? fit.qq[j] / fit.xq[j] : 0.0f;
        }
    }
}

static void round_all(const vd_scale_family *f, const float *x, float scale, float *level)
{
    float id = scale != 0.0f ? 1.0f / scale : 0.0f;
    if (f->levels == NULL)
        for (int i = 0; i < f->sub; i++)
            level[i] = vd_round(vd_clamp(x[i] * id, f->low, f->high));
    else
        for (int i = 0; i < f->sub; i++) {
            float at = x[i] * id;
            level[i] = f->levels[0];
            for (int c = 1; c < VD_FIT_LEVELS; c++)
                level[i] = at > 0.5f * (f->levels[c - 1] + f->levels[c]) ? f->levels[c] : level[i];
        }
}

/* Sums in lanes, so that the compiler may use vectors without changing the result. */
static void sum_up(const vd_scale_family *f, const float *x, const float *w, float scale,
                   float *level, float *ret_xl, float *ret_ll)
{
    float xl[VD_LANES] = {0}, ll[VD_LANES] = {0};
    round_all(f, x, scale, level);
    for (int i = 0; i < f->sub; i += VD_LANES)
        for (int j = 0; j < VD_LANES; j++) {
            float wl = w[i + j] * level[i + j];
            xl[j] += wl * x[i + j];
            ll[j] += wl * level[i + j];
        }
    *ret_xl = *ret_ll = 0;
    for (int j = 0; j < VD_LANES; j++) {
        *ret_xl += xl[j];
        *ret_ll += ll[j];
    }
}

/* Step 3 for one sub-block. Returns the error. */
static float choose(const vd_kernels *k, const vd_scale_family *f, int n_windows, float d, part *p)
{
    vd_fit fit = {.x = p->x, .w = p->w, .n = (size_t)f->sub, .low = f->low, .high = f->high,
                  .levels = f->levels};
    float s[VD_FIT_LANES], best = INFINITY, least = (float)f->s_min, most = (float)f->s_max;
    float id = d != 0.0f ? 1.0f / d : 0.0f, level[32] = {0};
    float near[2] = {vd_round(vd_clamp(p->positive * id, least, most)),
                     vd_round(vd_clamp(p->negative * id, least, most))};
    if (p->negative == 0.0f || p->positive == 0.0f) /* then one of them is a 0 that says nothing */
        near[0] = near[1] = p->negative == 0.0f ? near[0] : near[1];
    for (int window = 0; window < n_windows; window++) {
        for (int j = 0; j < VD_FIT_LANES; j++) {
            int to = j % HALF - HALF / 2 + 1, further = window * HALF / 2;
            to = to > 0 ? to + further : to - further; /* -3..4, then 5..8 and -4..-7 .. */
            s[j] = vd_clamp(near[j / HALF] + (float)to, least, most);
            fit.scale[j] = d * s[j];
            fit.inverse[j] = fit.scale[j] != 0.0f ? 1.0f / fit.scale[j] : 0.0f;
        }
        k->fit_errors(&fit);
        for (int j = 0; j < VD_FIT_LANES; j++)
            if (fit.error[j] < best) {
                best = fit.error[j];
                p->s = (int)s[j];
            }
    }
    sum_up(f, p->x, p->w, d * (float)p->s, level, &p->xl, &p->ll);
    return best;
}

/* Steps 3 and 4. */
static void descend(const vd_kernels *k, const vd_scale_family *f, part *parts, float d,
                    vd_scale_block *ret)
{
    int n = VD_SUPER / f->sub;
    for (int pass = 0; pass < PASSES; pass++) {
        vd_scale_block b = {.d = vd_round_f16(d)};
        double xl = 0, ll = 0;
        for (int i = 0; i < n; i++) {
            b.error += choose(k, f, pass == 0 ? f->n_windows : 1, b.d, &parts[i]);
            b.s[i] = parts[i].s;
            xl += parts[i].s * (double)parts[i].xl;
            ll += (double)parts[i].s * parts[i].s * (double)parts[i].ll;
        }
        if (!(b.error < ret->error))
            return;
        *ret = b;
        d = ll > 0 ? (float)(xl / ll) : b.d;
    }
}

void vd_scale_search(const vd_scale_family *f, const float *x, const float *given,
                     vd_scale_block *ret)
{
    static const float starts[] = {1.0f, 0.93f, 1.07f, 0.87f, 1.15f};
    const vd_kernels *k = vd_kernels_get();
    int n = VD_SUPER / f->sub;
    float w[VD_SUPER], extreme = 0;
    part parts[VD_SUBS_MAX];
    *ret = (vd_scale_block){.error = INFINITY};
    bool any = given != NULL ? vd_given_weights(x, given, VD_SUPER, w)
                             : vd_size_weights(x, VD_SUPER, f->sub, w);
    for (int i = 0; any && i < n; i++) {
        parts[i] = (part){.x = x + i * f->sub, .w = w + i * f->sub};
        best_alone(k, f, &parts[i]);
        extreme = parts[i].positive > extreme ? parts[i].positive : extreme;
        extreme = -parts[i].negative > extreme ? -parts[i].negative : extreme;
    }
    for (int i = 0; any && i < f->n_starts; i++)
        descend(k, f, parts, extreme / (float)f->s_min * starts[i], ret);
    for (int i = 0; i < n; i++)
        round_all(f, x + i * f->sub, ret->d * (float)ret->s[i], ret->level + i * f->sub);
}

float vd_scale_single(const vd_scale_family *f, const float *x, const float *w, float *ret_level)
{
    part p = {.x = x, .w = w};
    float best = INFINITY, best_d = 0, level[64] = {0};
    best_alone(vd_kernels_get(), f, &p);
    for (int side = 0; side < 2; side++) {
        float d = side == 0 ? p.positive : p.negative;
        for (int pass = 0; pass < PASSES; pass++) {
            float xl, ll, error;
            d = vd_round_f16(d);
            sum_up(f, x, w, d, level, &xl, &ll);
            error = vd_error_of(x, w, level, d, f->sub);
            if (!(error < best))
                break;
            best = error;
            best_d = d;
            memcpy(ret_level, level, (size_t)f->sub * sizeof(float));
            d = ll > 0.0f ? xl / ll : d;
        }
    }
    return best_d;
}
