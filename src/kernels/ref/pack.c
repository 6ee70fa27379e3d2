/*
 * pack.c - file rows to the packed layouts of layout.h. Runs once per weight, when it is loaded.
 */
#include <math.h>
#include <string.h>

#include "kernels/layout.h"
#include "kernels/ref/decode.h"
#include "kernels/ref/units.h"

/* The q of block b (32 columns) of a file row, unsigned as the layout wants them. */
static void read_q(vd_dtype dtype, const uint8_t *row, size_t b, uint8_t q[VD_BLOCK])
{
    const vd_dtype_info *info = vd_dtype_get(dtype);
    const uint8_t *src = row + b * VD_BLOCK / info->block * info->bytes;
    unsigned s = (unsigned)(b % 8); /* the sub-block of a K-quant */

    switch (dtype) {
    case VD_DTYPE_Q4_0:
    case VD_DTYPE_Q4_1:
        src += dtype == VD_DTYPE_Q4_0 ? 2 : 4;
        for (int j = 0; j < 16; j++) {
            q[j] = src[j] & 15;
            q[j + 16] = src[j] >> 4;
        }
        break;
    case VD_DTYPE_Q5_0:
    case VD_DTYPE_Q5_1: {
        src += dtype == VD_DTYPE_Q5_0 ? 2 : 4;
        uint32_t qh = vd_load_u32(src);
        for (int j = 0; j < 16; j++) {
            q[j] = (uint8_t)((src[4 + j] & 15) + (int)(qh >> j & 1) * 16);
            q[j + 16] = (uint8_t)((src[4 + j] >> 4) + (int)(qh >> (j + 16) & 1) * 16);
        }
        break;
    }
    case VD_DTYPE_Q8_0:
        for (int j = 0; j < 32; j++)
            q[j] = src[2 + j] ^ 0x80; /* int8 + 128 */
        break;
    case VD_DTYPE_Q2_K:
        for (int j = 0; j < 32; j++)
            q[j] = src[16 + 32 * (s / 4) + j] >> 2 * (s % 4) & 3;
        break;
    case VD_DTYPE_Q4_K:
        for (int j = 0; j < 32; j++)
            q[j] = src[16 + 32 * (s / 2) + j] >> 4 * (s % 2) & 15;
        break;
    case VD_DTYPE_Q5_K:
        for (int j = 0; j < 32; j++)
            q[j] = (uint8_t)((src[48 + 32 * (s / 2) + j] >> 4 * (s % 2) & 15) |
                             (src[16 + j] >> s & 1) << 4);
        break;
    case VD_DTYPE_Q6_K: {
        unsigned half = s / 4, k = s % 4;
        for (int j = 0; j < 32; j++)
            q[j] = (uint8_t)((src[64 * half + 32 * (k % 2) + j] >> 4 * (k / 2) & 15) |
                             (src[128 + 32 * half + j] >> 2 * k & 3) << 4);
        break;
    }
    default:
        break;
    }
}

/* What stands once per 32 and once per 256 columns; r is the row within its group. */
static void write_scales(int layout, vd_dtype dtype, const uint8_t *row, size_t b, size_t r,
                         uint8_t *s, uint8_t *t)
{
    const vd_dtype_info *info = vd_dtype_get(dtype);
    const uint8_t *src = row + b * VD_BLOCK / info->block * info->bytes;
    const uint8_t *d = src + (layout == VD_LAYOUT_Q6K ? 208 : layout == VD_LAYOUT_Q4H ? 80 : 0);

    if (vd_layout_infos[layout].t_bytes == 0) {
        memcpy(s + 2 * r, d, 2);
        if (layout == VD_LAYOUT_Q4M || layout == VD_LAYOUT_Q5M)
            memcpy(s + 32 + 2 * r, d + 2, 2);
        return;
    }
    memcpy(t + 2 * r, d, 2);
    if (layout == VD_LAYOUT_Q6K) {
        s[r] = src[192 + 2 * (b % 8)];
        s[16 + r] = src[192 + 2 * (b % 8) + 1];
        return;
    }
    memcpy(t + 32 + 2 * r, d + 2, 2);
    if (layout == VD_LAYOUT_Q4H) {
        for (size_t h = 0; h < 2; h++) {
            s[16 * h + r] = src[2 * (b % 8) + h] & 15;
            s[32 + 16 * h + r] = src[2 * (b % 8) + h] >> 4;
        }
        return;
    }
    vd_k_scale(src + 4, (int)(b % 8), &s[r], &s[16 + r]);
}

/* Into memory that was zeroed. */
static void write_q(int layout, const uint8_t q[VD_BLOCK], size_t r, uint8_t *dst)
{
    int bits = vd_layout_bits(layout);
    if (bits == 8) {
        for (int quad = 0; quad < 8; quad++)
            memcpy(dst + 64 * quad + 4 * r, q + 4 * quad, 4);
        return;
    }
    for (int v = 0; v < 4; v++)
        for (int i = 0; i < 4; i++)
            dst[64 * v + 4 * (int)r + i] =
                (uint8_t)((q[4 * v + i] & 15) | q[16 + 4 * v + i] << 4);
    for (int c = 0; bits > 4 && c < VD_BLOCK; c++) {
        int quad = c / 4, at = 256 + 4 * (int)r + c % 4, upper = q[c] >> 4;
        if (bits == 5)
            dst[at] |= (uint8_t)(upper << quad);
        else
            dst[at + quad / 4 * 64] |= (uint8_t)(upper << quad % 4 * 2);
    }
}

