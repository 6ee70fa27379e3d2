/* recode.c - see recode.h. */
#include "compress/search/recode.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/calibrated.h"
#include "compress/encode.h"

typedef struct work {
    const vd_recode *r;
    size_t n_cols, n_rows, src_bytes, dst_bytes;
    unsigned char *rows;  /* all of the encoded rows, or NULL */
    float *scratch;       /* [n_threads, 2, n_cols] */
    double *norm;         /* [n_threads, n_cols] of what a row multiplies */
    vd_wanda_score *score; /* [n_threads, n_cols] */
    unsigned char *one;   /* [n_threads, dst_bytes] an encoded row that nobody keeps */
    double *row_error;    /* [rows that are looked at]: added up in order, whatever the threads */
    atomic_size_t next, bad_row;
} work;

/* As vd_calibrated_prune does: the same weights go when the file is written. */
static void prune_row(const work *w, const float *weights, size_t thread, float *x)
{
    double *norm = w->norm + thread * w->n_cols;
    vd_wanda_score *score = w->score + thread * w->n_cols;
    size_t n_gone = (size_t)vd_prune_n_gone(w->r->keep, w->n_cols);
    for (size_t i = 0; weights != NULL && i < w->n_cols; i++)
        norm[i] = sqrt((double)weights[i]);
    vd_wanda_rank(x, weights != NULL ? norm : NULL, w->n_cols, score);
    for (size_t i = 0; i < n_gone; i++)
        x[score[i].column] = 0;
}

/* False where a value of the row cannot be had in the type. */
static bool recode_row(const work *w, size_t row, size_t thread, double *ret_error)
{
    const vd_recode *r = w->r;
    float *x = w->scratch + thread * 2 * w->n_cols, *y = x + w->n_cols, most = vd_encode_max(r->to);
    const float *weights = r->weights != NULL
                               ? r->weights + row / r->rows_per_weights * w->n_cols
                               : NULL;
    unsigned char *dst = w->rows != NULL ? w->rows + row * w->dst_bytes
                                         : w->one + thread * w->dst_bytes;
    double error = 0;
    vd_dtype_decode((vd_dtype)r->tensor->dtype, r->tensor->data + row * w->src_bytes, x, w->n_cols);
    for (size_t i = 0; i < w->n_cols; i++)
        if (!(fabsf(x[i]) <= most))
            return false;
    memcpy(y, x, w->n_cols * sizeof(*y));
    if (r->keep < 1)
        prune_row(w, weights, thread, y);
    vd_encode_row(r->to, y, weights, dst, w->n_cols);
    vd_dtype_decode(r->to, dst, y, w->n_cols);
    for (size_t i = 0; i < w->n_cols; i++) {
        double d = (double)x[i] - (double)y[i];
        error += (weights != NULL ? (double)weights[i] : 1) * d * d;
    }
    *ret_error = error;
    return true;
}

static void run(void *ctx, size_t thread, size_t n_threads)
{
    work *w = ctx;
    fenv_t before;
    size_t i;
    vd_encode_floats_begin(&before);
    while ((i = atomic_fetch_add(&w->next, 1)) < w->n_rows)
        if (!recode_row(w, i * w->r->row_step, thread, &w->row_error[i]))
            atomic_store(&w->bad_row, i * w->r->row_step);
    vd_encode_floats_end(&before);
}

/* The same type: its bytes, no error. */
static vd_status copy(const vd_recode *r, unsigned char **ret_rows, double *ret_error, vd_err *err)
{
    vd_status st = VD_OK;
    if (ret_rows != NULL)
        st = vd_alloc_array((size_t)r->tensor->n_bytes, 1, "a tensor", ret_rows, err);
    if (st == VD_OK && ret_rows != NULL)
        memcpy(*ret_rows, r->tensor->data, (size_t)r->tensor->n_bytes);
    if (st == VD_OK)
        *ret_error = 0;
    return st;
}

vd_status vd_recode_run(const vd_recode *r, vd_pool *pool, unsigned char **ret_rows,
                        double *ret_error, vd_err *err)
{
    size_t n_all = vd_gguf_tensor_rows(r->tensor), n_threads = vd_pool_n_threads(pool), n_scratch;
    work w = {.r = r, .n_cols = (size_t)r->tensor->dim[0], .bad_row = SIZE_MAX,
              .n_rows = (n_all + r->row_step - 1) / r->row_step};
    vd_status st = VD_OK;
    if (r->tensor->dtype == (uint32_t)r->to && r->keep >= 1)
        return copy(r, ret_rows, ret_error, err);
    if (!vd_dtype_row_bytes(r->tensor->dtype, w.n_cols, &w.src_bytes) ||
        !vd_dtype_row_bytes(r->to, w.n_cols, &w.dst_bytes) ||
        !vd_mul_size(w.n_cols, 2 * n_threads, &n_scratch))
        return VD_FAIL(err, VD_ERR_ARG, "rows of %zu values do not suit %s", w.n_cols,
                       vd_dtype_name(r->to));
    st = vd_alloc_array(n_scratch, sizeof(float), "rows", &w.scratch, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_threads, w.dst_bytes, "rows", &w.one, err);
    if (st == VD_OK && r->keep < 1)
        st = vd_alloc_array(n_scratch / 2, sizeof(*w.norm), "norms", &w.norm, err);
    if (st == VD_OK && r->keep < 1)
        st = vd_alloc_array(n_scratch / 2, sizeof(*w.score), "scores", &w.score, err);
    if (st == VD_OK)
        st = vd_alloc_array(w.n_rows, sizeof(double), "errors of rows", &w.row_error, err);
    if (st == VD_OK && ret_rows != NULL)
        st = vd_alloc_array(n_all, w.dst_bytes, "a tensor", &w.rows, err);
    if (st == VD_OK) {
        double sum = 0;
        vd_pool_run(pool, run, &w);
        for (size_t i = 0; i < w.n_rows; i++)
            sum += w.row_error[i];
        size_t bad = atomic_load(&w.bad_row);
        if (bad != SIZE_MAX)
            st = VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %zu: a value is not finite or too "
                         "large for %s", (int)r->tensor->name.n, r->tensor->name.data, bad,
                         vd_dtype_name(r->to));
        else
            *ret_error = sum;
    }
    if (st == VD_OK && ret_rows != NULL) {
        *ret_rows = w.rows;
        w.rows = NULL;
    }
    vd_free(w.scratch);
    vd_free(w.norm);
    vd_free(w.score);
    vd_free(w.one);
    vd_free(w.row_error);
    vd_free(w.rows);
    return st;
}
