/* bench_product.c - the products of vd_check --bench: a table of kinds, types and shapes of weights
 * over numbers of tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "bench.h"
#include "check.h"
#include "kernels/layout.h"

static const size_t token_counts[] = {1, 4, 8, 16, 64, 512};
/* A cell that would take longer than this is left out. */
static const double longest_ns = 2e9;

typedef enum kind { ROWS, PACKED, WIDE, SPARSE, SPARSE_WIDE, N_KINDS } kind;

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

static void *take(size_t bytes)
{
    void *p = vd_alloc_aligned(bytes, 64);
    if (p == NULL)
        exit(2);
    return p;
}

/* Time of one product of n_t tokens. */
static double time_cell(product *p, vd_precision precision, bool wide, size_t n_t)
{
    size_t n = p->weights[0].n_rows, n_cols = p->weights[0].n_cols;
    float *x = take(n_t * n_cols * sizeof *x);
    void *act = take(vd_act_bytes(n_t, n_cols));
    p->y = take(n_t * n * sizeof *p->y);
    check_fill_floats(x, n_t * n_cols);
    vd_act_bind(p->k, precision, &p->act, act, x, n_t, n_cols, n_cols, wide);
    vd_act_quantize(p->k, precision, &p->act, 0, n_t);
    double ns = bench_time_ns(run_product, p);
    vd_free(x);
    vd_free(act);
    vd_free(p->y);
    return ns;
}

/* Whether the product of the last cell went through bf16 panels. */
static bool by_panel(const product *p, size_t n_t)
{
    const vd_weight *w = &p->weights[0];
    if (p->act.b == NULL || w->dtype == VD_DTYPE_F32)
        return false;
    return w->layout == VD_LAYOUT_ROWS || vd_layout_is_float(w->layout)
               ? n_t >= p->k->panel_from.rows
               : p->act.q == NULL;
}

static bool is_wide(kind what)
{
    return what == WIDE || what == SPARSE_WIDE;
}

/* Leaves `percent` of the values of Q8_0 rows; the others become zero. */
static void thin_out(unsigned char *rows, size_t n_values, unsigned percent)
{
    for (size_t i = 0; i < n_values; i++)
        if (check_random_below(100) >= percent)
            rows[i / 32 * 34 + 2 + i % 32] = 0;
}

static void time_line(product *p, const char *name, kind what, const bench_peak *peak,
                      size_t n_tokens)
{
    const vd_weight *w = &p->weights[0];
    bool packed = w->layout != 0;
    double read = (double)(packed ? w->packed_bytes : w->n_rows * w->row_bytes), ns = 0, gb = 0;
    double top = packed ? peak->int8_gops : peak->f32_gflops;
    size_t before = 0;

    printf("%-26s", name);
    for (size_t i = 0; i < VD_COUNT(token_counts); i++) {
        size_t n_t = n_tokens != 0 ? n_tokens : token_counts[i];
        if (before != 0 && ns * (double)n_t / (double)before > longest_ns) {
            printf("            -");
            continue;
        }
        ns = time_cell(p, what == ROWS ? VD_PRECISION_EXACT : VD_PRECISION_FAST, is_wide(what),
                       n_t);
        before = n_t;
        gb = i == 0 ? read / ns : gb;
        double rate = 2.0 * (double)(w->n_rows * w->n_cols * n_t) / ns;
        double most = by_panel(p, n_t) ? peak->bf16_gflops : is_wide(what) ? top / 2 : top;
        printf(" %7.1f", rate);
        if (most > 0)
            printf(" %3.0f%%", 100 * rate / most);
        else
            printf("     ");
        (void)fflush(stdout);
        if (n_tokens != 0)
            break;
    }
    printf(" %8.1f\n", gb);
}