/* The scales of a unit; false where d has to be an f16 and is none. */
static bool write_unit(int layout, const vd_unit *unit, size_t r, uint8_t *s, uint8_t *t)
{
    if (layout == VD_LAYOUT_Q8H || layout == VD_LAYOUT_Q3H || layout == VD_LAYOUT_T4H) {
        s[r] = (uint8_t)unit->s[0];
        s[16 + r] = (uint8_t)unit->s[1];
        memcpy(t + 4 * r, &unit->d, sizeof unit->d);
        return true;
    }
    uint16_t half = vd_f32_to_f16(unit->d);
    memcpy(s + 2 * r, &half, sizeof half);
    float back = vd_f16_to_f32(half);
    return back == unit->d || isnan(unit->d);
}

/* Values plus `offset` to their places in the table. False where it does not hold one; a block
 * without a unit is of zeros, for which any place does. */
static bool find_places(const int8_t table[16], int offset, uint8_t q[VD_BLOCK])
{
    for (size_t j = 0; j < VD_BLOCK; j++) {
        uint8_t place = 0;
        while (place < 16 && table[place] + offset != q[j])
            place++;
        if (place == 16 && q[j] != offset)
            return false;
        q[j] = place & 15;
    }
    return true;
}

/* A row of a type that units.h counts. r is the row within `group`. */
static bool pack_counted(int layout, vd_dtype dtype, const uint8_t *row, size_t n_cols, size_t r,
                         uint8_t *group)
{
    const vd_layout_info *info = &vd_layout_infos[layout];
    const vd_dtype_info *type = vd_dtype_get(dtype);
    size_t per_block = type->block / VD_BLOCK;
    float values[VD_SUPER]; /* of the block that b lies in */
    const int8_t *table = vd_layout_table(layout);
    bool ok = true;

    for (size_t b = 0; b < n_cols / VD_BLOCK; b++) {
        uint8_t q[VD_BLOCK];
        vd_unit unit;
        const uint8_t *block = row + b / per_block * type->bytes;
        if (b % per_block == 0)
            vd_dtype_decode(dtype, block, values, type->block);
        if (!vd_unit_read(dtype, block, (unsigned)(b % per_block), &unit))
            return false;
        vd_unit_count(&unit, values + b % per_block * VD_BLOCK, info->offset, q);
        if (table != NULL)
            ok &= find_places(table, info->offset, q);
        write_q(layout, q, r, group + vd_layout_q_at(info, b));
        ok &= write_unit(layout, &unit, r, group + vd_layout_s_at(info, b),
                         group + vd_layout_t_at(info, b));
    }
    return ok;
}

static void pack_row(int layout, vd_dtype dtype, const uint8_t *row, size_t n_cols, size_t r,
                     uint8_t *group)
{
    const vd_layout_info *info = &vd_layout_infos[layout];
    for (size_t b = 0; b < n_cols / VD_BLOCK; b++) {
        uint8_t q[VD_BLOCK] = {0};
        read_q(dtype, row, b, q);
        write_q(layout, q, r, group + vd_layout_q_at(info, b));
        write_scales(layout, dtype, row, b, r, group + vd_layout_s_at(info, b),
                     group + vd_layout_t_at(info, b));
    }
}

/* Floats of 16 bits: only their order changes. */
static void pack_halves(const uint8_t *rows, size_t row_bytes, size_t n_rows, size_t n_cols,
                        size_t stride, uint8_t *packed)
{
    for (size_t n = 0; n < n_rows; n += VD_GROUP) {
        uint8_t *group = packed + n / VD_GROUP * stride;
        size_t n_here = n_rows - n < VD_GROUP ? n_rows - n : VD_GROUP;
        if (n_here < VD_GROUP || n_cols / VD_BLOCK % 2 != 0)
            memset(group, 0, stride);
        for (size_t b = 0; b < n_cols; b += VD_BLOCK)
            for (size_t r = 0; r < n_here; r++) {
                const uint8_t *src = rows + (n + r) * row_bytes + 2 * b;
                uint8_t *dst = group + 32 * b + 4 * r;
                for (size_t pair = 0; pair < VD_BLOCK / 2; pair++)
                    memcpy(dst + 64 * pair, src + 4 * pair, 4);
            }
    }
}

bool vd_layout_pack(int layout, vd_dtype dtype, const void *rows, size_t n_rows, size_t n_cols,
                    void *packed)
{
    size_t stride = vd_layout_stride(layout, n_cols), row_bytes = 0;
    vd_unit unit;
    bool ok = true;

    if (!vd_dtype_row_bytes(dtype, n_cols, &row_bytes))
        return false;
    if (vd_layout_is_float(layout)) {
        pack_halves(rows, row_bytes, n_rows, n_cols, stride, packed);
        return true;
    }
    memset(packed, 0, vd_layout_bytes(layout, n_rows, n_cols));
    bool counted = n_rows != 0 && n_cols != 0 && vd_unit_read(dtype, rows, 0, &unit);
    for (size_t n = 0; n < n_rows && ok; n++) {
        const uint8_t *row = (const uint8_t *)rows + n * row_bytes;
        uint8_t *group = (uint8_t *)packed + n / VD_GROUP * stride;
        if (counted)
            ok = pack_counted(layout, dtype, row, n_cols, n % VD_GROUP, group);
        else
            pack_row(layout, dtype, row, n_cols, n % VD_GROUP, group);
    }
    return ok;
}
