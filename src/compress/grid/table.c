/* table.c - grids whose levels a table holds: IQ4_NL, IQ4_XS, MXFP4. */
#include "compress/grid/families.h"
#include "kernels/ref/decode.h"

enum { SUB = 32 };

static void put_half(uint8_t *qs, const uint8_t *code)
{
    for (int j = 0; j < SUB / 2; j++)
        qs[j] = (uint8_t)(code[j] | code[j + SUB / 2] << 4);
}

static void read_iq4_nl(const uint8_t *b, float *scale, float *min)
{
    *scale = vd_load_f16(b);
}

static void put_iq4_nl(uint8_t *b, const uint8_t *code)
{
    put_half(b + 2, code);
}

static void read_iq4_xs(const uint8_t *b, float *scale, float *min)
{
    float d = vd_load_f16(b);
    for (int s = 0; s < 8; s++)
        scale[s] = d * (float)(vd_iq4_xs_scale(b, s) - 32);
}

static void put_iq4_xs(uint8_t *b, const uint8_t *code)
{
    for (int s = 0; s < 8; s++)
        put_half(b + 8 + SUB / 2 * s, code + SUB * s);
}

static void read_mxfp4(const uint8_t *b, float *scale, float *min)
{
    *scale = vd_mxfp4_scale(b[0]);
}

static void put_mxfp4(uint8_t *b, const uint8_t *code)
{
    put_half(b + 1, code);
}

const vd_grid vd_grid_iq4_nl = {.bytes = 18, .block = SUB, .sub = SUB, .n_codes = 16,
                                .level = vd_iq4_values, .read = read_iq4_nl, .put = put_iq4_nl};
const vd_grid vd_grid_iq4_xs = {.bytes = 136, .block = 256, .sub = SUB, .n_codes = 16,
                                .level = vd_iq4_values, .read = read_iq4_xs, .put = put_iq4_xs};
const vd_grid vd_grid_mxfp4 = {.bytes = 17, .block = SUB, .sub = SUB, .n_codes = 16,
                               .level = vd_fp4_values, .read = read_mxfp4, .put = put_mxfp4};
