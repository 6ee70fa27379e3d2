/* linear.c - weights and activations made ready, and the product. See kernels.h. */
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "kernels/layout.h"
#include "kernels/slab.h"
#include "kernels/sparse.h"

enum { ALIGN = 64, BLOCK = 32 };

/* The packed layout for these rows, and its bytes; 0 for none. */
static int choose_layout(const vd_kernels *k, vd_dtype dtype, size_t n_rows, size_t n_cols,
                         const void *rows, size_t *ret_bytes)
{
    int layout = k->layout_for(dtype, n_rows, n_cols);
    if (layout == 0)
        return 0;
    *ret_bytes = k->packed_bytes(layout, n_rows, n_cols);
    if (k->sparse_keep > 0 && vd_sparse_can(dtype, n_cols)) {
        size_t sparse_bytes = vd_sparse_bytes(dtype, rows, n_rows, n_cols);
        if (sparse_bytes <= vd_sparse_bytes_at(k->sparse_keep, n_rows, n_cols)) {
            *ret_bytes = sparse_bytes;
            return VD_LAYOUT_SPARSE;
        }
    }
    return layout;
}

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
        weight.layout = choose_layout(k, dtype, n_rows, n_cols, rows, &weight.packed_bytes);
    if (weight.layout != 0) {
        weight.packed = vd_slab_take(weight.packed_bytes, &weight.slab);
        if (weight.packed == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu bytes of packed %s weights",
                           weight.packed_bytes, vd_dtype_name(dtype));
        if (weight.layout == VD_LAYOUT_SPARSE) {
            vd_sparse_pack(k, dtype, rows, n_rows, n_cols, weight.packed);
        } else if (!k->pack(weight.layout, dtype, rows, n_rows, n_cols, weight.packed)) {
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
 * scale, sum, neg_sum, b. */
typedef struct act_sizes {
    size_t q, scale, neg_sum; /* `q_low` is as large as `q`, `sum` as `scale` */
    size_t b;                 /* where it begins */
    size_t ld_b;
    size_t total;
} act_sizes;

/* Values from row to row of bf16: a line more than the columns, so that rows do not all lie in the
 * same few sets of a cache. */
static bool size_row(size_t n_cols, size_t *ret)
{
    return vd_align_size(n_cols, VD_PANEL_COLS, ret) && vd_add_size(*ret, VD_PANEL_COLS, ret);
}

static bool size_act(size_t n_rows, size_t n_cols, act_sizes *ret)
{
    act_sizes s;
    size_t n_scales, b_bytes;
    if (!vd_mul_size(n_rows, n_cols, &s.q) || !vd_align_size(s.q, ALIGN, &s.q) ||
        !vd_mul_size(n_rows, n_cols / BLOCK, &n_scales) ||
        !vd_mul_size(n_scales, sizeof(float), &s.scale) ||
        !vd_align_size(s.scale, ALIGN, &s.scale) || !vd_mul_size(s.scale, 2, &s.neg_sum) ||
        !vd_mul_size(s.q, 2, &s.b) || !vd_add_size(s.b, s.neg_sum, &s.b) ||
        !vd_add_size(s.b, s.neg_sum, &s.b) || /* scale and sum together are as large */
        !size_row(n_cols, &s.ld_b) || !vd_mul_size(n_rows, s.ld_b, &b_bytes) ||
        !vd_mul_size(b_bytes, sizeof(uint16_t), &b_bytes) ||
        !vd_add_size(s.b, b_bytes, &s.total))
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

/* parts: products may be of few rows where n_rows is large. */
static void lay_out(const vd_kernels *k, vd_precision precision, vd_act *act, void *scratch,
                    const float *x, size_t n_rows, size_t n_cols, size_t ld_x, bool wide,
                    bool parts)
{
    act_sizes s = {0};
    size_t from = wide ? k->panel_from.wide : k->panel_from.narrow;
    unsigned char *base = size_act(n_rows, n_cols, &s) ? scratch : NULL;
    *act = (vd_act){.x = x, .n_rows = n_rows, .n_cols = n_cols, .ld_x = ld_x};
    if (base == NULL || precision != VD_PRECISION_FAST)
        return;
    if (n_rows >= VD_MIN(from, k->panel_from.rows)) {
        act->b = (uint16_t *)(base + s.b);
        act->ld_b = s.ld_b;
    }
    /* No packed layout has rows that are no multiple of a block: nobody would read q. */
    if ((n_rows >= from && !parts) || n_cols % BLOCK != 0)
        return;
    act->q = (int8_t *)base;
    act->q_low = wide ? act->q + s.q : NULL;
    act->scale = (float *)(base + 2 * s.q);
    act->sum = (float *)(base + 2 * s.q + s.scale);
    act->neg_sum = (int32_t *)(base + 2 * s.q + 2 * s.scale);
}

void vd_act_bind(const vd_kernels *k, vd_precision precision, vd_act *act, void *scratch,
                 const float *x, size_t n_rows, size_t n_cols, size_t ld_x, bool wide)
{
    lay_out(k, precision, act, scratch, x, n_rows, n_cols, ld_x, wide, false);
}

void vd_act_bind_parts(const vd_kernels *k, vd_precision precision, vd_act *act, void *scratch,
                       const float *x, size_t n_rows, size_t n_cols, size_t ld_x, bool wide)
{
    lay_out(k, precision, act, scratch, x, n_rows, n_cols, ld_x, wide, true);
}

void vd_act_quantize(const vd_kernels *k, vd_precision precision, const vd_act *act, size_t begin,
                     size_t end)
{
    size_t n_blocks = act->n_cols / BLOCK, n = act->n_cols, n_padded;
    if (precision != VD_PRECISION_FAST)
        return;
    for (size_t t = begin; act->q != NULL && t < end; t++)
        k->quantize_row(act->x + t * act->ld_x, act->q + t * n,
                        act->q_low != NULL ? act->q_low + t * n : NULL,
                        act->scale + t * n_blocks, act->sum + t * n_blocks,
                        act->neg_sum + t * 2 * n_blocks, n);
    if (act->b == NULL || !vd_align_size(n, VD_PANEL_COLS, &n_padded))
        return;
    for (size_t t = begin; t < end; t++) {
        uint16_t *b = act->b + t * act->ld_b;
        k->round_row(act->x + t * act->ld_x, b, n);
        memset(b + n, 0, (n_padded - n) * sizeof *b);
    }
}

vd_act vd_act_rows(const vd_act *act, size_t begin, size_t end)
{
    size_t n_blocks = act->n_cols / BLOCK;
    vd_act rows = *act;
    rows.n_rows = end - begin;
    rows.x += begin * act->ld_x;
    if (act->b != NULL)
        rows.b += begin * act->ld_b;
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

static size_t dense_scratch_bytes(const vd_kernels *k, size_t max_cols)
{
    size_t n, bytes;
    /* Overflow: as in vd_act_bytes. A panel is larger than K floats. */
    if (!vd_align_size(max_cols, VD_PANEL_COLS, &n) ||
        !vd_mul_size(n, k->panel_from.rows == SIZE_MAX && k->panel_from.wide == SIZE_MAX &&
                            k->panel_from.narrow == SIZE_MAX
                        ? sizeof(float)
                        : VD_PANEL_ROWS * sizeof(uint16_t),
                     &bytes))
        return SIZE_MAX;
    return bytes;
}

size_t vd_linear_scratch_bytes(const vd_kernels *k, size_t max_cols)
{
    size_t bytes = dense_scratch_bytes(k, max_cols), total;
    if (!vd_align_size(bytes, ALIGN, &total) ||
        !vd_add_size(total, k->sparse_keep > 0 ? vd_sparse_scratch_bytes(max_cols) : 0, &total))
        return SIZE_MAX;
    return total;
}

/* Few tokens straight from the sparse form, others by way of the dense one. */
static void linear_sparse(const vd_kernels *k, const vd_weight *weight, const vd_act *act, float *y,
                          size_t ld_y, size_t begin, size_t end, float *scratch)
{
    size_t dense_bytes = (dense_scratch_bytes(k, weight->n_cols) + ALIGN - 1) / ALIGN * ALIGN;
    unsigned char *groups = (unsigned char *)scratch + dense_bytes;
    if (act->n_rows <= k->sparse_tokens && act->q != NULL)
        k->sparse_linear(weight->packed, weight->n_cols, act, y, ld_y, begin, end);
    else
        vd_sparse_linear(k, weight, act, y, ld_y, begin, end, groups, scratch);
}

/* Where the file's or packed bytes of a row group begin, and how many there are of `n_rows`. */
static const void *weight_bytes(const vd_kernels *k, const vd_weight *weight, size_t n,
                                size_t n_rows, size_t *ret_bytes)
{
    if (weight->layout == 0) {
        *ret_bytes = n_rows * weight->row_bytes;
        return (const unsigned char *)weight->rows + n * weight->row_bytes;
    }
    size_t group = k->packed_bytes(weight->layout, VD_ROW_UNIT, weight->n_cols);
    *ret_bytes = (n_rows + VD_ROW_UNIT - 1) / VD_ROW_UNIT * group;
    return (const unsigned char *)weight->packed + n / VD_ROW_UNIT * group;
}

/* Each panel of the rows is unpacked and meets all tokens before the next one is. */
static void pass_panels(const vd_kernels *k, const vd_weight *weight, vd_panel args, size_t begin,
                        size_t end, uint16_t *panel)
{
    float *y = args.y;
    args.b = panel;
    for (size_t n = begin; n < end; n += VD_PANEL_ROWS) {
        size_t next = n + VD_PANEL_ROWS;
        args.n_rows = VD_MIN(end - n, (size_t)VD_PANEL_ROWS);
        args.y = y + n;
        args.ahead = NULL;
        if (next < end)
            args.ahead = weight_bytes(k, weight, next, VD_MIN(end - next, (size_t)VD_PANEL_ROWS),
                                      &args.ahead_bytes);
        k->panel_unpack(weight, n, args.n_rows, panel);
        k->panel_product(&args);
    }
}

/* Few tokens do not repay the making of a panel. */
static bool goes_direct(const vd_kernels *k, const vd_weight *weight, const vd_act *act)
{
    return k->panel_direct != NULL && vd_layout_is_float(weight->layout) &&
           act->n_rows <= VD_PANEL_DIRECT;
}

/* In rounds of as many tokens as stay in cache meanwhile: panels are then unpacked anew. */
static void linear_panels(const vd_kernels *k, const vd_weight *weight, const vd_act *act, float *y,
                          size_t ld_y, size_t begin, size_t end, uint16_t *panel)
{
    enum { STEP = 32 }; /* tokens */
    vd_panel args = {.ld_a = act->ld_b, .ld_y = ld_y};
    size_t row_bytes = act->ld_b * sizeof *act->b;
    size_t n_rounds = (act->n_rows * row_bytes - 1) / k->panel_act_bytes + 1;
    size_t n_each = (act->n_rows + n_rounds - 1) / n_rounds;
    if (!vd_align_size(act->n_cols, VD_PANEL_COLS, &args.n_cols) ||
        !vd_align_size(n_each, STEP, &n_each))
        return; /* vd_act_bind did the same, and `b` would be NULL */
    for (size_t t = 0; t < act->n_rows; t += n_each) {
        args.a = act->b + t * act->ld_b;
        args.y = y + t * ld_y;
        args.n_tokens = VD_MIN(act->n_rows - t, n_each);
        if (goes_direct(k, weight, act))
            k->panel_direct(weight, &args, begin, end, panel);
        else
            pass_panels(k, weight, args, begin, end, panel);
    }
}

/* An F32 weight stays what it is: files keep in F32 what would suffer, as the router of experts. */
static bool by_panel(const vd_kernels *k, const vd_weight *weight, const vd_act *act)
{
    if (act->b == NULL || weight->dtype == VD_DTYPE_F32)
        return false;
    if (weight->layout == VD_LAYOUT_ROWS || vd_layout_is_float(weight->layout))
        return act->n_rows >= k->panel_from.rows;
    size_t from = act->q_low != NULL ? k->panel_from.wide : k->panel_from.narrow;
    return act->q == NULL || act->n_rows >= from;
}

void vd_linear(const vd_kernels *k, const vd_weight *weight, const vd_act *act, float *y,
               size_t ld_y, size_t begin, size_t end, float *scratch)
{
    if (begin >= end)
        return;
    if (weight->layout == VD_LAYOUT_SPARSE) {
        linear_sparse(k, weight, act, y, ld_y, begin, end, scratch);
    } else if (by_panel(k, weight, act)) {
        linear_panels(k, weight, act, y, ld_y, begin, end, (uint16_t *)(void *)scratch);
    } else if (weight->layout != 0) {
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
