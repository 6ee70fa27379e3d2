/*
 * values.c - see values.h.
 *
 * Rows of q and k. A head of D rows is stored in halves, (i, i + D/2) being turned together; GGUF
 * has the two as neighbours: row 2i + p of a head comes from row p D/2 + i.
 */
#include "import/values.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { PIECE_BYTES = 4 << 20 };

/* Scales of 8-bit floats, whatever their shape: one, one per row, one per block. */
typedef struct scales {
    float *value; /* NULL: none */
    size_t rows, cols;             /* of scales, per matrix */
    size_t block_rows, block_cols; /* of values that share one; SIZE_MAX: all */
    size_t matrix_rows;            /* of values, per matrix */
    bool per_matrix;               /* each matrix has its own */
} scales;

typedef struct reader {
    const vd_plan *plan;
    const vd_out_tensor *t;
    size_t rows, cols, rows_per_source;
    scales scale; /* of the current source */
    const vd_st_tensor *scale_of;
} reader;

void vd_out_shape(const vd_out_tensor *t, size_t *ret_rows, size_t *ret_cols)
{
    bool column = t->n_dims == 1 && (t->op & (VD_RULE_Q | VD_RULE_K)) != 0;
    *ret_cols = column ? 1 : (size_t)t->dim[0];
    *ret_rows = column ? (size_t)t->dim[0] : (size_t)(t->dim[1] * t->dim[2]);
}

/* How many values along one dimension share a scale; 0 where the numbers do not agree. */
static size_t share(uint64_t n_values, uint64_t n_scales, uint32_t block)
{
    if (n_scales == n_values)
        return 1;
    if (n_scales == 1)
        return SIZE_MAX;
    return (n_values + block - 1) / block == n_scales ? block : 0;
}

static vd_status load_scales(reader *r, const vd_source *source, vd_err *err)
{
    const vd_st_tensor *s = source->scale, *w = source->tensor;
    vd_free(r->scale.value);
    r->scale = (scales){0};
    r->scale_of = s;
    if (s == NULL)
        return VD_OK;
    size_t n = (size_t)vd_st_n_values(s);
    vd_status st = vd_alloc_array(n, sizeof(float), "scales", &r->scale.value, err);
    if (st != VD_OK)
        return st;
    vd_st_decode(s->dtype, s->data, r->scale.value, n);
    uint64_t w_rows = w->n_dims >= 2 ? w->dim[w->n_dims - 2] : 1;
    uint64_t w_cols = w->n_dims >= 1 ? w->dim[w->n_dims - 1] : 1;
    uint64_t s_rows = s->n_dims >= 2 ? s->dim[s->n_dims - 2] : n == 1 ? 1 : s->dim[0];
    uint64_t s_cols = s->n_dims >= 2 ? s->dim[s->n_dims - 1] : 1;
    bool fits = s->n_dims < 2 || s->n_dims == w->n_dims;
    for (uint32_t i = 0; fits && s->n_dims > 2 && i < s->n_dims - 2; i++)
        fits = s->dim[i] == w->dim[i];
    r->scale.rows = (size_t)s_rows;
    r->scale.cols = (size_t)s_cols;
    r->scale.block_rows = share(w_rows, s_rows, r->plan->block[0]);
    r->scale.block_cols = share(w_cols, s_cols, r->plan->block[1]);
    r->scale.matrix_rows = (size_t)w_rows;
    r->scale.per_matrix = s->n_dims > 2;
    if (n == 0 || !fits || r->scale.block_rows == 0 || r->scale.block_cols == 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: its shape does not suit that of %s",
                       s->name.data, w->name.data);
    return VD_OK;
}

static void apply_scales(const scales *s, size_t row, float *x, size_t n)
{
    size_t matrix = s->per_matrix ? row / s->matrix_rows : 0, at = row % s->matrix_rows;
    size_t first = (matrix * s->rows + at / s->block_rows) * s->cols;
    for (size_t i = 0; i < n; i++)
        x[i] *= s->value[first + i / s->block_cols];
}

/* Row of a source where the values of output row `row` lie. */
static size_t source_row(const reader *r, size_t row)
{
    if ((r->t->op & (VD_RULE_Q | VD_RULE_K)) == 0)
        return row;
    size_t d = r->rows / r->t->n_heads, i = row % d;
    return row - i + (i % 2) * (d / 2) + i / 2;
}

/* Rows [first, first + n) of a source stored [cols, rows]. */
static void read_transposed(const reader *r, const vd_st_tensor *from, size_t first, size_t n,
                            float *x)
{
    size_t width = vd_st_dtype_bytes(from->dtype);
    for (size_t c = 0; c < r->cols; c++)
        for (size_t i = 0; i < n; i++)
            vd_st_decode(from->dtype, from->data + (c * r->rows + first + i) * width,
                         x + i * r->cols + c, 1);
}

