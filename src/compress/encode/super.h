/*
 * super.h - super-blocks with one float scale d and small whole numbers S that scale sub-blocks:
 * value = d * S * level. The search for IQ3_S, whose levels are points of a grid (scales.h has that
 * for single levels), and what all searches share: how much values count.
 *
 * What is minimized is the sum of w * (x - value)^2, where w is given, or else x^2 + twice the
 * square of the mean magnitude: about half of it the plain squared error, half weighted by size,
 * because a large weight that is off by some share moves the output more than a small one. (The
 * mean of x^2 would let a few outliers raise the weight of all others.)
 *
 * Coordinate descent. (1) For each sub-block alone the best real scale: many scales are tried, for
 * each the levels are rounded and the scale refitted by least squares. (2) d so that the largest of
 * those fits the range of S. (3) For each sub-block the best S near its own scale, by the true
 * error with the levels rounded anew. (4) d by least squares for the S and levels chosen, rounded
 * to f16. (3) and (4) repeat while the error falls, from several d of step (2).
 *
 * A family says by `rounder` what levels there are. All of this is inlined into the encoder of a
 * type, whose numbers are constants.
 */
#ifndef VD_COMPRESS_ENCODE_SUPER_H
#define VD_COMPRESS_ENCODE_SUPER_H

#include <math.h>
#include <string.h>

#include "compress/encode/blocks.h"

#define VD_INLINE static inline __attribute__((always_inline))

enum { VD_SUPER = 256, VD_SUBS_MAX = 16, VD_LANES = 8 };

/* level[i] = the level nearest to x[i] * id, for `n` values (of one sub-block). */
typedef void (*vd_rounder)(const float *x, const float *w, float id, int n, float *level);

typedef struct vd_family {
    int sub;              /* values per sub-block: 16 or 32 */
    int s_min, s_max;     /* S = s_step * s + s_first for s in s_min..s_max */
    int s_step, s_first;
    float low, high;      /* the extreme levels */
    float step;           /* of the search, in levels */
    int n_steps;          /* to each side of an extreme level */
    vd_rounder rounder;
} vd_family;

typedef struct vd_superblock {
    float d;               /* as f16 holds it */
    int s[VD_SUBS_MAX];    /* s, not S */
    float level[VD_SUPER];
    float error;
} vd_superblock;

typedef struct vd_sums {
    float xl, ll; /* of w x level and w level^2 */
} vd_sums;

/* Sums in lanes, so that the compiler may use vectors without changing the result. */
VD_INLINE vd_sums vd_sums_of(const float *x, const float *w, const float *level, int n)
{
    float xl[VD_LANES] = {0}, ll[VD_LANES] = {0};
    vd_sums sums = {0, 0};
    for (int i = 0; i < n; i += VD_LANES)
        for (int j = 0; j < VD_LANES; j++) {
            float wl = w[i + j] * level[i + j];
            xl[j] += wl * x[i + j];
            ll[j] += wl * level[i + j];
        }
    for (int j = 0; j < VD_LANES; j++) {
        sums.xl += xl[j];
        sums.ll += ll[j];
    }
    return sums;
}

VD_INLINE float vd_error_of(const float *x, const float *w, const float *level, float scale, int n)
{
    float error[VD_LANES] = {0}, total = 0;
    for (int i = 0; i < n; i += VD_LANES)
        for (int j = 0; j < VD_LANES; j++) {
            float left = x[i + j] - scale * level[i + j];
            error[j] += w[i + j] * left * left;
        }
    for (int j = 0; j < VD_LANES; j++)
        total += error[j];
    return total;
}

/* w for n values; false where all are zero. */
VD_INLINE bool vd_weights(const float *x, int n, float *w)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabsf(x[i]);
    float mean = sum / (float)n;
    for (int i = 0; i < n; i++)
        w[i] = x[i] * x[i] + 2.0f * mean * mean;
    return sum > 0.0f;
}

/* w for a super-block (n values) of sub-blocks of `sub`, where nothing is given: t^(3/4) of
 * t = x^2 + mean^2 + 0.2 rms^2, mean that of all |x|, rms that of the sub-block: between the plain
 * error and one weighted by the square, since a large value that is off by some share moves the
 * output more than a small one. False where all are zero. */
VD_INLINE bool vd_size_weights(const float *x, int n, int sub, float *w)
{
    float mean = 0;
    for (int i = 0; i < n; i++)
        mean += fabsf(x[i]) / (float)n;
    for (int i = 0; i < n; i += sub) {
        float squares = 0;
        for (int j = i; j < i + sub; j++)
            squares += x[j] * x[j];
        float least = mean * mean + 0.2f * squares / (float)sub;
        for (int j = i; j < i + sub; j++) {
            float root = sqrtf(x[j] * x[j] + least);
            w[j] = root * sqrtf(root);
        }
    }
    return mean > 0.0f;
}

/* w for n values that count as given; false where all are zero. Those that count nothing count a
 * little, so that every fit has a solution; where nothing counts, all are as without. */
