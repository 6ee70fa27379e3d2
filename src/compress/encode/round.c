/*
 * round.c - the types whose scale follows from the extremes of a block: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0,
 * and the floats.
 *
 * With weights Q4_0 to Q5_1 are searched for (weighted.h); Q8_0 needs no search.
 *
 * Byte for byte what llama.cpp's quantizer makes without an importance matrix, which is why the
 * order of operations matters here: the reciprocal of the scale in f32 (not of the stored f16),
 * multiplied, half added, cut. tests/py/test_encode.py compares; the project compiles without
 * contraction to FMA.
 */
#include <math.h>
#include <string.h>

#include "compress/encode/blocks.h"
#include "compress/encode/weighted.h"

enum { BLOCK = 32, F16_MAX = 65504 };

VD_ENCODER(vd_encode_f32)
{
    memcpy(dst, x, n_blocks * sizeof(float));
}

VD_ENCODER(vd_encode_f16)
{
    for (size_t i = 0; i < n_blocks; i++)
        vd_store_u16(dst + 2 * i, vd_f32_to_f16(x[i]));
}

VD_ENCODER(vd_encode_bf16)
{
    for (size_t i = 0; i < n_blocks; i++)
        vd_store_u16(dst + 2 * i, vd_f32_to_bf16(x[i]));
}

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

/* The value of largest magnitude, with its sign; the first of equals. */
static float extreme(const float *x)
{
    float best = 0.0f;
    for (int j = 0; j < BLOCK; j++)
        if (fabsf(x[j]) > fabsf(best))
            best = x[j];
    return best;
}

static void range(const float *x, float *ret_min, float *ret_max)
{
    float min = x[0], max = x[0];
    for (int j = 1; j < BLOCK; j++) {
        min = x[j] < min ? x[j] : min;
        max = x[j] > max ? x[j] : max;
    }
    *ret_min = min;
    *ret_max = max;
}

/* Cut to a whole number in 0..top. Where d is so small that its reciprocal is infinite (and its f16
 * zero), `scaled` may be infinite or NaN: code 0. */
static int code_of(float scaled, int top)
{
    int q = scaled > -1.0f && scaled < 256.0f ? (int)scaled : 0;
    return q < top ? q : top;
}

/* Codes of a block whose first half goes to lower halves of bytes; fifth bits to *qh. */
static void put_codes(const int q[BLOCK], uint8_t *qs, uint8_t *qh)
{
    uint32_t high = 0;
    for (int j = 0; j < BLOCK / 2; j++)
        qs[j] = (uint8_t)((q[j] & 15) | (q[j + BLOCK / 2] & 15) << 4);
    for (int j = 0; j < BLOCK; j++)
        high |= (uint32_t)(q[j] >> 4) << j;
    for (int i = 0; qh != NULL && i < 4; i++)
        qh[i] = (uint8_t)(high >> 8 * i);
}

/* Q4_0 and Q5_0: the extreme becomes code 0, zero is code `zero`. What is larger than an f16 is not
 * searched: the best scale might be too. */
static void encode_signed(const float *x, const float *w, int zero, float *ret_d, int q[BLOCK])
{
    float most = extreme(x);
    if (w != NULL && fabsf(most) <= F16_MAX) {
        *ret_d = vd_weighted_symmetric(x, w, zero, q);
        return;
    }
    float d = most / (float)-zero;
    float id = inverse(d), half = (float)zero + 0.5f;
    for (int j = 0; j < BLOCK; j++)
        q[j] = code_of(x[j] * id + half, 2 * zero - 1);
    *ret_d = d;
}

/* Q4_1 and Q5_1: the smallest value becomes code 0, the largest `top`. */
static void encode_affine(const float *x, const float *w, int top, float *ret_d, float *ret_min,
                          int q[BLOCK])
{
    float min, max;
    if (w != NULL) {
        vd_weighted_affine(x, w, top, ret_d, ret_min, q);
        return;
    }
    range(x, &min, &max);
    float d = (max - min) / (float)top;
    float id = inverse(d);
    for (int j = 0; j < BLOCK; j++)
        q[j] = code_of((x[j] - min) * id + 0.5f, top);
    *ret_d = d;
    *ret_min = min;
}

VD_ENCODER(vd_encode_q4_0)
{
    for (size_t b = 0; b < n_blocks; b++, x += BLOCK, w = vd_next(w, BLOCK), dst += 18) {
        float d;
        int q[BLOCK];
        encode_signed(x, w, 8, &d, q);
        vd_store_f16(dst, d);
        put_codes(q, dst + 2, NULL);
    }
}

VD_ENCODER(vd_encode_q4_1)
{
    for (size_t b = 0; b < n_blocks; b++, x += BLOCK, w = vd_next(w, BLOCK), dst += 20) {
        float d, min;
        int q[BLOCK];
        encode_affine(x, w, 15, &d, &min, q);
        vd_store_f16(dst, d);
        vd_store_f16(dst + 2, min);
        put_codes(q, dst + 4, NULL);
    }
}

VD_ENCODER(vd_encode_q5_0)
{
    for (size_t b = 0; b < n_blocks; b++, x += BLOCK, w = vd_next(w, BLOCK), dst += 22) {
        float d;
        int q[BLOCK];
        encode_signed(x, w, 16, &d, q);
        vd_store_f16(dst, d);
        put_codes(q, dst + 6, dst + 2);
    }
}

VD_ENCODER(vd_encode_q5_1)
{
    for (size_t b = 0; b < n_blocks; b++, x += BLOCK, w = vd_next(w, BLOCK), dst += 24) {
        float d, min;
        int q[BLOCK];
        encode_affine(x, w, 31, &d, &min, q);
        vd_store_f16(dst, d);
        vd_store_f16(dst + 2, min);
        put_codes(q, dst + 8, dst + 4);
    }
}

VD_ENCODER(vd_encode_q8_0)
{
    for (size_t b = 0; b < n_blocks; b++, x += BLOCK, dst += 34) {
        float d = fabsf(extreme(x)) / 127.0f;
        float id = inverse(d);
        vd_store_f16(dst, d);
        for (int j = 0; j < BLOCK; j++) {
            float q = roundf(x[j] * id); /* half away from zero */
            dst[2 + j] = (uint8_t)(fabsf(q) < 128.0f ? (int8_t)q : 0);
        }
    }
}
