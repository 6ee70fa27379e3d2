/* sparse.c - see sparse.h: sizes, packing, and products by way of the dense form. */
#include "kernels/sparse.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/ref/decode.h"

enum { ALIGN = 64 };
/* Bytes of dense row groups that are made at a time: with the activations they stay in L2. */
enum { DENSE_BYTES = 384 << 10, FEW_TOKENS = 4 };

bool vd_sparse_can(vd_dtype dtype, size_t n_cols)
{
    return dtype == VD_DTYPE_Q8_0 && n_cols != 0 && n_cols % VD_BLOCK == 0;
}

/* Bytes that are not zero, eight at a time. */
static size_t count_block(const uint8_t *q)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu, ones = 0x0101010101010101u;
    uint64_t some = 0;
    for (size_t i = 0; i < VD_BLOCK; i += 8) {
        uint64_t x;
        memcpy(&x, q + i, sizeof x);
        some += (((x & low) + low) | x) >> 7 & ones;
    }
    return (size_t)(some * ones >> 56);
}

static size_t index_bytes(size_t n_groups)
{
    return ((n_groups + 1) * sizeof(uint32_t) + ALIGN - 1) / ALIGN * ALIGN;
}

size_t vd_sparse_bytes(vd_dtype dtype, const void *rows, size_t n_rows, size_t n_cols)
{
    const vd_dtype_info *info = vd_dtype_get(dtype);
    size_t n_blocks = n_cols / VD_BLOCK, n_groups = (n_rows + VD_GROUP - 1) / VD_GROUP, most;
    const uint8_t *block = rows;
    /* No more than 2 bytes a weight, index and padding included. */
    if (!vd_mul_size(n_groups * VD_GROUP, n_cols, &most) || !vd_mul_size(most, 2, &most) ||
        most / ALIGN > UINT32_MAX)
        return SIZE_MAX;
    size_t total = index_bytes(n_groups) + ALIGN;
    for (size_t g = 0; g < n_groups; g++) {
        size_t n_here = VD_MIN(n_rows - g * VD_GROUP, (size_t)VD_GROUP);
        size_t bytes = n_blocks * VD_SPARSE_HEAD;
        for (size_t i = 0; i < n_here * n_blocks; i++, block += info->bytes)
            bytes += count_block(block + 2);
        total += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    return total;
}

size_t vd_sparse_bytes_at(float keep, size_t n_rows, size_t n_cols)
{
    size_t n_groups = (n_rows + VD_GROUP - 1) / VD_GROUP;
    double bits = 1 + 16.0 / VD_BLOCK + 8.0 * (double)keep;
    double bytes = (double)(n_groups * VD_GROUP) * (double)n_cols / 8 * bits;
    return bytes < (double)(SIZE_MAX / 2) ? (size_t)bytes : SIZE_MAX;
}

void vd_sparse_pack(const vd_kernels *k, vd_dtype dtype, const void *rows, size_t n_rows,
                    size_t n_cols, void *packed)
{
    size_t n_blocks = n_cols / VD_BLOCK, n_groups = (n_rows + VD_GROUP - 1) / VD_GROUP;
    size_t block_bytes = vd_dtype_get(dtype)->bytes, row_bytes = n_blocks * block_bytes;
    uint8_t *begin = packed, *out = begin + index_bytes(n_groups);
    uint32_t *index = packed;

    memset(index, 0, index_bytes(n_groups)); /* what pads it goes to files */
    for (size_t g = 0; g < n_groups; g++) {
        const uint8_t *src = (const uint8_t *)rows + g * VD_GROUP * row_bytes;
        size_t n_here = VD_MIN(n_rows - g * VD_GROUP, (size_t)VD_GROUP);
        index[g] = (uint32_t)((size_t)(out - begin) / ALIGN);
        for (size_t b = 0; b < n_blocks; b++)
            out = k->sparse_pack(src + b * block_bytes, row_bytes, n_here, out);
        size_t rest = (ALIGN - (size_t)(out - begin) % ALIGN) % ALIGN;
        memset(out, 0, rest);
        out += rest;
    }
    index[n_groups] = (uint32_t)((size_t)(out - begin) / ALIGN);
    memset(out, 0, ALIGN);
}

/* Row groups of the dense form that are made at a time: an even number, for panels take two. Many
 * tokens prepare themselves anew for each time; few are quicker where the groups are still near. */
static size_t groups_at_a_time(size_t n_cols, size_t n_tokens)
{
    if (n_tokens <= FEW_TOKENS)
        return 2;
    size_t n = DENSE_BYTES / VD_MAX(vd_sparse_dense_bytes(n_cols), (size_t)1) / 2 * 2;
    return VD_MIN(VD_MAX(n, (size_t)2), (size_t)64);
}

size_t vd_sparse_scratch_bytes(size_t max_cols)
{
    size_t cols, bytes;
    /* Narrower weights may take more than one of max_cols does, but never more than DENSE_BYTES. */
    if (!vd_align_size(max_cols, 2 * VD_BLOCK, &cols) || !vd_mul_size(cols, 2 * 34, &bytes))
        return SIZE_MAX;
    return VD_MAX(bytes, (size_t)DENSE_BYTES);
}

void vd_sparse_linear(const vd_kernels *k, const vd_weight *weight, const vd_act *act, float *y,
                      size_t ld_y, size_t begin, size_t end, void *scratch, float *dense_scratch)
{
    size_t n_cols = weight->n_cols, stride = vd_sparse_dense_bytes(n_cols);
    size_t step = groups_at_a_time(n_cols, act->n_rows) * VD_GROUP;
    for (size_t n = begin; n < end; n += step) {
        size_t n_rows = VD_MIN(end - n, step);
        vd_weight dense = *weight;
        dense.layout = VD_LAYOUT_Q8;
        dense.packed = scratch;
        dense.n_rows = n_rows;
        for (size_t r = 0; r < n_rows; r += VD_GROUP)
            k->sparse_expand(vd_sparse_group(weight->packed, (n + r) / VD_GROUP), n_cols,
                             (uint8_t *)scratch + r / VD_GROUP * stride);
        if (weight->rows != NULL)
            dense.rows = (const uint8_t *)weight->rows + n * weight->row_bytes;
        dense.packed_bytes = (n_rows + VD_GROUP - 1) / VD_GROUP * stride;
        vd_linear(k, &dense, act, y + n, ld_y, 0, n_rows, dense_scratch);
    }
}
