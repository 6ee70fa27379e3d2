/*
 * store_kv.c - keys and values on their way into the cache. dst may lie at any address.
 *
 * Q8_0 and Q4_0 have the blocks of the file's types of that name. Values are divided by the scale
 * as it is stored, rounded to f16, so that its rounding is no error of theirs.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/ref/ref.h"

enum { BLOCK = 32 };

/* The block's value of the largest size, the positive one of two; a NaN where one value is no
 * number. */
static float extreme(const float *x)
{
    float top = 0, bottom = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        if (!isfinite(x[i]))
            return NAN;
        top = VD_MAX(top, x[i]);
        bottom = VD_MIN(bottom, x[i]);
    }
    return top >= -bottom ? top : bottom;
}

/* x / scale to the nearest whole number in [least, most], ties to even. */
static float whole(float x, float inverse, float least, float most)
{
    return VD_MAX(least, VD_MIN(most, rintf(x * inverse)));
}

static float store_scale(float scale, unsigned char *dst)
{
    uint16_t half = vd_f32_to_f16(scale);
    memcpy(dst, &half, 2);
    float kept = vd_f16_to_f32(half);
    return kept == 0 || !isfinite(kept) ? 0 : 1 / kept;
}

static void store_q8_0(const float *x, unsigned char *dst)
{
    float inverse = store_scale(fabsf(extreme(x)) / 127, dst);
    for (size_t i = 0; i < BLOCK; i++) {
        int8_t q = inverse == 0 ? 0 : (int8_t)whole(x[i], inverse, -127, 127);
        memcpy(dst + 2 + i, &q, 1);
    }
}

static void store_q4_0(const float *x, unsigned char *dst)
{
    float inverse = store_scale(extreme(x) / -8, dst);
    for (size_t i = 0; i < BLOCK / 2; i++) {
        float lo = inverse == 0 ? 0 : whole(x[i], inverse, -8, 7);
        float hi = inverse == 0 ? 0 : whole(x[i + BLOCK / 2], inverse, -8, 7);
        dst[2 + i] = (unsigned char)((int)(lo + 8) | (int)(hi + 8) << 4);
    }
}

void vd_ref_store_kv(vd_dtype dtype, const float *x, void *dst, size_t n)
{
    unsigned char *to = dst;
    switch (dtype) {
    case VD_DTYPE_F32:
        if (n != 0)
            memcpy(dst, x, n * sizeof *x);
        return;
    case VD_DTYPE_Q8_0:
        for (size_t i = 0; i < n; i += BLOCK, to += 2 + BLOCK)
            store_q8_0(x + i, to);
        return;
    case VD_DTYPE_Q4_0:
        for (size_t i = 0; i < n; i += BLOCK, to += 2 + BLOCK / 2)
            store_q4_0(x + i, to);
        return;
    default:
        for (size_t i = 0; i < n; i++) {
            uint16_t half = dtype == VD_DTYPE_BF16 ? vd_f32_to_bf16(x[i]) : vd_f32_to_f16(x[i]);
            memcpy(to + 2 * i, &half, 2);
        }
    }
}