static vd_status read_rows(reader *r, size_t first, size_t n, float *x, vd_err *err)
{
    const vd_out_tensor *t = r->t;
    if (t->literal != NULL) {
        memcpy(x, t->literal, r->cols * sizeof(*x));
        return VD_OK;
    }
    if (t->op == VD_RULE_TRANSPOSE) {
        read_transposed(r, t->source[0].tensor, first, n, x);
        return VD_OK;
    }
    for (size_t i = 0; i < n; i++, x += r->cols) {
        const vd_source *s = &t->source[(first + i) / r->rows_per_source];
        size_t row = s->first_row + source_row(r, (first + i) % r->rows_per_source);
        if (s->scale != r->scale_of) {
            vd_status st = load_scales(r, s, err);
            if (st != VD_OK)
                return st;
        }
        size_t row_bytes = r->cols * vd_st_dtype_bytes(s->tensor->dtype);
        vd_st_decode(s->tensor->dtype, s->tensor->data + row * row_bytes, x, r->cols);
        if (r->scale.value != NULL)
            apply_scales(&r->scale, row, x, r->cols);
        for (size_t c = 0; t->plus_one && c < r->cols; c++)
            x[c] += 1;
    }
    return VD_OK;
}

/* f32 to the type of the tensor, in place: no type here is wider. */
static vd_status encode(const vd_out_tensor *t, float *x, size_t n, size_t *ret_bytes, vd_err *err)
{
    unsigned char *out = (unsigned char *)x;
    *ret_bytes = t->dtype == VD_DTYPE_F32 ? 4 * n : 2 * n;
    for (size_t i = 0; t->dtype != VD_DTYPE_F32 && i < n; i++) {
        float value = x[i];
        uint16_t bits = t->dtype == VD_DTYPE_F16 ? vd_f32_to_f16(value) : vd_f32_to_bf16(value);
        if (t->dtype == VD_DTYPE_F16 && isfinite(value) && (bits & 0x7fff) == 0x7c00)
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: the value %g is too large for F16; "
                           "--type BF16 or F32 has room for it", t->name, (double)value);
        out[2 * i] = (unsigned char)bits;
        out[2 * i + 1] = (unsigned char)(bits >> 8);
    }
    return VD_OK;
}

/* The bytes can be taken as they are. */
static bool is_copy(const vd_out_tensor *t)
{
    static const struct {
        vd_st_dtype from;
        vd_dtype to;
    } same[] = {{VD_ST_F32, VD_DTYPE_F32}, {VD_ST_F16, VD_DTYPE_F16}, {VD_ST_BF16, VD_DTYPE_BF16}};
    if (t->n_sources != 1 || t->op != 0 || t->plus_one || t->source[0].first_row != 0)
        return false;
    for (size_t i = 0; i < VD_COUNT(same); i++)
        if (t->source[0].tensor->dtype == same[i].from && t->dtype == same[i].to)
            return true;
    return false;
}

static vd_status copy(const vd_st_tensor *from, vd_values_fn *put, void *ctx, vd_err *err)
{
    vd_status st = VD_OK;
    for (uint64_t at = 0; st == VD_OK && at < from->n_bytes; at += PIECE_BYTES)
        st = put(ctx, from->data + at, (size_t)VD_MIN(from->n_bytes - at, PIECE_BYTES), err);
    return st;
}

vd_status vd_values_write(const vd_plan *plan, const vd_out_tensor *t, vd_values_fn *put,
                          void *ctx, vd_err *err)
{
    reader r = {.plan = plan, .t = t};
    float *x = NULL;
    size_t row_bytes, n_bytes = 0;
    if (is_copy(t))
        return copy(t->source[0].tensor, put, ctx, err);
    vd_out_shape(t, &r.rows, &r.cols);
    r.rows_per_source = t->n_sources > 0 ? r.rows / t->n_sources : r.rows;
    if (r.rows == 0 || r.cols == 0)
        return VD_OK;
    if (!vd_mul_size(r.cols, sizeof(float), &row_bytes))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: a row of %zu values", t->name, r.cols);
    size_t step = VD_MIN(VD_MAX(PIECE_BYTES / row_bytes, 1), r.rows);
    vd_status st = vd_alloc_array(step, row_bytes, "rows of a tensor", &x, err);
    for (size_t first = 0; st == VD_OK && first < r.rows; first += step) {
        size_t n = VD_MIN(r.rows - first, step);
        st = read_rows(&r, first, n, x, err);
        if (st == VD_OK)
            st = encode(t, x, n * r.cols, &n_bytes, err);
        if (st == VD_OK)
            st = put(ctx, x, n_bytes, err);
    }
    vd_free(r.scale.value);
    vd_free(x);
    return st;
}
