/*
 * scales.h - scales alone: the super-blocks of Q3_K, Q6_K and IQ4_XS, and single blocks.
 * value = d * S * level, with S a whole number and level one of a few values of both signs. What is
 * minimized is the sum of w * (x - value)^2.
 */
#ifndef VD_COMPRESS_ENCODE_SCALES_H
#define VD_COMPRESS_ENCODE_SCALES_H

#include "compress/encode/super.h"

typedef struct vd_scale_family {
    int sub;             /* values per sub-block: 16 or 32; of a single block up to 64 */
    int s_min, s_max;    /* of S, either sign */
    float low, high;     /* the extreme levels */
    const float *levels; /* the VD_FIT_LEVELS levels, or NULL: all whole numbers */
    float step;          /* of the search for a scale, in levels */
    int below;           /* how many of its steps are below an extreme level, */
    int n_ranges;        /* of so many times eight in all */
    int n_windows;       /* of the search for S, sixteen each: 1 to 8 */
    int n_starts;        /* of d: 1 to 5 */
} vd_scale_family;

typedef struct vd_scale_block {
    float d;             /* as f16 holds it */
    int s[VD_SUBS_MAX];
    float level[VD_SUPER];
    float error;
} vd_scale_block;

/* given: how much each of the VD_SUPER values counts, or NULL. */
void vd_scale_search(const vd_scale_family *f, const float *x, const float *given,
                     vd_scale_block *ret);

/* One block with a scale of its own, an f16, which is returned, and its levels. w: as it counts. */
float vd_scale_single(const vd_scale_family *f, const float *x, const float *w, float *ret_level);

#endif
