/* few.c - grids of few levels: TQ1_0, TQ2_0, Q2_0, Q1_0. */
#include <string.h>

#include "compress/grid/families.h"
#include "kernels/ref/decode.h"

enum { TERNARY_BLOCK = 256, Q2_BLOCK = 64, Q1_BLOCK = 128 };

static void read_first(const uint8_t *b, float *scale, float *min)
{
    *scale = vd_load_f16(b);
}

static void read_tq1_0(const uint8_t *b, float *scale, float *min)
{
    *scale = vd_load_f16(b + 52);
}

static void read_tq2_0(const uint8_t *b, float *scale, float *min)
{
    *scale = vd_load_f16(b + 64);
}

/* Digits `stride` apart as a fraction of 256, rounded up: see encode/ternary.c. */
static uint8_t fraction_of(const uint8_t *digit, int n_digits, int stride)
{
    unsigned number = 0;
    for (int i = 0; i < 5; i++)
        number = 3 * number + (i < n_digits ? digit[i * stride] : 0);
    return (uint8_t)((number * 256 + 242) / 243);
}

static void put_tq1_0(uint8_t *b, const uint8_t *code)
{
    for (int j = 0; j < 32; j++)
        b[j] = fraction_of(code + j, 5, 32);
    for (int j = 0; j < 16; j++)
        b[32 + j] = fraction_of(code + 160 + j, 5, 16);
    for (int j = 0; j < 4; j++)
        b[48 + j] = fraction_of(code + 240 + j, 4, 4);
}

static void put_tq2_0(uint8_t *b, const uint8_t *code)
{
    memset(b, 0, 64);
    for (int i = 0; i < TERNARY_BLOCK; i++)
        b[32 * (i / 128) + i % 32] |= (uint8_t)(code[i] << i % 128 / 32 * 2);
}

static void put_q2_0(uint8_t *b, const uint8_t *code)
{
    memset(b + 2, 0, 16);
    for (int i = 0; i < Q2_BLOCK; i++)
        b[2 + i / 4] |= (uint8_t)(code[i] << i % 4 * 2);
}

static void put_q1_0(uint8_t *b, const uint8_t *code)
{
    memset(b + 2, 0, 16);
    for (int i = 0; i < Q1_BLOCK; i++)
        b[2 + i / 8] |= (uint8_t)(code[i] << i % 8);
}

static const int8_t signs[2] = {-1, 1};

const vd_grid vd_grid_tq1_0 = {.bytes = 54, .block = TERNARY_BLOCK, .sub = TERNARY_BLOCK,
                               .n_codes = 3, .first = -1, .read = read_tq1_0, .put = put_tq1_0};
const vd_grid vd_grid_tq2_0 = {.bytes = 66, .block = TERNARY_BLOCK, .sub = TERNARY_BLOCK,
                               .n_codes = 3, .first = -1, .read = read_tq2_0, .put = put_tq2_0};
const vd_grid vd_grid_q2_0 = {.bytes = 18, .block = Q2_BLOCK, .sub = Q2_BLOCK, .n_codes = 4,
                              .first = -1, .read = read_first, .put = put_q2_0};
const vd_grid vd_grid_q1_0 = {.bytes = 18, .block = Q1_BLOCK, .sub = Q1_BLOCK, .n_codes = 2,
                              .level = signs, .read = read_first, .put = put_q1_0};
