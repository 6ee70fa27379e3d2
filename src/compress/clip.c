/* clip.c - see clip.h. */
#include "compress/clip.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/encode.h"

/* Candidates are 1, 0.95, 0.9 ... of the largest magnitude. */
enum { CANDIDATES = 16, ROWS_MAX = 1024 };
static const double step = 0.05;

typedef struct search {
    const vd_rows *rows;
    vd_dtype to;
    size_t n_rows, stride; /* of those looked at */
    float largest;
    float *scratch;        /* [n_threads, 2, n_cols] */
    unsigned char *blocks; /* [n_threads, block_bytes] */
    size_t block_bytes;
    double *error;         /* [n_rows, CANDIDATES] */
    atomic_size_t next;
} search;

static double error_of(const search *s, const float *x, float *y, unsigned char *blocks,
                       float clip)
{
    size_t n = s->rows->n_cols;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        y[i] = fabsf(x[i]) > clip ? copysignf(clip, x[i]) : x[i];
    vd_encode_row(s->to, y, NULL, blocks, n);
    vd_dtype_decode(s->to, blocks, y, n);
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sum;
}

static void try_rows(void *ctx, size_t thread, size_t n_threads)
{
    search *s = ctx;
    size_t n = s->rows->n_cols;
    float *x = s->scratch + 2 * thread * n;
    unsigned char *blocks = s->blocks + thread * s->block_bytes;
    fenv_t before;
    vd_encode_floats_begin(&before);
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
        if (i >= s->n_rows)
            break;
        vd_dtype_decode(s->rows->dtype, s->rows->data + i * s->stride * s->rows->row_bytes, x, n);
        for (size_t c = 0; c < CANDIDATES; c++)
            s->error[i * CANDIDATES + c] =
                error_of(s, x, x + n, blocks, s->largest * (float)(1 - step * (double)c));
    }
    vd_encode_floats_end(&before);
}

static float best_of(const search *s)
{
    double least = INFINITY;
    size_t best = 0;
    for (size_t c = 0; c < CANDIDATES; c++) {
        double sum = 0;
        for (size_t i = 0; i < s->n_rows; i++)
            sum += s->error[i * CANDIDATES + c];
        if (sum < least) {
            least = sum;
            best = c;
        }
    }
    return s->largest * (float)(1 - step * (double)best);
}

vd_status vd_clip_search(const vd_scan *scan, const vd_rows *rows, vd_dtype to, float *ret,
                         vd_err *err)
{
    size_t n_threads = vd_pool_n_threads(scan->pool);
    search s = {.rows = rows, .to = to};
    vd_status st = vd_select_magnitude(scan, rows, (uint64_t)rows->n_rows * rows->n_cols,
                                       &s.largest, err);
    if (st != VD_OK || vd_dtype_get(to)->block == 1 || !(s.largest <= vd_encode_max(to))) {
        *ret = s.largest;
        return st; /* what cannot be encoded is said where it is */
    }
    s.stride = (rows->n_rows - 1) / ROWS_MAX + 1;
    s.n_rows = (rows->n_rows - 1) / s.stride + 1;
    if (!vd_dtype_row_bytes(to, rows->n_cols, &s.block_bytes))
        return VD_FAIL(err, VD_ERR_ARG, "rows of %zu values are no whole blocks", rows->n_cols);
    st = vd_alloc_array(2 * n_threads * rows->n_cols, sizeof(float), "rows", &s.scratch, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_threads * s.block_bytes, 1, "encoded rows", &s.blocks, err);
    if (st == VD_OK)
        st = vd_alloc_array(s.n_rows * CANDIDATES, sizeof(*s.error), "errors", &s.error, err);
    if (st == VD_OK) {
        atomic_init(&s.next, 0);
        vd_pool_run(scan->pool, try_rows, &s);
        *ret = best_of(&s);
    }
    vd_free(s.scratch);
    vd_free(s.blocks);
    vd_free(s.error);
    return st;
}
