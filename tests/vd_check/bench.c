/*
 * bench.c - vd_check --bench: medians of repeated runs of one entry, one thread. Time is the
 * thread's CPU time, so that other processes on the machine count less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "check.h"

enum { SAMPLES = 15, SAMPLE_NS = 1000000 };

typedef void (*bench_fn)(void *ctx);

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

/* Median time of one call in ns; a sample is as many calls as take about a millisecond. */
static double time_ns(bench_fn fn, void *ctx)
{
    double samples[SAMPLES];
    size_t n = 1;
    for (;;) {
        uint64_t start = cpu_ns();
        for (size_t i = 0; i < n; i++)
            fn(ctx);
        if (cpu_ns() - start > SAMPLE_NS / 2)
            break;
        n *= 2;
    }
    for (int s = 0; s < SAMPLES; s++) {
        uint64_t start = cpu_ns();
        for (size_t i = 0; i < n; i++)
            fn(ctx);
        samples[s] = (double)(cpu_ns() - start) / (double)n;
    }
    qsort(samples, SAMPLES, sizeof samples[0], by_size);
    return samples[SAMPLES / 2];
}

static void report(const char *name, const vd_kernels *k, double ns, double bytes, double flops)
{
    printf("%-34s %-8s %12.0f ns %8.1f GB/s %8.1f GFLOP/s\n", name, k->name, ns, bytes / ns,
           flops / ns);
    (void)fflush(stdout);
}

typedef struct product {
    const vd_kernels *k;
    vd_weight *weights;
    size_t n_weights, next;
    vd_act act;
    float *y, *scratch;
} product;

static void run_product(void *ctx)
{
    product *p = ctx;
    const vd_weight *w = &p->weights[p->next++ % p->n_weights];
    vd_linear(p->k, w, &p->act, p->y, w->n_rows, 0, w->n_rows, p->scratch);
}

static void bench_product(const vd_kernels *k, vd_precision precision, bool wide, vd_dtype dtype,
                          size_t n, size_t n_cols, size_t n_t, const char *filter,
                          size_t footprint_mb)
{
    enum { COPIES_MAX = 4096 };
    static vd_weight weights[COPIES_MAX];
    char name[100];
    size_t row_bytes = 0;
    vd_err err = {0};

    (void)snprintf(name, sizeof name, "%s %s %zux%zu T=%zu",
                   precision == VD_PRECISION_EXACT ? "rows" : wide ? "wide" : "packed",
                   vd_dtype_name(dtype), n, n_cols, n_t);
    if (strstr(name, filter) == NULL || !vd_dtype_row_bytes(dtype, n_cols, &row_bytes) ||
        (precision == VD_PRECISION_FAST && k->layout_for(dtype, n, n_cols) == 0))
        return;
    product p = {.k = k, .weights = weights};
    unsigned char *rows = vd_alloc(n * row_bytes);
    float *x = vd_alloc(n_t * n_cols * sizeof *x);
    void *act = vd_alloc_aligned(vd_act_bytes(n_t, n_cols), 64);
    p.y = vd_alloc(n_t * n * sizeof(float));
    p.scratch = vd_alloc(n_cols * sizeof(float));
    if (rows == NULL || x == NULL || act == NULL || p.y == NULL || p.scratch == NULL)
        exit(2);
    check_fill_rows(dtype, rows, n, n_cols);
    check_fill_floats(x, n_t * n_cols);
    size_t bytes = 0;
    do {
        vd_weight *w = &weights[p.n_weights++];
        if (vd_weight_prepare(k, precision, dtype, n, n_cols, rows, w, &err) != VD_OK)
            exit(2);
        bytes += w->packed_bytes;
    } while (bytes < footprint_mb << 20 && weights[0].layout != 0 && p.n_weights < COPIES_MAX);
    vd_act_bind(&p.act, act, x, n_t, n_cols, n_cols, wide);
    vd_act_quantize(k, precision, &p.act, 0, n_t);

    size_t read = weights[0].layout != 0 ? weights[0].packed_bytes : n * row_bytes;
    report(name, k, time_ns(run_product, &p), (double)read, 2.0 * (double)(n * n_cols * n_t));
    while (p.n_weights > 0)
        vd_weight_done(&weights[--p.n_weights]);
    vd_free(rows);
    vd_free(x);
    vd_free(act);
    vd_free(p.y);
    vd_free(p.scratch);
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
               {"rope pairs 4096", run_rope, 12 * N}, {"store_kv F16 4096", run_store, 6 * N}};
    check_fill_floats(xs, N);
    for (size_t i = 0; i < N; i += 2) { /* angles too: rope must not grow what it turns */
        ys[i] = 0.6f;
        ys[i + 1] = 0.8f;
    }
    for (size_t i = 0; i < VD_COUNT(all); i++)
        if (strstr(all[i].name, filter) != NULL) {
            memset(out, 0, sizeof out);
            report(all[i].name, k, time_ns(all[i].fn, (void *)k), (double)all[i].bytes, N);
        }
}

