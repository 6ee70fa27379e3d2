/* sparse_stored.c - the packed form of sparse weights as a file has it: checked, cut to some of its
 * row groups, and turned back to rows of Q8_0. See sparse.h. */
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "kernels/ref/decode.h"
#include "kernels/slab.h"
#include "kernels/sparse.h"

enum { ALIGN = 64, ZERO = 128 };

static size_t n_groups_of(size_t n_rows)
{
    return (n_rows + VD_GROUP - 1) / VD_GROUP;
}

static size_t index_bytes(size_t n_groups)
{
    return ((n_groups + 1) * sizeof(uint32_t) + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t begin_of(const uint8_t *stored, size_t g)
{
    return (size_t)vd_load_u32(stored + g * sizeof(uint32_t)) * ALIGN;
}

static uint64_t load_mask(const uint8_t *block, size_t v)
{
    uint64_t mask;
    memcpy(&mask, block + 8 * v, sizeof mask);
    return mask;
}

static bool scales_are_finite(const uint8_t *block)
{
    bool finite = true;
    for (size_t r = 0; r < VD_GROUP; r++)
        finite &= (vd_load_u16(block + 8 * VD_SPARSE_QUADS + 2 * r) & 0x7c00) != 0x7c00;
    return finite;
}

/* The blocks of group g, which lie between `at` and `limit`; *ret_end is where they end. */
static vd_status check_group(const uint8_t *stored, size_t g, size_t n_blocks, size_t at,
                             size_t limit, size_t *ret_end, vd_err *err)
{
    for (size_t b = 0; b < n_blocks; b++) {
        size_t n_values = 0;
        if (limit - at < VD_SPARSE_HEAD)
            return VD_FAIL(err, VD_ERR_FORMAT, "rows %zu to %zu end in the middle of block %zu",
                           g * VD_GROUP, g * VD_GROUP + VD_GROUP - 1, b);
        for (size_t v = 0; v < VD_SPARSE_QUADS; v++)
            n_values += (size_t)__builtin_popcountll(load_mask(stored + at, v));
        if (limit - at - VD_SPARSE_HEAD < n_values)
            return VD_FAIL(err, VD_ERR_FORMAT, "rows %zu to %zu end in the middle of block %zu, "
                           "whose masks name %zu values", g * VD_GROUP,
                           g * VD_GROUP + VD_GROUP - 1, b, n_values);
        if (!scales_are_finite(stored + at))
            return VD_FAIL(err, VD_ERR_FORMAT, "rows %zu to %zu, block %zu: a scale is not finite",
                           g * VD_GROUP, g * VD_GROUP + VD_GROUP - 1, b);
        at += VD_SPARSE_HEAD + n_values;
    }
    *ret_end = at;
    return VD_OK;
}

vd_status vd_sparse_check(const void *stored, size_t n_bytes, size_t n_rows, size_t n_cols,
                          size_t first_row, size_t n_checked, vd_err *err)
{
    const uint8_t *base = stored;
    size_t n_groups = n_groups_of(n_rows), n_blocks = n_cols / VD_BLOCK, least, blocks;
    if (n_cols == 0 || n_cols % VD_BLOCK != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "rows of %zu values, a multiple of %d is demanded",
                       n_cols, VD_BLOCK);
    if (n_rows > SIZE_MAX / 8 || !vd_mul_size(n_groups, n_blocks, &blocks) ||
        !vd_mul_size(blocks, VD_SPARSE_HEAD, &least) ||
        !vd_add_size(least, index_bytes(n_groups) + ALIGN, &least) || n_bytes < least)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%zu sparse rows of %zu values do not fit into its %zu bytes", n_rows,
                       n_cols, n_bytes);
    if (begin_of(base, 0) != index_bytes(n_groups) ||
        begin_of(base, n_groups) != n_bytes - ALIGN)
        return VD_FAIL(err, VD_ERR_FORMAT, "the index of its rows spans bytes %zu to %zu, %zu to "
                       "%zu are there", begin_of(base, 0), begin_of(base, n_groups),
                       index_bytes(n_groups), n_bytes - ALIGN);
    for (size_t g = first_row / VD_GROUP; g < n_groups_of(first_row + n_checked); g++) {
        size_t begin = begin_of(base, g), end = begin_of(base, g + 1), at = 0;
        if (begin < index_bytes(n_groups) || begin > end || end > n_bytes - ALIGN)
            return VD_FAIL(err, VD_ERR_FORMAT, "the index has rows %zu to %zu from byte %zu to %zu",
                           g * VD_GROUP, g * VD_GROUP + VD_GROUP - 1, begin, end);
        vd_status st = check_group(base, g, n_blocks, begin, end, &at, err);
        if (st != VD_OK)
            return st;
        if ((at + ALIGN - 1) / ALIGN * ALIGN != end)
            return VD_FAIL(err, VD_ERR_FORMAT, "rows %zu to %zu end at byte %zu by their masks, at "
                           "%zu by the index", g * VD_GROUP, g * VD_GROUP + VD_GROUP - 1, at, end);
    }
    return VD_OK;
}

vd_status vd_weight_prepare_sparse(const void *stored, size_t n_cols, size_t first_row,
                                   size_t n_rows, vd_weight *ret_weight, vd_err *err)
{
    const uint8_t *base = stored;
    size_t first = first_row / VD_GROUP, n_groups = n_groups_of(n_rows);
    size_t begin = begin_of(base, first), n_streams = begin_of(base, first + n_groups) - begin;
    vd_weight weight = {.dtype = VD_DTYPE_Q8_0, .n_rows = n_rows, .n_cols = n_cols,
                        .layout = VD_LAYOUT_SPARSE,
                        .packed_bytes = index_bytes(n_groups) + n_streams + ALIGN};
    weight.packed = vd_slab_take(weight.packed_bytes, &weight.slab);
    if (weight.packed == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu bytes of sparse weights",
                       weight.packed_bytes);
    uint32_t *index = weight.packed;
    for (size_t g = 0; g <= n_groups; g++)
        index[g] = (uint32_t)((begin_of(base, first + g) - begin + index_bytes(n_groups)) / ALIGN);
    uint8_t *streams = (uint8_t *)weight.packed + index_bytes(n_groups);
    memcpy(streams, base + begin, n_streams);
    memset(streams + n_streams, 0, ALIGN);
    *ret_weight = weight;
    return VD_OK;
}

/* A block of n_rows rows that lie row_bytes apart. Returns where the next one begins. */
static const uint8_t *read_block(const uint8_t *block, size_t row_bytes, size_t n_rows,
                                 uint8_t *dst)
{
    const uint8_t *value = block + VD_SPARSE_HEAD;
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(dst + r * row_bytes, block + 8 * VD_SPARSE_QUADS + 2 * r, 2);
        memset(dst + r * row_bytes + 2, 0, VD_BLOCK);
    }
    for (size_t v = 0; v < VD_SPARSE_QUADS; v++)
        for (uint64_t mask = load_mask(block, v); mask != 0; mask &= mask - 1, value++) {
            size_t at = (size_t)__builtin_ctzll(mask), r = at / 4;
            if (r < n_rows)
                dst[r * row_bytes + 2 + 4 * v + at % 4] = *value ^ ZERO;
        }
    return value;
}

void vd_sparse_to_rows(const void *stored, size_t n_rows, size_t n_cols, void *rows)
{
    size_t block_bytes = vd_dtype_get(VD_DTYPE_Q8_0)->bytes;
    size_t row_bytes = n_cols / VD_BLOCK * block_bytes;
    for (size_t n = 0; n < n_rows; n += VD_GROUP) {
        const uint8_t *block = (const uint8_t *)stored + begin_of(stored, n / VD_GROUP);
        uint8_t *dst = (uint8_t *)rows + n * row_bytes;
        for (size_t b = 0; b < n_cols / VD_BLOCK; b++)
            block = read_block(block, row_bytes, VD_MIN(n_rows - n, (size_t)VD_GROUP),
                               dst + b * block_bytes);
    }
}
