/*
 * bench.c - vd_check --bench: medians of repeated runs of one entry, one thread. Time is the
 * thread's CPU time, so that other processes on the machine count less. The products stand in
 * bench_product.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "bench.h"
#include "check.h"

enum { SAMPLES = 15, SAMPLES_LONG = 3, SAMPLE_NS = 1000000, LONG_NS = 100000000 };

static uint64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A sample is as many calls as take about a millisecond. */
double bench_time_ns(bench_fn fn, void *ctx)
{
    double samples[SAMPLES];
    size_t n = 1, n_samples = SAMPLES;
    for (;;) {
        uint64_t start = cpu_ns();
        for (size_t i = 0; i < n; i++)
            fn(ctx);
        uint64_t took = cpu_ns() - start;
        if (took > LONG_NS)
            n_samples = SAMPLES_LONG;
        if (took > SAMPLE_NS / 2)
            break;
        n *= 2;
    }
    for (size_t s = 0; s < n_samples; s++) {
        uint64_t start = cpu_ns();
        for (size_t i = 0; i < n; i++)
            fn(ctx);
        samples[s] = (double)(cpu_ns() - start) / (double)n;
    }
    qsort(samples, n_samples, sizeof samples[0], by_size);
    return samples[n_samples / 2];
}

static void report(const char *name, const vd_kernels *k, double ns, double bytes, double flops)
{
    printf("%-34s %-8s %12.0f ns %8.1f GB/s %8.1f GFLOP/s\n", name, k->name, ns, bytes / ns,
           flops / ns);
    (void)fflush(stdout);
}

/* ---- the small entries, 4096 values each ------------------------------------------------------*/

enum { N = 4096 };
static float xs[N], ys[N], out[N], scales[N / 32], sums[N / 32];
static int32_t neg_sums[N / 16];
static int8_t quants[N];
static uint16_t halves[N];

static void run_quantize(void *k)
{
    ((const vd_kernels *)k)->quantize_row(xs, quants, NULL, scales, sums, neg_sums, N);
}
static void run_norm(void *k)
{
    ((const vd_kernels *)k)->rms_norm(xs, ys, 1e-5f, out, N);
}
static void run_add(void *k)
{
    ((const vd_kernels *)k)->add(out, xs, N);
}
static void run_silu(void *k)
{
    memcpy(out, xs, sizeof out);
    ((const vd_kernels *)k)->silu_mul(out, ys, N);
}
static void run_layer_norm(void *k)
{
    ((const vd_kernels *)k)->layer_norm(xs, ys, ys, 1e-5f, out, N);
}

static void run_gelu(void *k)
{
    memcpy(out, xs, sizeof out);
    ((const vd_kernels *)k)->gelu_mul(out, ys, N);
}
static void run_rope_neox(void *k)
{
    ((const vd_kernels *)k)->rope(out, ys, N, 1);
}
static void run_rope(void *k)
{
    ((const vd_kernels *)k)->rope(out, ys, N, 0);
}
static void run_store(void *k)
{
    ((const vd_kernels *)k)->store_kv(VD_DTYPE_F16, xs, halves, N);
}
static void run_store_q8_0(void *k)
{
    ((const vd_kernels *)k)->store_kv(VD_DTYPE_Q8_0, xs, halves, N);
}
static void run_store_q4_0(void *k)
{
    ((const vd_kernels *)k)->store_kv(VD_DTYPE_Q4_0, xs, halves, N);
}

/* Sixteen ways to round 32 values, over and over. */
static void run_fits(const vd_kernels *k, bool errors, const float *levels)
{
    vd_fit fit = {.w = ys, .n = 32, .low = 0, .high = 15, .levels = levels};
    for (int j = 0; j < VD_FIT_LANES; j++) {
        fit.inverse[j] = 4.0f + 0.1f * (float)j;
        fit.shift[j] = 2;
        fit.scale[j] = 1 / fit.inverse[j];
    }
    for (size_t i = 0; i < N; i += 32) {
        fit.x = xs + i;
        (errors ? k->fit_errors : k->fit_sums)(&fit);
    }
    out[0] += fit.qq[1];
}

static void run_fit_sums(void *k)
{
    run_fits(k, false, NULL);
}
static void run_fit_errors(void *k)
{
    run_fits(k, true, NULL);
}
static void run_fit_levels(void *k)
{
    static const float levels[VD_FIT_LEVELS] = {-8, -7, -6, -5, -4, -3, -2, -1,
                                                0,  1,  2,  3,  4,  5,  6,  8};
    run_fits(k, true, levels);
}

