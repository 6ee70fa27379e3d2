/* select.c - see select.h. */
#include "compress/select.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"

enum { BUCKETS = 1 << 16 };

typedef struct walk walk;
typedef void (*visit_fn)(walk *w, size_t thread, size_t row, const float *x);

/* One pass over all rows. */
struct walk {
    const vd_scan *scan;
    const vd_rows *rows;
    visit_fn visit;
    atomic_size_t next;
    /* for the visitors */
    uint64_t *histogram; /* [n_threads, BUCKETS] */
    uint32_t high;       /* magnitudes with these upper 16 bits; BUCKETS: all, by them */
    double *sum;         /* [n_rows] */
    float cut;
    uint32_t *equal;     /* [n_rows] */
    atomic_uint_fast64_t below;
};

static void walk_rows(void *ctx, size_t thread, size_t n_threads)
{
    walk *w = ctx;
    const vd_rows *rows = w->rows;
    float *x = w->scan->scratch + thread * rows->n_cols;
    for (;;) {
        size_t row = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
        if (row >= rows->n_rows)
            break;
        vd_dtype_decode(rows->dtype, rows->data + row * rows->row_bytes, x, rows->n_cols);
        if (w->scan->change != NULL)
            w->scan->change(w->scan->ctx, x, rows->n_cols);
        w->visit(w, thread, row, x);
    }
}

static void run(walk *w, visit_fn visit)
{
    w->visit = visit;
    atomic_init(&w->next, 0);
    vd_pool_run(w->scan->pool, walk_rows, w);
}

static uint32_t magnitude_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits & 0x7fffffffu;
}

static void visit_histogram(walk *w, size_t thread, size_t row, const float *x)
{
    uint64_t *count = w->histogram + thread * BUCKETS;
    for (size_t i = 0; i < w->rows->n_cols; i++) {
        uint32_t bits = magnitude_bits(x[i]);
        if (w->high == BUCKETS)
            count[bits >> 16]++;
        else if (bits >> 16 == w->high)
            count[bits & 0xffff]++;
    }
}

/* The bucket that holds the *rank-th smallest, and its rank inside. */
static uint32_t find_bucket(walk *w, uint64_t *rank)
{
    size_t n_threads = vd_pool_n_threads(w->scan->pool);
    memset(w->histogram, 0, n_threads * BUCKETS * sizeof(*w->histogram));
    run(w, visit_histogram);
    uint32_t i = 0;
    for (; i + 1 < BUCKETS; i++) {
        uint64_t n = 0;
        for (size_t t = 0; t < n_threads; t++)
            n += w->histogram[t * BUCKETS + i];
        if (*rank <= n)
            break;
        *rank -= n;
    }
    return i;
}

vd_status vd_select_magnitude(const vd_scan *scan, const vd_rows *rows, uint64_t rank, float *ret,
                              vd_err *err)
{
    walk w = {.scan = scan, .rows = rows, .high = BUCKETS};
    vd_status st = vd_alloc_array(vd_pool_n_threads(scan->pool) * BUCKETS, sizeof(*w.histogram),
                                  "a histogram", &w.histogram, err);
    if (st != VD_OK)
        return st;
    w.high = find_bucket(&w, &rank);
    uint32_t bits = w.high << 16 | find_bucket(&w, &rank);
    memcpy(ret, &bits, sizeof(bits));
    vd_free(w.histogram);
    return VD_OK;
}

static void visit_squares(walk *w, size_t thread, size_t row, const float *x)
{
    double sum = 0;
    for (size_t i = 0; i < w->rows->n_cols; i++)
        sum += (double)x[i] * (double)x[i];
    w->sum[row] = sum;
}

vd_status vd_select_rms(const vd_scan *scan, const vd_rows *rows, double *ret, vd_err *err)
{
    walk w = {.scan = scan, .rows = rows};
    double sum = 0;
    vd_status st = vd_alloc_array(rows->n_rows, sizeof(*w.sum), "sums of rows", &w.sum, err);
    if (st != VD_OK)
        return st;
    run(&w, visit_squares);
    for (size_t i = 0; i < rows->n_rows; i++)
        sum += w.sum[i];
    vd_free(w.sum);
    *ret = sqrt(sum / ((double)rows->n_rows * (double)rows->n_cols));
    return VD_OK;
}

static void visit_count(walk *w, size_t thread, size_t row, const float *x)
{
    uint64_t below = 0;
    uint32_t equal = 0;
    for (size_t i = 0; i < w->rows->n_cols; i++) {
        below += fabsf(x[i]) < w->cut;
        equal += fabsf(x[i]) == w->cut;
    }
    w->equal[row] = equal;
    atomic_fetch_add_explicit(&w->below, below, memory_order_relaxed);
}

void vd_select_count(const vd_scan *scan, const vd_rows *rows, float cut, uint64_t *ret_below,
                     uint32_t *ret_equal)
{
    walk w = {.scan = scan, .rows = rows, .cut = cut, .equal = ret_equal};
    atomic_init(&w.below, 0);
    run(&w, visit_count);
    *ret_below = atomic_load(&w.below);
}