typedef struct attention {
    const vd_kernels *k;
    vd_attn args;
} attention;

static void run_attn(void *ctx)
{
    attention *a = ctx;
    a->k->attn(&a->args);
}

static void bench_attn(const vd_kernels *k, const char *filter, size_t group, size_t d, size_t n_kv,
                       vd_dtype dtype)
{
    enum { PAGE = 32 };
    char name[100];
    (void)snprintf(name, sizeof name, "attn %s group=%zu D=%zu n=%zu", vd_dtype_name(dtype), group,
                   d, n_kv);
    if (strstr(name, filter) == NULL)
        return;
    size_t row = d * (dtype == VD_DTYPE_F16 ? 2 : 4), bytes = n_kv * row;
    unsigned char *kv = vd_alloc(2 * bytes);
    uint32_t *pages = vd_alloc(n_kv / PAGE * sizeof *pages);
    float *q = vd_alloc(2 * group * d * sizeof *q), *line = vd_alloc(d * sizeof *line);
    if (kv == NULL || pages == NULL || q == NULL || line == NULL)
        exit(2);
    for (size_t p = 0; p < n_kv / PAGE; p++)
        pages[p] = (uint32_t)p;
    check_fill_floats(q, group * d);
    for (size_t p = 0; p < 2 * n_kv; p++) {
        check_fill_floats(line, d);
        k->store_kv(dtype, line, kv + p * row, d);
    }
    attention a = {k, {.q = q, .out = q + group * d, .n_group = group, .head_dim = d, .k_base = kv,
                       .v_base = kv + bytes, .page = pages, .page_stride = PAGE * row,
                       .row_stride = row, .page_tokens = PAGE, .n_kv = n_kv, .kv_dtype = dtype,
                       .scale = 0.125f}};
    report(name, k, time_ns(run_attn, &a), 2.0 * (double)bytes,
           4.0 * (double)(group * d * n_kv));
    vd_free(kv);
    vd_free(pages);
    vd_free(q);
    vd_free(line);
}

void bench_all(const vd_kernels *k, const char *filter, size_t footprint_mb)
{
    static const vd_dtype types[] = {VD_DTYPE_Q4_0, VD_DTYPE_Q4_1, VD_DTYPE_Q4_K, VD_DTYPE_Q5_0,
                                     VD_DTYPE_Q5_1, VD_DTYPE_Q5_K, VD_DTYPE_Q6_K, VD_DTYPE_Q8_0,
                                     VD_DTYPE_Q2_K, VD_DTYPE_Q3_K, VD_DTYPE_IQ4_XS,
                                     VD_DTYPE_F16,  VD_DTYPE_BF16, VD_DTYPE_F32};
    static const size_t shapes[][2] = {{2048, 2048}, {1536, 576}, {576, 1536}};
    static const size_t tokens[] = {1, 4, 128};
    for (size_t s = 0; s < VD_COUNT(shapes); s++)
        for (size_t t = 0; t < VD_COUNT(tokens); t++)
            for (size_t i = 0; i < VD_COUNT(types); i++) {
                for (int wide = 0; wide < 2; wide++)
                    bench_product(k, VD_PRECISION_FAST, wide != 0, types[i], shapes[s][0],
                                  shapes[s][1], tokens[t], filter, footprint_mb);
                bench_product(k, VD_PRECISION_EXACT, false, types[i], shapes[s][0], shapes[s][1],
                              tokens[t], filter, footprint_mb);
            }
    bench_small(k, filter);
    bench_attn(k, filter, 3, 64, 256, VD_DTYPE_F16);
    bench_attn(k, filter, 3, 64, 2048, VD_DTYPE_F16);
    bench_attn(k, filter, 3, 64, 2048, VD_DTYPE_F32);
    bench_attn(k, filter, 4, 128, 2048, VD_DTYPE_F16);
    bench_attn(k, filter, 4, 256, 2048, VD_DTYPE_F16);
}
