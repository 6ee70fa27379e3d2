/*
 * linear_packed.c - the product on packed weights, one value at a time: whole numbers within a
 * block, doubles between blocks. What the fast versions are held against.
 */
#include <string.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "kernels/ref/decode.h"
#include "kernels/ref/ref.h"

/* q of column c (0..31) of row r in a block. */
static int q_at(int layout, const uint8_t *q, size_t r, size_t c)
{
    size_t quad = c / 4, at = 4 * r + c % 4;
    int bits = vd_layout_bits(layout), upper = 0;
    if (bits == 8)
        return q[64 * quad + at];
    int byte = q[64 * (quad % 4) + at];
    if (bits == 5)
        upper = q[256 + at] >> quad & 1;
    else if (bits == 6)
        upper = q[256 + 64 * (quad / 4) + at] >> quad % 4 * 2 & 3;
    int value = upper << 4 | (c < 16 ? byte & 15 : byte >> 4);
    const int8_t *table = vd_layout_table(layout);
    return table != NULL ? table[value] + vd_layout_infos[layout].offset : value;
}

/* What a block of floats adds to row r. */
static double float_dot(int layout, const uint8_t *q, size_t r, const float *x)
{
    double total = 0;
    for (size_t c = 0; c < VD_BLOCK; c++) {
        uint16_t bits = vd_load_u16(q + 64 * (c / 2) + 4 * r + c % 2 * 2);
        float w = layout == VD_LAYOUT_F16 ? vd_f16_to_f32(bits) : vd_bf16_to_f32(bits);
        total += (double)w * (double)x[c];
    }
    return total;
}

/* What a block adds to row r: its activations begin at `at`, with their scale and sum. */
static double block_dot(int layout, const uint8_t *q, const uint8_t *s, const uint8_t *t, size_t r,
                        const vd_act *act, size_t at, double scale, double sum)
{
    int dot[2] = {0, 0};
    for (size_t c = 0; c < VD_BLOCK; c++) {
        int x = act->q_low != NULL ? 256 * act->q[at + c] + act->q_low[at + c] : act->q[at + c];
        dot[c / 16] += (q_at(layout, q, r, c) - vd_layout_infos[layout].offset) * x;
    }

    double both = (double)dot[0] + dot[1];
    switch (layout) {
    case VD_LAYOUT_Q4:
    case VD_LAYOUT_Q5:
    case VD_LAYOUT_T4:
    case VD_LAYOUT_F4:
    case VD_LAYOUT_Q8:
        return (double)vd_load_f16(s + 2 * r) * scale * both;
    case VD_LAYOUT_Q4M:
    case VD_LAYOUT_Q5M:
        return (double)vd_load_f16(s + 2 * r) * scale * both +
               (double)vd_load_f16(s + 32 + 2 * r) * sum;
    case VD_LAYOUT_Q4K:
    case VD_LAYOUT_Q5K:
        return (double)vd_load_f16(t + 2 * r) * s[r] * scale * both -
               (double)vd_load_f16(t + 32 + 2 * r) * s[16 + r] * sum;
    case VD_LAYOUT_Q4H: {
        const int32_t *neg_sum = act->neg_sum + at / 16;
        double d = (double)vd_load_f16(t + 2 * r), dmin = (double)vd_load_f16(t + 32 + 2 * r);
        double total = 0;
        for (size_t h = 0; h < 2; h++)
            total += d * s[16 * h + r] * dot[h] + dmin * s[32 + 16 * h + r] * neg_sum[h];
        return scale * total;
    }
    case VD_LAYOUT_Q3H:
    case VD_LAYOUT_T4H:
    case VD_LAYOUT_Q8H: {
        float d;
        memcpy(&d, t + 4 * r, sizeof d);
        return (double)d * scale *
               ((int8_t)s[r] * (double)dot[0] + (int8_t)s[16 + r] * (double)dot[1]);
    }
    default: /* VD_LAYOUT_Q6K */
        return (double)vd_load_f16(t + 2 * r) * scale *
               ((int8_t)s[r] * (double)dot[0] + (int8_t)s[16 + r] * (double)dot[1]);
    }
}

void vd_ref_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                          const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    const vd_layout_info *info = &vd_layout_infos[layout];
    size_t stride = vd_layout_stride(layout, n_cols);
    size_t n_blocks = n_cols / VD_BLOCK;

    for (size_t n = begin; n < end; n++) {
        const uint8_t *group = (const uint8_t *)packed + n / VD_GROUP * stride;
        for (size_t t = 0; t < act->n_rows; t++) {
            double total = 0;
            for (size_t b = 0; b < n_blocks && vd_layout_is_float(layout); b++)
                total += float_dot(layout, group + vd_layout_q_at(info, b), n % VD_GROUP,
                                   act->x + t * act->ld_x + b * VD_BLOCK);
            for (size_t b = 0; b < n_blocks && !vd_layout_is_float(layout); b++)
                total += block_dot(layout, group + vd_layout_q_at(info, b),
                                   group + vd_layout_s_at(info, b),
                                   group + vd_layout_t_at(info, b), n % VD_GROUP,
                                   act, t * n_cols + b * VD_BLOCK,
                                   (double)act->scale[t * n_blocks + b],
                                   (double)act->sum[t * n_blocks + b]);
            y[t * ld_y + n] = (float)total;
        }
    }
}
