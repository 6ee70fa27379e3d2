/*
 * blocks.h - what encoders share: their list, little-endian words, rounding.
 *
 * An encoder takes n_blocks blocks of finite values and how much each of them counts: w, not
 * negative, or NULL where they count as its file says, which also says how it chooses scales and
 * codes.
 */
#ifndef VD_COMPRESS_ENCODE_BLOCKS_H
#define VD_COMPRESS_ENCODE_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"

typedef void (*vd_encode_fn)(const float *restrict x, const float *restrict w,
                             uint8_t *restrict dst, size_t n_blocks);

#define VD_ENCODER(name)                                                                           \
    void name(const float *restrict x, const float *restrict w, uint8_t *restrict dst,             \
              size_t n_blocks)
VD_ENCODER(vd_encode_f32);
VD_ENCODER(vd_encode_f16);
VD_ENCODER(vd_encode_bf16);
VD_ENCODER(vd_encode_q4_0);
VD_ENCODER(vd_encode_q4_1);
VD_ENCODER(vd_encode_q5_0);
VD_ENCODER(vd_encode_q5_1);
VD_ENCODER(vd_encode_q8_0);
VD_ENCODER(vd_encode_q2_k);
VD_ENCODER(vd_encode_q3_k);
VD_ENCODER(vd_encode_q4_k);
VD_ENCODER(vd_encode_q5_k);
VD_ENCODER(vd_encode_q6_k);
VD_ENCODER(vd_encode_iq4_nl);
VD_ENCODER(vd_encode_iq4_xs);
VD_ENCODER(vd_encode_iq3_s);
VD_ENCODER(vd_encode_iq3_xxs);
VD_ENCODER(vd_encode_iq2_s);
VD_ENCODER(vd_encode_iq2_xs);
VD_ENCODER(vd_encode_iq2_xxs);
VD_ENCODER(vd_encode_iq1_m);
VD_ENCODER(vd_encode_iq1_s);
VD_ENCODER(vd_encode_mxfp4);
VD_ENCODER(vd_encode_tq1_0);
VD_ENCODER(vd_encode_tq2_0);
VD_ENCODER(vd_encode_q1_0);
VD_ENCODER(vd_encode_q2_0);

/* What the next n values count. */
static inline const float *vd_next(const float *w, size_t n)
{
    return w != NULL ? w + n : NULL;
}

static inline void vd_store_u16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void vd_store_f16(uint8_t *p, float value)
{
    vd_store_u16(p, vd_f32_to_f16(value));
}

/* What the value is once it has been stored. */
static inline float vd_round_f16(float value)
{
    return vd_f16_to_f32(vd_f32_to_f16(value));
}

/* To the nearest whole number, ties to even, for |x| < 2^22. Unlike rintf it compiles to two
 * additions on any machine. */
static inline float vd_round(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: the sum has no bits below 1 */
    return (x + magic) - magic;
}

/* NaN becomes `low`: 0 times a reciprocal that is infinite, where a scale is denormal. */
static inline float vd_clamp(float x, float low, float high)
{
    x = x > low ? x : low;
    return x < high ? x : high;
}

#endif
