/* linear.c - weights and activations made ready, and the product. See kernels.h. */
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "kernels/kernels.h"
#include "kernels/slab.h"

enum { ALIGN = 64, BLOCK = 32 };

vd_status vd_weight_prepare(const vd_kernels *k, vd_precision precision, vd_dtype dtype,
                            size_t n_rows, size_t n_cols, const void *rows,
                            vd_weight *ret_weight, vd_err *err)
{
    vd_weight weight = {.dtype = dtype, .n_rows = n_rows, .n_cols = n_cols, .rows = rows};
    size_t file_bytes;

    if (!vd_dtype_decodable(dtype))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "cannot compute with weights of type %s (%u)",
                       vd_dtype_name(dtype), (unsigned)dtype);
    if (!vd_dtype_row_bytes(dtype, n_cols, &weight.row_bytes) ||
        !vd_mul_size(weight.row_bytes, n_rows, &file_bytes))
        return VD_FAIL(err, VD_ERR_ARG, "%zu rows of %zu columns are no shape for %s, whose rows "
                       "are multiples of %u", n_rows, n_cols, vd_dtype_name(dtype),
                       (unsigned)vd_dtype_get(dtype)->block);

    if (precision == VD_PRECISION_FAST && file_bytes != 0)
        weight.layout = k->layout_for(dtype, n_rows, n_cols);
    if (weight.layout != 0) {
        weight.packed_bytes = k->packed_bytes(weight.layout, n_rows, n_cols);
        weight.packed = vd_slab_take(weight.packed_bytes, &weight.slab);
        if (weight.packed == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu bytes of packed %s weights",
                           weight.packed_bytes, vd_dtype_name(dtype));
        if (!k->pack(weight.layout, dtype, rows, n_rows, n_cols, weight.packed)) {
            vd_slab_release(weight.packed, weight.slab);
            weight.packed = NULL; /* computed from its rows */
            weight.slab = NULL;
            weight.packed_bytes = 0;
            weight.layout = 0;
        }
    }
    *ret_weight = weight;
    return VD_OK;
}

void vd_weight_done(vd_weight *weight)
{
    if (weight == NULL)
        return;
    vd_slab_release(weight->packed, weight->slab);
    memset(weight, 0, sizeof *weight);
}

/* The arrays of a vd_act lie one after the other in its scratch, each aligned to 64: q, q_low,
 * scale, sum, neg_sum. */
typedef struct act_sizes {
    size_t q, scale, neg_sum; /* `q_low` is as large as `q`, `sum` as `scale` */
    size_t total;
} act_sizes;

static bool size_act(size_t n_rows, size_t n_cols, act_sizes *ret)
{
    act_sizes s;
    size_t n_scales;
    if (!vd_mul_size(n_rows, n_cols, &s.q) || !vd_align_size(s.q, ALIGN, &s.q) ||
        !vd_mul_size(n_rows, n_cols / BLOCK, &n_scales) ||
        !vd_mul_size(n_scales, sizeof(float), &s.scale) ||
        !vd_align_size(s.scale, ALIGN, &s.scale) || !vd_mul_size(s.scale, 2, &s.neg_sum) ||
        !vd_mul_size(s.q, 2, &s.total) || !vd_add_size(s.total, s.neg_sum, &s.total) ||
        !vd_add_size(s.total, s.neg_sum, &s.total)) /* scale and sum together are as large */
        return false;
    *ret = s;
    return true;
}

size_t vd_act_bytes(size_t max_rows, size_t max_cols)
{
    act_sizes s;
    /* No allocator can give SIZE_MAX bytes, so an overflow ends as VD_ERR_NOMEM at the caller. */
    return size_act(max_rows, max_cols, &s) ? s.total : SIZE_MAX;
}

void vd_act_bind(vd_act *act, void *scratch, const float *x, size_t n_rows, size_t n_cols,
                 size_t ld_x, bool wide)
{
    act_sizes s = {0};
    bool fits = size_act(n_rows, n_cols, &s);
    unsigned char *base = fits ? scratch : NULL;
    *act = (vd_act){.x = x, .n_rows = n_rows, .n_cols = n_cols, .ld_x = ld_x};
    if (base == NULL)
        return;
    act->q = (int8_t *)base;
    act->q_low = wide ? act->q + s.q : NULL;
    act->scale = (float *)(base + 2 * s.q);
    act->sum = (float *)(base + 2 * s.q + s.scale);
    act->neg_sum = (int32_t *)(base + 2 * s.q + 2 * s.scale);
}

void vd_act_quantize(const vd_kernels *k, vd_precision precision, const vd_act *act, size_t begin,
                     size_t end)
{
    /* No packed layout has rows that are no multiple of a block: nobody would read q. */
    if (precision != VD_PRECISION_FAST || act->n_cols % BLOCK != 0 || act->q == NULL)
        return;
    size_t n_blocks = act->n_cols / BLOCK;
    for (size_t t = begin; t < end; t++)
        k->quantize_row(act->x + t * act->ld_x, act->q + t * act->n_cols,
                        act->q_low != NULL ? act->q_low + t * act->n_cols : NULL,
                        act->scale + t * n_blocks, act->sum + t * n_blocks,
                        act->neg_sum + t * 2 * n_blocks, act->n_cols);
}

vd_act vd_act_rows(const vd_act *act, size_t begin, size_t end)
{
    size_t n_blocks = act->n_cols / BLOCK;
    vd_act rows = *act;
    rows.n_rows = end - begin;
    rows.x += begin * act->ld_x;
    if (act->q == NULL)
        return rows;
    rows.q += begin * act->n_cols;
    if (act->q_low != NULL)
        rows.q_low += begin * act->n_cols;
    rows.scale += begin * n_blocks;
    rows.sum += begin * n_blocks;
    rows.neg_sum += begin * 2 * n_blocks;
    return rows;
}

void vd_linear(const vd_kernels *k, const vd_weight *weight, const vd_act *act, float *y,
               size_t ld_y, size_t begin, size_t end, float *scratch)
{
    if (begin >= end)
        return;
    if (weight->layout != 0) {
        k->linear_packed(weight->layout, weight->packed, weight->n_rows, weight->n_cols, act, y,
                         ld_y, begin, end);
    } else if (act->n_rows == 1) {
        const unsigned char *rows = weight->rows;
        for (size_t n = begin; n < end; n++)
            y[n] = k->dot_row(weight->dtype, rows + n * weight->row_bytes, act->x, weight->n_cols,
                              scratch);
    } else {
        k->linear_rows(weight, act, y, ld_y, begin, end, scratch);
    }
}
