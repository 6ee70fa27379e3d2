/* units.c - see units.h. How a block is laid out stands in the decode_*.c of its type. */
#include "kernels/ref/units.h"

#include <math.h>

#include "kernels/ref/decode.h"

/* The two scales of 4 bits in a byte, the lower first, as 2 S + 1. */
static void odd_of_halves(uint8_t both, vd_unit *unit)
{
    unit->s[0] = (int8_t)(2 * (both & 15) + 1);
    unit->s[1] = (int8_t)(2 * (both >> 4) + 1);
}

static void same(int s, vd_unit *unit)
{
    unit->s[0] = unit->s[1] = (int8_t)s;
}

static void iq1_m(const uint8_t *block, unsigned sub, vd_unit *unit)
{
    unsigned bits = 0, scales = vd_load_u16(block + 48 + 2 * (sub / 2)) >> sub % 2 * 6;
    for (int i = 0; i < 4; i++)
        bits |= (unsigned)(vd_load_u16(block + 48 + 2 * i) >> 12) << 4 * i;
    unit->d = vd_f16_to_f32((uint16_t)bits) * 0.125f;
    unit->s[0] = (int8_t)(2 * (scales & 7) + 1);
    unit->s[1] = (int8_t)(2 * (scales >> 3 & 7) + 1);
}

bool vd_unit_read(vd_dtype dtype, const uint8_t *block, unsigned sub, vd_unit *ret_unit)
{
    vd_unit unit = {.s = {1, 1}};
    switch (dtype) {
    case VD_DTYPE_IQ4_NL:
    case VD_DTYPE_Q1_0:
    case VD_DTYPE_Q2_0:
        unit.d = vd_load_f16(block);
        break;
    case VD_DTYPE_MXFP4:
        unit.d = vd_mxfp4_scale(block[0]);
        break;
    case VD_DTYPE_TQ1_0:
        unit.d = vd_load_f16(block + 52);
        break;
    case VD_DTYPE_TQ2_0:
        unit.d = vd_load_f16(block + 64);
        break;
    case VD_DTYPE_Q3_K:
        unit.d = vd_load_f16(block + 108);
        for (int h = 0; h < 2; h++)
            unit.s[h] = (int8_t)(vd_q3_k_scale(block + 96, 2 * (int)sub + h) - 32);
        break;
    case VD_DTYPE_IQ4_XS:
        unit.d = vd_load_f16(block);
        same(vd_iq4_xs_scale(block, (int)sub) - 32, &unit);
        break;
    case VD_DTYPE_IQ2_XXS:
        unit.d = vd_load_f16(block) * 0.125f;
        same((int)(2 * (vd_load_u32(block + 6 + 8 * sub) >> 28) + 1), &unit);
        break;
    case VD_DTYPE_IQ2_XS:
    case VD_DTYPE_IQ2_S:
        unit.d = vd_load_f16(block) * 0.125f;
        odd_of_halves(block[(dtype == VD_DTYPE_IQ2_XS ? 66 : 74) + sub], &unit);
        break;
    case VD_DTYPE_IQ3_XXS:
        unit.d = vd_load_f16(block) * 0.25f;
        same((int)(2 * (vd_load_u32(block + 66 + 4 * sub) >> 28) + 1), &unit);
        break;
    case VD_DTYPE_IQ3_S:
        unit.d = vd_load_f16(block);
        same(2 * (block[106 + sub / 2] >> sub % 2 * 4 & 15) + 1, &unit);
        break;
    case VD_DTYPE_IQ1_S:
        unit.d = vd_load_f16(block) * 0.125f;
        same(2 * (vd_load_u16(block + 34 + 2 * sub) >> 12 & 7) + 1, &unit);
        break;
    case VD_DTYPE_IQ1_M:
        iq1_m(block, sub, &unit);
        break;
    default:
        return false;
    }
    *ret_unit = unit;
    return true;
}

void vd_unit_count(const vd_unit *unit, const float values[32], int offset, uint8_t ret_q[32])
{
    for (int j = 0; j < 32; j++) {
        float size = unit->d * (float)unit->s[j / 16];
        long q = size != 0 && isfinite(size) ? lrintf(values[j] / size) : 0;
        ret_q[j] = (uint8_t)(offset + q);
    }
}
