/* bandwidth.c - see bandwidth.h. */
#include "base/bandwidth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/pool.h"

enum { HUGE_PAGE = 2 << 20, PASSES_MIN = 5, PASSES_MAX = 200 };

static const uint64_t enough_ns = UINT64_C(600000000), too_long_ns = UINT64_C(2000000000);
static const uint64_t fill_bytes = UINT64_C(64) << 20; /* given out at once */

typedef struct job {
    unsigned char *data;
    size_t begin, end;                     /* in huge pages, which the threads take in turn */
    bool reads;                            /* else: writes */
    uint64_t sum[VD_POOL_THREADS_MAX * 8]; /* a cache line per thread; keeps reads from vanishing */
} job;

/* Four sums of 64 bytes, so that the additions of one need not wait for those before. */
typedef uint64_t lanes __attribute__((vector_size(64)));

static uint64_t sum_of(const lanes *p, size_t n)
{
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 4 <= n; i += 4) {
        a += p[i];
        b += p[i + 1];
        c += p[i + 2];
        d += p[i + 3];
    }
    a += b + (c + d);
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++)
        sum += a[i];
    return sum;
}

static void run_part(void *ctx, size_t thread, size_t n_threads)
{
    job *j = ctx;
    for (size_t i = j->begin + thread; i < j->end; i += n_threads) {
        unsigned char *page = j->data + i * HUGE_PAGE;
        if (j->reads)
            j->sum[thread * 8] += sum_of((const lanes *)page, HUGE_PAGE / sizeof(lanes));
        else
            memset(page, 1, HUGE_PAGE);
    }
}

/* Writes up to `n_pages`, fewer where the system takes long to give them. */
static void fill(vd_pool *pool, job *j, size_t n_pages)
{
    uint64_t begin = vd_now_ns();
    size_t n = VD_MAX(fill_bytes / HUGE_PAGE, vd_pool_n_threads(pool));
    while (j->end < n_pages && (j->end == 0 || vd_now_ns() - begin < enough_ns)) {
        j->begin = j->end;
        j->end = VD_MIN(j->end + n, n_pages);
        vd_pool_run(pool, run_part, j);
    }
    j->begin = 0;
    j->reads = true;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void time_passes(vd_bandwidth *bandwidth, vd_pool *pool, job *j)
{
    uint64_t ns[PASSES_MAX], all = 0;
    size_t n = 0;
    while (n < PASSES_MAX && (n < PASSES_MIN ? n == 0 || all < too_long_ns : all < enough_ns)) {
        uint64_t begin = vd_now_ns();
        vd_pool_run(pool, run_part, j);
        ns[n] = VD_MAX(vd_now_ns() - begin, 1);
        all += ns[n++];
    }
    qsort(ns, n, sizeof(ns[0]), by_value);
    bandwidth->bytes = (uint64_t)j->end * HUGE_PAGE;
    bandwidth->best_gb_s = (double)bandwidth->bytes / (double)ns[0];
    bandwidth->median_gb_s = (double)bandwidth->bytes / (double)ns[n / 2];
    bandwidth->n_passes = n;
}

void vd_bandwidth_measure(uint64_t bytes, size_t n_threads, vd_bandwidth *ret_bandwidth)
{
    vd_bandwidth b = {0};
    vd_pool *pool = NULL;
    job *j = vd_calloc(1, sizeof(*j));
    vd_err err = {0};
    if (vd_pool_create(n_threads, &pool, &err) != VD_OK) {
        snprintf(b.why_not, sizeof(b.why_not), "%.100s", err.message);
        goto out;
    }
    b.n_threads = vd_pool_n_threads(pool);
    uint64_t n_pages = VD_MAX((bytes + HUGE_PAGE - 1) / HUGE_PAGE, (uint64_t)b.n_threads);
    if (j != NULL && n_pages <= SIZE_MAX / HUGE_PAGE)
        j->data = vd_alloc_aligned((size_t)n_pages * HUGE_PAGE, HUGE_PAGE);
    if (j == NULL || j->data == NULL) {
        snprintf(b.why_not, sizeof(b.why_not), "no memory for the measurement");
        goto out;
    }
    (void)madvise(j->data, (size_t)n_pages * HUGE_PAGE, MADV_HUGEPAGE); /* as weights are; a wish */
    fill(pool, j, (size_t)n_pages);
    time_passes(&b, pool, j);
out:
    vd_pool_free(pool);
    if (j != NULL)
        vd_free(j->data);
    vd_free(j);
    *ret_bandwidth = b;
}
