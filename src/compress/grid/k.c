/* k.c - grids of Q2_K to Q6_K: see decode_q2_k.c and so on for the layouts. */
#include <string.h>

#include "compress/grid/families.h"
#include "kernels/ref/decode.h"

enum { SUPER = 256 };

/* ---- Q2_K -------------------------------------------------------------------------------------*/

static void read_q2_k(const uint8_t *b, float *scale, float *min)
{
    float d = vd_load_f16(b + 80), dmin = vd_load_f16(b + 82);
    for (int s = 0; s < 16; s++) {
        scale[s] = d * (float)(b[s] & 15);
        min[s] = dmin * (float)(b[s] >> 4);
    }
}

static void put_q2_k(uint8_t *b, const uint8_t *code)
{
    memset(b + 16, 0, 64);
    for (int i = 0; i < SUPER; i++)
        b[16 + 32 * (i / 128) + i % 32] |= (uint8_t)(code[i] << i % 128 / 32 * 2);
}

/* ---- Q3_K -------------------------------------------------------------------------------------*/

static void read_q3_k(const uint8_t *b, float *scale, float *min)
{
    float d = vd_load_f16(b + 108);
    for (int s = 0; s < 16; s++)
        scale[s] = d * (float)(vd_q3_k_scale(b + 96, s) - 32);
}

static void put_q3_k(uint8_t *b, const uint8_t *code)
{
    memset(b, 0, 96);
    for (int i = 0; i < SUPER; i++) {
        b[i % 32] |= (uint8_t)(code[i] >> 2 << i / 32);
        b[32 + 32 * (i / 128) + i % 32] |= (uint8_t)((code[i] & 3) << i % 128 / 32 * 2);
    }
}

/* ---- Q4_K and Q5_K ----------------------------------------------------------------------------*/

static void read_q45_k(const uint8_t *b, float *scale, float *min)
{
    float d = vd_load_f16(b), dmin = vd_load_f16(b + 2);
    for (int s = 0; s < 8; s++) {
        uint8_t whole_scale, whole_min;
        vd_k_scale(b + 4, s, &whole_scale, &whole_min);
        scale[s] = d * (float)whole_scale;
        min[s] = dmin * (float)whole_min;
    }
}

static void put_low(uint8_t *qs, const uint8_t *code)
{
    for (int i = 0; i < SUPER; i += 64)
        for (int j = 0; j < 32; j++)
            qs[i / 2 + j] = (uint8_t)((code[i + j] & 15) | (code[i + 32 + j] & 15) << 4);
}

static void put_q4_k(uint8_t *b, const uint8_t *code)
{
    put_low(b + 16, code);
}

static void put_q5_k(uint8_t *b, const uint8_t *code)
{
    memset(b + 16, 0, 32);
    for (int i = 0; i < SUPER; i++)
        b[16 + i % 32] |= (uint8_t)(code[i] >> 4 << i / 32);
    put_low(b + 48, code);
}

/* ---- Q6_K -------------------------------------------------------------------------------------*/

static void read_q6_k(const uint8_t *b, float *scale, float *min)
{
    float d = vd_load_f16(b + 208);
    for (int s = 0; s < 16; s++)
        scale[s] = d * (float)(int8_t)b[192 + s];
}

static void put_q6_k(uint8_t *b, const uint8_t *code)
{
    memset(b, 0, 192);
    for (int i = 0; i < SUPER; i++) {
        int half = i / 128, k = i % 128 / 32, j = i % 32;
        b[64 * half + 32 * (k % 2) + j] |= (uint8_t)((code[i] & 15) << 4 * (k / 2));
        b[128 + 32 * half + j] |= (uint8_t)(code[i] >> 4 << 2 * k);
    }
}

const vd_grid vd_grid_q2_k = {.bytes = 84, .block = SUPER, .sub = 16, .n_codes = 4,
                              .read = read_q2_k, .put = put_q2_k};
const vd_grid vd_grid_q3_k = {.bytes = 110, .block = SUPER, .sub = 16, .n_codes = 8, .first = -4,
                              .read = read_q3_k, .put = put_q3_k};
const vd_grid vd_grid_q4_k = {.bytes = 144, .block = SUPER, .sub = 32, .n_codes = 16,
                              .read = read_q45_k, .put = put_q4_k};
const vd_grid vd_grid_q5_k = {.bytes = 176, .block = SUPER, .sub = 32, .n_codes = 32,
                              .read = read_q45_k, .put = put_q5_k};
const vd_grid vd_grid_q6_k = {.bytes = 210, .block = SUPER, .sub = 16, .n_codes = 64,
                              .first = -32, .read = read_q6_k, .put = put_q6_k};