static void bench_small(const vd_kernels *k, const char *filter)
{
    static const struct {
        const char *name;
        bench_fn fn;
        size_t bytes;
    } all[] = {{"quantize_row 4096", run_quantize, 5 * N}, {"rms_norm 4096", run_norm, 12 * N},
               {"layer_norm 4096", run_layer_norm, 16 * N},
               {"add 4096", run_add, 12 * N}, {"silu_mul 4096", run_silu, 12 * N},
               {"gelu_mul 4096", run_gelu, 12 * N}, {"rope neox 4096", run_rope_neox, 12 * N},
               {"rope pairs 4096", run_rope, 12 * N}, {"store_kv F16 4096", run_store, 6 * N},
               {"store_kv Q8_0 4096", run_store_q8_0, 5 * N},
               {"store_kv Q4_0 4096", run_store_q4_0, 4 * N},
               {"fit_sums 4096", run_fit_sums, 8 * N}, {"fit_errors 4096", run_fit_errors, 8 * N},
               {"fit_errors 4096 levels", run_fit_levels, 8 * N}};
    check_fill_floats(xs, N);
    for (size_t i = 0; i < N; i += 2) { /* angles too: rope must not grow what it turns */
        ys[i] = 0.6f;
        ys[i + 1] = 0.8f;
    }
    for (size_t i = 0; i < VD_COUNT(all); i++)
        if (strstr(all[i].name, filter) != NULL) {
            memset(out, 0, sizeof out);
            report(all[i].name, k, bench_time_ns(all[i].fn, (void *)k), (double)all[i].bytes, N);
        }
}

typedef struct attention {
    const vd_kernels *k;
    bool many;
    vd_attn args;
} attention;

static void run_attn(void *ctx)
{
    attention *a = ctx;
    (a->many ? a->k->attn_many : a->k->attn)(&a->args);
}

static void bench_attn(const vd_kernels *k, const char *filter, bool many, size_t n_q, size_t group,
                       size_t d, size_t n_kv, vd_dtype dtype)
{
    enum { PAGE = 32 };
    char name[100];
    (void)snprintf(name, sizeof name, "attn%s %s q=%zu group=%zu D=%zu n=%zu",
                   many ? "_many" : "", vd_dtype_name(dtype), n_q, group, d, n_kv);
    if (strstr(name, filter) == NULL || (many && k->attn_many == NULL))
        return;
    size_t row = 0;
    (void)vd_dtype_row_bytes((uint32_t)dtype, d, &row);
    size_t bytes = n_kv * row;
    unsigned char *kv = vd_alloc(2 * bytes);
    uint32_t *pages = vd_alloc(n_kv / PAGE * sizeof *pages);
    size_t n = n_q * group * d;
    float *q = vd_alloc(2 * n * sizeof *q), *line = vd_alloc(d * sizeof *line);
    float *scratch = vd_alloc_aligned(vd_attn_scratch(d) * sizeof *scratch, 64);
    if (kv == NULL || pages == NULL || q == NULL || line == NULL || scratch == NULL)
        exit(2);
    for (size_t p = 0; p < n_kv / PAGE; p++)
        pages[p] = (uint32_t)p;
    check_fill_floats(q, n);
    for (size_t p = 0; p < 2 * n_kv; p++) {
        check_fill_floats(line, d);
        k->store_kv(dtype, line, kv + p * row, d);
    }
    attention a = {k, many, {.q = q, .out = q + n, .n_q = n_q, .ld_q = group * d, .n_group = group,
                       .head_dim = d, .k_base = kv, .v_base = kv + bytes, .page = pages,
                       .page_stride = PAGE * row, .row_stride = row, .page_tokens = PAGE,
                       .n_kv = n_kv, .kv_dtype = dtype, .scale = 0.125f, .scratch = scratch}};
    report(name, k, bench_time_ns(run_attn, &a), 2.0 * (double)bytes,
           4.0 * (double)(n * n_kv));
    vd_free(scratch);
    vd_free(kv);
    vd_free(pages);
    vd_free(q);
    vd_free(line);
}

void bench_all(const vd_kernels *k, const bench_options *options)
{
    /* queries, heads of a group, D, positions */
    static const size_t shapes[][4] = {{1, 3, 64, 256},   {1, 3, 64, 2048},  {1, 8, 64, 2048},
                                       {1, 4, 128, 2048}, {1, 4, 256, 2048}, {2, 3, 64, 2048},
                                       {3, 3, 64, 2048},  {16, 3, 64, 2048}, {6, 8, 64, 2048},
                                       {12, 4, 128, 2048}, {12, 4, 256, 2048}};
    static const size_t prompts[][4] = {{16, 3, 64, 2048}, {64, 3, 64, 2048}, {24, 8, 64, 2048},
                                        {48, 4, 128, 2048}, {48, 4, 256, 2048}};
    static const vd_dtype types[] = {VD_DTYPE_BF16, VD_DTYPE_Q8_0, VD_DTYPE_Q4_0, VD_DTYPE_F32};
    bench_products(k, options);
    bench_small(k, options->filter);
    for (size_t i = 0; i < VD_COUNT(shapes); i++)
        bench_attn(k, options->filter, false, shapes[i][0], shapes[i][1], shapes[i][2],
                   shapes[i][3], VD_DTYPE_F16);
    for (size_t i = 0; i < VD_COUNT(prompts); i++)
        bench_attn(k, options->filter, true, prompts[i][0], prompts[i][1], prompts[i][2],
                   prompts[i][3], VD_DTYPE_F16);
    for (size_t i = 0; i < VD_COUNT(types); i++) {
        bench_attn(k, options->filter, false, 1, 3, 64, 2048, types[i]);
        bench_attn(k, options->filter, false, 16, 3, 64, 2048, types[i]);
    }
}
