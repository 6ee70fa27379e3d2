/*
 * ternary.c - values that are a scale times -1, 0 or 1: TQ1_0, TQ2_0, Q2_0, and the signs of Q1_0.
 *
 * These types are meant for models trained that way, whose blocks come out exactly. For any other
 * block the scale is the one with the least squared error: where the k largest magnitudes become
 * the scale and the rest zero, the best scale is the mean of those k and the error falls by
 * (their sum)^2 / k, so sorting finds the best k (Li and Liu, Ternary Weight Networks, 2016, solve
 * the same for a threshold). llama.cpp takes the largest magnitude as the scale, which is the same
 * for trained blocks and far worse for others.
 *
 * For Q1_0 the best scale is the mean of all magnitudes (Rastegari et al., XNOR-Net, 2016), as in
 * llama.cpp. Q2_0 knows a fourth value, twice the scale, on one side: both sides are tried.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/encode/blocks.h"

enum { TERNARY_BLOCK = 256, Q1_BLOCK = 128, Q2_BLOCK = 64 };

static int by_magnitude(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y); /* largest first */
}

/* The best scale for n <= TERNARY_BLOCK values, and the smallest magnitude that becomes +-scale. */
static float best_ternary(const float *x, int n, float *ret_least)
{
    float magnitude[TERNARY_BLOCK];
    double sum = 0, best = 0;
    float scale = 0;
    *ret_least = INFINITY;
    for (int i = 0; i < n; i++)
        magnitude[i] = fabsf(x[i]);
    qsort(magnitude, (size_t)n, sizeof(magnitude[0]), by_magnitude);
    for (int k = 1; k <= n; k++) {
        sum += (double)magnitude[k - 1];
        if (sum * sum / k > best) {
            best = sum * sum / k;
            scale = (float)(sum / k);
            *ret_least = magnitude[k - 1];
        }
    }
    return scale;
}

/* Digits 0, 1, 2 for -1, 0, 1. */
static float to_digits(const float *x, int n, uint8_t *digit)
{
    float least;
    float d = best_ternary(x, n, &least);
    for (int i = 0; i < n; i++)
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
    for (size_t b = 0; b < n_blocks; b++, x += TERNARY_BLOCK, dst += 54) {
        uint8_t digit[TERNARY_BLOCK];
        float d = to_digits(x, TERNARY_BLOCK, digit);
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
    for (size_t b = 0; b < n_blocks; b++, x += TERNARY_BLOCK, dst += 66) {
        uint8_t digit[TERNARY_BLOCK];
        float d = to_digits(x, TERNARY_BLOCK, digit);
        memset(dst, 0, 64);
        for (int i = 0; i < TERNARY_BLOCK; i++)
            dst[32 * (i / 128) + i % 32] |= (uint8_t)(digit[i] << i % 128 / 32 * 2);
        vd_store_f16(dst + 64, d);
    }
}

VD_ENCODER(vd_encode_q1_0)
{
    for (size_t b = 0; b < n_blocks; b++, x += Q1_BLOCK, dst += 18) {
        float sum = 0;
        memset(dst + 2, 0, 16);
        for (int i = 0; i < Q1_BLOCK; i++) {
            sum += fabsf(x[i]);
            dst[2 + i / 8] |= (uint8_t)((x[i] >= 0.0f) << i % 8);
        }
        vd_store_f16(dst, sum / Q1_BLOCK);
    }
}

/* Codes 0..3 for -d, 0, d, 2d, the nearest; returns the squared error. d may be negative. */
static double to_codes(const float *x, float d, uint8_t code[Q2_BLOCK])
{
    double error = 0;
    float id = d != 0.0f ? 1.0f / d : 0.0f;
    for (int i = 0; i < Q2_BLOCK; i++) {
        float q = vd_round(vd_clamp(x[i] * id, -1.0f, 2.0f));
        double left = (double)x[i] - (double)(d * q);
        error += left * left;
        code[i] = (uint8_t)((int)q + 1);
    }
    return error;
}

/* The scale that is best for given codes. */
static float refit(const float *x, const uint8_t code[Q2_BLOCK])
{
    double xq = 0, qq = 0;
    for (int i = 0; i < Q2_BLOCK; i++) {
        double q = code[i] - 1;
        xq += (double)x[i] * q;
        qq += q * q;
    }
    return qq > 0 ? (float)(xq / qq) : 0.0f;
}

VD_ENCODER(vd_encode_q2_0)
{
    /* From the ternary scale down: the fourth value lets the scale be smaller. */
    static const float shares[] = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f, 0.5f};
    enum { N_SHARES = sizeof(shares) / sizeof(shares[0]), PASSES = 3 };
    for (size_t b = 0; b < n_blocks; b++, x += Q2_BLOCK, dst += 18) {
        uint8_t code[Q2_BLOCK], best_code[Q2_BLOCK];
        float least, best_d = 0, ternary = best_ternary(x, Q2_BLOCK, &least);
        double best = INFINITY;
        for (int i = 0; i < 2 * N_SHARES; i++) {
            float d = shares[i / 2] * (i % 2 == 0 ? ternary : -ternary);
            for (int pass = 0; pass < PASSES; pass++) {
                d = vd_round_f16(d);
                double error = to_codes(x, d, code);
                if (error < best) {
                    best = error;
                    best_d = d;
                    memcpy(best_code, code, sizeof(code));
                }
                d = refit(x, code);
            }
        }
        vd_store_f16(dst, best_d);
        memset(dst + 2, 0, 16);
        for (int i = 0; i < Q2_BLOCK; i++)
            dst[2 + i / 4] |= (uint8_t)(best_code[i] << i % 4 * 2);
    }
}
