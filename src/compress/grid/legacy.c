/* legacy.c - grids of Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: see decode_q4_0.c and so on for the layouts. */
#include "compress/grid/families.h"
#include "kernels/ref/decode.h"

enum { BLOCK = 32 };

/* Lower four bits, the first half of the block in lower halves of bytes; fifth bits to qh. */
static void put_codes(uint8_t *qs, uint8_t *qh, const uint8_t *code)
{
    uint32_t high = 0;
    for (int j = 0; j < BLOCK / 2; j++)
        qs[j] = (uint8_t)((code[j] & 15) | (code[j + BLOCK / 2] & 15) << 4);
    for (int j = 0; j < BLOCK; j++)
        high |= (uint32_t)(code[j] >> 4) << j;
    for (int i = 0; qh != NULL && i < 4; i++)
        qh[i] = (uint8_t)(high >> 8 * i);
}

static void read_scale(const uint8_t *b, float *scale, float *min)
{
    *scale = vd_load_f16(b);
}

static void read_both(const uint8_t *b, float *scale, float *min)
{
    *scale = vd_load_f16(b);
    *min = -vd_load_f16(b + 2);
}

static void put_q4_0(uint8_t *b, const uint8_t *code)
{
    put_codes(b + 2, NULL, code);
}

static void put_q4_1(uint8_t *b, const uint8_t *code)
{
    put_codes(b + 4, NULL, code);
}

static void put_q5_0(uint8_t *b, const uint8_t *code)
{
    put_codes(b + 6, b + 2, code);
}

static void put_q5_1(uint8_t *b, const uint8_t *code)
{
    put_codes(b + 8, b + 4, code);
}

static void put_q8_0(uint8_t *b, const uint8_t *code)
{
    for (int j = 0; j < BLOCK; j++)
        b[2 + j] = (uint8_t)(code[j] - 127);
}

const vd_grid vd_grid_q4_0 = {.bytes = 18, .block = BLOCK, .sub = BLOCK, .n_codes = 16, .first = -8,
                              .read = read_scale, .put = put_q4_0};
const vd_grid vd_grid_q4_1 = {.bytes = 20, .block = BLOCK, .sub = BLOCK, .n_codes = 16,
                              .read = read_both, .put = put_q4_1};
const vd_grid vd_grid_q5_0 = {.bytes = 22, .block = BLOCK, .sub = BLOCK, .n_codes = 32,
                              .first = -16, .read = read_scale, .put = put_q5_0};
const vd_grid vd_grid_q5_1 = {.bytes = 24, .block = BLOCK, .sub = BLOCK, .n_codes = 32,
                              .read = read_both, .put = put_q5_1};
/* -128 is left out, as by the encoder. */
const vd_grid vd_grid_q8_0 = {.bytes = 34, .block = BLOCK, .sub = BLOCK, .n_codes = 255,
                              .first = -127, .read = read_scale, .put = put_q8_0};