VD_INLINE bool vd_given_weights(const float *x, const float *given, int n, float *w)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += given[i];
    bool any = vd_weights(x, n, w);
    if (!(sum > 0.0f) || !(sum <= 3e38f))
        return any;
    for (int i = 0; i < n; i++)
        w[i] = given[i] / sum + 1e-6f;
    return any;
}

/* The best real scale of a sub-block alone; 0 where all its values are 0. */
VD_INLINE float vd_best_scale(const vd_family *f, const float *x, const float *w)
{
    float level[32], extreme = 0, best = 0, scale = 0;
    for (int i = 0; i < f->sub; i++)
        extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
    if (extreme == 0.0f)
        return 0;
    if (f->low == f->high) /* levels of both signs: the scale is positive */
        extreme = fabsf(extreme);
    for (int side = f->low == f->high; side < 2; side++)
        for (int k = -f->n_steps; k <= f->n_steps; k++) {
            float id = ((side == 0 ? f->low : f->high) + f->step * (float)k) / extreme;
            f->rounder(x, w, id, f->sub, level);
            vd_sums sums = vd_sums_of(x, w, level, f->sub);
            if (sums.ll > 0.0f && sums.xl * sums.xl > best * sums.ll) {
                best = sums.xl * sums.xl / sums.ll;
                scale = sums.xl / sums.ll;
            }
        }
    return scale;
}

/* Step 3 for one sub-block: S near scale / d. Returns the error. */
VD_INLINE float vd_choose_s(const vd_family *f, const float *x, const float *w, float d,
                            float scale, int *ret_s, float *ret_level)
{
    float best = INFINITY, level[32];
    int near = d != 0.0f ? (int)vd_round((scale / d - (float)f->s_first) / (float)f->s_step) : 0;
    for (int s = near - 1; s <= near + 1; s++) {
        int clamped = s < f->s_min ? f->s_min : s > f->s_max ? f->s_max : s;
        float ds = d * (float)(clamped * f->s_step + f->s_first);
        f->rounder(x, w, ds != 0.0f ? 1.0f / ds : 0.0f, f->sub, level);
        float error = vd_error_of(x, w, level, ds, f->sub);
        if (error < best) {
            best = error;
            *ret_s = clamped;
            memcpy(ret_level, level, (size_t)f->sub * sizeof(float));
        }
    }
    return best;
}

/* Step 4. */
VD_INLINE float vd_refit_d(const vd_family *f, const float *x, const float *w,
                           const vd_superblock *b)
{
    double xl = 0, ll = 0;
    for (int i = 0; i < VD_SUPER / f->sub; i++) {
        vd_sums sums = vd_sums_of(x + i * f->sub, w + i * f->sub, b->level + i * f->sub, f->sub);
        double s = b->s[i] * f->s_step + f->s_first;
        xl += s * (double)sums.xl;
        ll += s * s * (double)sums.ll;
    }
    return ll > 0 ? (float)(xl / ll) : b->d;
}

/* Steps 3 and 4 from a given d, until the error no longer falls. */
VD_INLINE void vd_descend(const vd_family *f, const float *x, const float *w, const float *scale,
                          float d, int n_passes, vd_superblock *best)
{
    for (int pass = 0; pass < n_passes; pass++) {
        vd_superblock b = {.d = vd_round_f16(d)};
        for (int i = 0; i < VD_SUPER / f->sub; i++)
            b.error += vd_choose_s(f, x + i * f->sub, w + i * f->sub, b.d, scale[i], &b.s[i],
                                   b.level + i * f->sub);
        if (!(b.error < best->error))
            return;
        *best = b;
        d = vd_refit_d(f, x, w, &b);
    }
}

/* The whole search. Values that are all zero give d = 0. */
VD_INLINE void vd_super_search(const vd_family *f, const float *x, const float *given,
                               vd_superblock *ret)
{
    static const float starts[] = {1.0f, 1.03f, 0.97f, 1.07f, 0.93f};
    float w[VD_SUPER], scale[VD_SUBS_MAX], extreme = 0;
    *ret = (vd_superblock){.error = INFINITY};
    if (!(given != NULL ? vd_given_weights(x, given, VD_SUPER, w) : vd_weights(x, VD_SUPER, w))) {
        for (int i = 0; i < VD_SUPER; i++)
            ret->level[i] = 0;
        f->rounder(x, w, 0.0f, VD_SUPER, ret->level);
        return;
    }
    for (int i = 0; i < VD_SUPER / f->sub; i++) {
        scale[i] = vd_best_scale(f, x + i * f->sub, w + i * f->sub);
        extreme = fabsf(scale[i]) > fabsf(extreme) ? scale[i] : extreme;
    }
    float end = (float)(f->s_min < 0 ? f->s_min : f->s_max * f->s_step + f->s_first);
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        vd_descend(f, x, w, scale, extreme / end * starts[i], 3, ret);
}

#endif
