/*
 * affine.h - scales with a minimum: the super-blocks of Q2_K, Q4_K and Q5_K, and single blocks.
 * value = d * S * q - dmin * M, with q in 0..top and S, M whole numbers. What is minimized is the
 * sum of w * (x - value)^2.
 */
#ifndef VD_COMPRESS_ENCODE_AFFINE_H
#define VD_COMPRESS_ENCODE_AFFINE_H

#include "compress/encode/super.h"

typedef struct vd_affine_family {
    int sub;        /* values per sub-block: 16 or 32 */
    int s_max;      /* of S and M */
    float top;      /* the largest q */
    float step;     /* of the search for a scale, in q */
    int n_windows;  /* of the search for S and M, sixteen pairs each: 1 to 5 */
    int n_starts;   /* of d: 1 to 3 */
    bool by_size;   /* without given weights w is that of vd_size_weights, else rms + |x| */
} vd_affine_family;

typedef struct vd_affine_block {
    float d, dmin;      /* as f16 holds them */
    int s[VD_SUBS_MAX], m[VD_SUBS_MAX];
    float q[VD_SUPER];
    float error;
} vd_affine_block;

/* given: how much each of the VD_SUPER values counts, or NULL. */
void vd_affine_search(const vd_affine_family *f, const float *x, const float *given,
                      vd_affine_block *ret);

/* The best real scale and minimum (not negative) of one sub-block alone; scale 0 where it has but
 * one value. */
void vd_affine_best(const vd_affine_family *f, const float *x, const float *w, float *ret_scale,
                    float *ret_min);

#endif
