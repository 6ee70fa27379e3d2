/*
 * ternary.c - values that are a scale times -1, 0 or 1: TQ1_0, TQ2_0, Q2_0, and the signs of Q1_0.
 *
 * These types are meant for models trained that way, whose blocks come out exactly. For any other
 * block the scale is the one with the least squared error, each value's counted as w says. Given a
 * scale, a value becomes zero where it is nearer to zero, whatever it counts, so that some k
 * largest magnitudes become the scale; the best one for them is their weighted mean, and the error
 * falls by (sum of w |x|)^2 / (sum of w) over those k: sorting finds the best k. (Li and Liu,
 * Ternary Weight Networks, 2016, solve the same for a threshold, where all count alike.) llama.cpp
 * takes the largest magnitude as the scale, which is the same for trained blocks and far worse for
 * others.
 *
 * For Q1_0 the best scale is the weighted mean of all magnitudes (Rastegari et al., XNOR-Net,
 * 2016); where all count alike that is llama.cpp's. Q2_0 knows a fourth value, twice the scale, on
 * one side: both sides are searched (scales.h).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/encode/scales.h"

enum { TERNARY_BLOCK = 256, Q1_BLOCK = 128, Q2_BLOCK = 64 };

typedef struct counted {
    float magnitude, w;
} counted;

static int by_magnitude(const void *a, const void *b)
{
    float x = ((const counted *)a)->magnitude, y = ((const counted *)b)->magnitude;
    return (x < y) - (x > y); /* largest first */
}

/* How much each of n values counts: as given, those that count nothing a little; where nothing is
 * given or counts, all alike. */
static void weights_of(const float *given, int n, float *w)
{
    float sum = 0;
    for (int i = 0; given != NULL && i < n; i++)
        sum += given[i];
    bool counts = sum > 0.0f && sum <= 3e38f;
    for (int i = 0; i < n; i++)
        w[i] = counts ? given[i] / sum + 1e-6f : 1.0f;
}

/* The best scale for a block, and the smallest magnitude that becomes +-scale. */
static float best_ternary(const float *x, const float *given, float *ret_least)
{
    counted value[TERNARY_BLOCK];
    float w[TERNARY_BLOCK], scale = 0;
    double sum = 0, w_sum = 0, best = 0;
    *ret_least = INFINITY;
    weights_of(given, TERNARY_BLOCK, w);
    for (int i = 0; i < TERNARY_BLOCK; i++)
        value[i] = (counted){fabsf(x[i]), w[i]};
    qsort(value, TERNARY_BLOCK, sizeof(value[0]), by_magnitude);
    for (int k = 0; k < TERNARY_BLOCK; k++) {
        w_sum += (double)value[k].w;
        sum += (double)value[k].w * (double)value[k].magnitude;
        if (sum * sum / w_sum > best) {
            best = sum * sum / w_sum;
            scale = (float)(sum / w_sum);
            *ret_least = value[k].magnitude;
        }
    }
    return scale;
}

/* Digits 0, 1, 2 for -1, 0, 1. */
static float to_digits(const float *x, const float *w, uint8_t digit[TERNARY_BLOCK])
{
    float least;
    float d = best_ternary(x, w, &least);
    for (int i = 0; i < TERNARY_BLOCK; i++)
        digit[i] = (uint8_t)(fabsf(x[i]) < least ? 1 : x[i] < 0.0f ? 0 : 2);
    return d;
}

/* n_digits digits, `stride` apart, as one fraction of 256 (see decode_tq1_0.c), rounded up so that
 * the multiplications there give them back. */
static uint8_t fraction_of(const uint8_t *digit, int n_digits, int stride)
{
    unsigned number = 0;
    for (int i = 0; i < 5; i++)
        number = 3 * number + (i < n_digits ? digit[i * stride] : 0);
    return (uint8_t)((number * 256 + 242) / 243);
}

VD_ENCODER(vd_encode_tq1_0)
{
    for (size_t b = 0; b < n_blocks;
         b++, x += TERNARY_BLOCK, w = vd_next(w, TERNARY_BLOCK), dst += 54) {
        uint8_t digit[TERNARY_BLOCK];
        float d = to_digits(x, w, digit);
        for (int j = 0; j < 32; j++)
            dst[j] = fraction_of(digit + j, 5, 32);
        for (int j = 0; j < 16; j++)
            dst[32 + j] = fraction_of(digit + 160 + j, 5, 16);
        for (int j = 0; j < 4; j++)
            dst[48 + j] = fraction_of(digit + 240 + j, 4, 4);
        vd_store_f16(dst + 52, d);
    }
}

VD_ENCODER(vd_encode_tq2_0)
{
    for (size_t b = 0; b < n_blocks;
         b++, x += TERNARY_BLOCK, w = vd_next(w, TERNARY_BLOCK), dst += 66) {
        uint8_t digit[TERNARY_BLOCK];
        float d = to_digits(x, w, digit);
        memset(dst, 0, 64);
        for (int i = 0; i < TERNARY_BLOCK; i++)
            dst[32 * (i / 128) + i % 32] |= (uint8_t)(digit[i] << i % 128 / 32 * 2);
        vd_store_f16(dst + 64, d);
    }
}

/* The weighted mean of all magnitudes. */
static float mean_of(const float *x, const float *given)
{
    float w[Q1_BLOCK];
    double sum = 0, w_sum = 0;
    weights_of(given, Q1_BLOCK, w);
    for (int i = 0; i < Q1_BLOCK; i++) {
        sum += (double)w[i] * (double)fabsf(x[i]);
        w_sum += (double)w[i];
    }
    return (float)(sum / w_sum);
}

VD_ENCODER(vd_encode_q1_0)
{
    for (size_t b = 0; b < n_blocks; b++, x += Q1_BLOCK, w = vd_next(w, Q1_BLOCK), dst += 18) {
        float sum = 0;
        memset(dst + 2, 0, 16);
        for (int i = 0; i < Q1_BLOCK; i++) {
            sum += fabsf(x[i]);
            dst[2 + i / 8] |= (uint8_t)((x[i] >= 0.0f) << i % 8);
        }
        /* Without weights in the order of llama.cpp, for its bytes. */
        vd_store_f16(dst, w != NULL ? mean_of(x, w) : sum / Q1_BLOCK);
    }
}

VD_ENCODER(vd_encode_q2_0)
{
    /* Eight steps below 2 the extreme value becomes 1, as in trained blocks. */
    static const vd_scale_family family = {.sub = Q2_BLOCK, .low = -1, .high = 2, .step = 0.125f,
                                           .below = 8, .n_ranges = 4};
    for (size_t b = 0; b < n_blocks; b++, x += Q2_BLOCK, w = vd_next(w, Q2_BLOCK), dst += 18) {
        float own[Q2_BLOCK], level[Q2_BLOCK] = {0};
        weights_of(w, Q2_BLOCK, own);
        vd_store_f16(dst, vd_scale_single(&family, x, own, level));
        memset(dst + 2, 0, 16);
        for (int i = 0; i < Q2_BLOCK; i++)
            dst[2 + i / 4] |= (uint8_t)(((int)level[i] + 1) << i % 4 * 2);
    }
}