static void bench_line(const vd_kernels *k, kind what, vd_dtype dtype, size_t n, size_t n_cols,
                       const bench_peak *peak, const bench_options *options)
{
    enum { COPIES_MAX = 4096 };
    static vd_weight weights[COPIES_MAX];
    static const char *const kinds[] = {"rows", "packed", "wide", "sparse", "sparse wide"};
    bool sparse = what == SPARSE || what == SPARSE_WIDE;
    vd_kernels table = *k;
    char name[100];
    size_t row_bytes = 0;
    vd_precision precision = what == ROWS ? VD_PRECISION_EXACT : VD_PRECISION_FAST;
    vd_err err = {0};

    (void)snprintf(name, sizeof name, "%s %s %zux%zu", kinds[what], vd_dtype_name(dtype), n,
                   n_cols);
    if (strstr(name, options->filter) == NULL || !vd_dtype_row_bytes(dtype, n_cols, &row_bytes) ||
        (what != ROWS && k->layout_for(dtype, n, n_cols) == 0 &&
         (what >= WIDE || dtype == VD_DTYPE_F32 || k->panel_from.rows == SIZE_MAX)))
        return;
    if (sparse && (dtype != VD_DTYPE_Q8_0 || k->layout_for(dtype, n, n_cols) == 0))
        return;
    table.sparse_keep = sparse ? 1 : 0;
    k = &table;
    unsigned char *rows = take(n * row_bytes);
    check_fill_rows(dtype, rows, n, n_cols);
    if (sparse)
        thin_out(rows, n * n_cols, options->keep_percent);
    product p = {.k = k, .weights = weights, .scratch = take(vd_linear_scratch_bytes(k, n_cols))};
    size_t bytes = 0;
    do {
        vd_weight *w = &weights[p.n_weights++];
        if (vd_weight_prepare(k, precision, dtype, n, n_cols, rows, w, &err) != VD_OK)
            exit(2);
        bytes += w->packed_bytes;
    } while (bytes < options->footprint_mb << 20 && weights[0].layout != 0 &&
             p.n_weights < COPIES_MAX);
    time_line(&p, name, what, peak, options->n_tokens);
    while (p.n_weights > 0)
        vd_weight_done(&weights[--p.n_weights]);
    vd_free(rows);
    vd_free(p.scratch);
}

void bench_products(const vd_kernels *k, const bench_options *options)
{
    static const vd_dtype types[] = {VD_DTYPE_Q4_0, VD_DTYPE_Q4_1, VD_DTYPE_Q4_K, VD_DTYPE_Q5_0,
                                     VD_DTYPE_Q5_1, VD_DTYPE_Q5_K, VD_DTYPE_Q6_K, VD_DTYPE_Q8_0,
                                     VD_DTYPE_Q2_K, VD_DTYPE_Q3_K, VD_DTYPE_IQ4_XS,
                                     VD_DTYPE_F16,  VD_DTYPE_BF16, VD_DTYPE_F32};
    static const size_t shapes[][2] = {{2048, 2048}, {1536, 576}, {576, 1536}};
    const size_t asked[1][2] = {{options->n_rows, options->n_cols}};
    bool one = options->n_rows != 0 && options->n_cols != 0;
    const size_t(*shape)[2] = one ? asked : shapes;
    bench_peak peak = bench_peak_of(k->name);

    printf("%s, GOP/s", k->name);
    if (peak.int8_gops > 0)
        printf(" and %% of %.1f by %s, of %.1f by f32 fma", peak.int8_gops, peak.int8_name,
               peak.f32_gflops);
    if (peak.bf16_gflops > 0)
        printf(", of %.1f by vdpbf16ps where products go through bf16 panels", peak.bf16_gflops);
    printf("\n%-26s", "");
    for (size_t i = 0; i < VD_COUNT(token_counts); i++)
        if (options->n_tokens == 0)
            printf(" %9s%-3zu", "T=", token_counts[i]);
    if (options->n_tokens != 0)
        printf(" %9s%-3zu", "T=", options->n_tokens);
    printf(" %8s\n", "GB/s");
    for (size_t s = 0; s < (one ? 1 : VD_COUNT(shapes)); s++)
        for (size_t i = 0; i < VD_COUNT(types); i++)
            for (kind what = ROWS; what < N_KINDS; what++)
                bench_line(k, what, types[i], shape[s][0], shape[s][1], &peak, options);
}
