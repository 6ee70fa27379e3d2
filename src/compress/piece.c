/* piece.c - see piece.h. */
#include "compress/piece.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "compress/encode.h"

/* The first value of a row that is not finite or too large; 0 when there is none. */
static float find_bad(const float *x, size_t n, float max)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= max))
            return x[i];
    return 0;
}

static void add_zeros(const vd_piece *p, const float *x, atomic_uint_fast64_t *total)
{
    size_t count = 0;
    if (!p->count)
        return;
    for (size_t i = 0; i < p->n_cols; i++)
        count += x[i] == 0;
    atomic_fetch_add_explicit(total, count, memory_order_relaxed);
}

/* How much the values of a row count; NULL: alike. */
static const float *weights_of(const vd_piece *p, size_t row)
{
    return p->weights != NULL
               ? p->weights + (p->first_row + row) / p->rows_per_weights * p->n_cols
               : NULL;
}

/* Row `row` of the piece, by way of x. The value that cannot be, or 0. */
static float convert_row(vd_piece *p, size_t row, float *x)
{
    float max = p->dst != NULL ? vd_encode_max(p->to) : FLT_MAX, bad;
    vd_dtype_decode(p->from, p->src + row * p->src_bytes, x, p->n_cols);
    bad = find_bad(x, p->n_cols, p->edit != NULL ? FLT_MAX : max);
    if (bad != 0.0f)
        return bad;
    add_zeros(p, x, &p->n_zeros_before);
    if (p->edit != NULL) {
        vd_edit_row(p->edit, p->first_row + row, x, p->n_cols);
        bad = find_bad(x, p->n_cols, max);
        if (bad != 0.0f)
            return bad;
    }
    if (p->dst != NULL)
        vd_encode_row(p->to, x, weights_of(p, row), p->dst + row * p->dst_bytes, p->n_cols);
    if (p->dst != NULL && (p->count || p->values != NULL))
        vd_dtype_decode(p->to, p->dst + row * p->dst_bytes, x, p->n_cols);
    add_zeros(p, x, &p->n_zeros_after);
    if (p->values != NULL)
        memcpy(p->values + row * p->n_cols, x, p->n_cols * sizeof(float));
    return 0;
}

static void convert_rows(void *ctx, size_t thread, size_t n_threads)
{
    vd_piece *p = ctx;
    float *x = p->scratch + thread * p->n_cols;
    fenv_t before;
    vd_encode_floats_begin(&before);
    for (;;) {
        size_t row = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        size_t none = SIZE_MAX;
        if (row >= p->n_rows)
            break;
        float bad = convert_row(p, row, x);
        if (bad != 0.0f) {
            if (atomic_compare_exchange_strong(&p->bad_row, &none, row))
                p->bad_value = bad;
            break;
        }
    }
    vd_encode_floats_end(&before);
}

vd_status vd_piece_run(vd_piece *p, vd_pool *pool, const char *name, size_t n_name, vd_err *err)
{
    atomic_init(&p->next, 0);
    atomic_init(&p->bad_row, SIZE_MAX);
    vd_pool_run(pool, convert_rows, p);
    size_t bad = atomic_load(&p->bad_row);
    if (bad == SIZE_MAX)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %zu: the value %g %s", (int)n_name, name,
                   p->first_row + bad, (double)p->bad_value,
                   isfinite(p->bad_value) ? "is too large for the type it shall have"
                                          : "is no number to work with");
}
