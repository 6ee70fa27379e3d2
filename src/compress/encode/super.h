/*
 * super.h - what the searches for super-blocks share: sizes, and how much values count.
 *
 * What is minimized is the sum of w * (x - value)^2, where w is given, or else x^2 + twice the
 * square of the mean magnitude: about half of it the plain squared error, half weighted by size,
 * because a large weight that is off by some share moves the output more than a small one. (The
 * mean of x^2 would let a few outliers raise the weight of all others.)
 */
#ifndef VD_COMPRESS_ENCODE_SUPER_H
#define VD_COMPRESS_ENCODE_SUPER_H

#include <math.h>
#include <string.h>

#include "compress/encode/blocks.h"

#define VD_INLINE static inline __attribute__((always_inline))

enum { VD_SUPER = 256, VD_SUBS_MAX = 16, VD_LANES = 8 };

/* Sums in lanes, so that the compiler may use vectors without changing the result. */
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

#endif
