/*
 * linear.c - the products: dot_row, linear_rows, and linear_packed.
 *
 * The packed product is held against the plain-C one on the same packed bytes and the same int8
 * activations (tight), and that one against the exact product of the decoded rows with the
 * decoded activations (which shows that packing loses nothing).
 */
#include <math.h>
#include <string.h>

#include "check.h"
#include "kernels/sparse.h"

static const vd_dtype types[] = {VD_DTYPE_F32,  VD_DTYPE_F16,  VD_DTYPE_BF16, VD_DTYPE_Q4_0,
                                 VD_DTYPE_Q4_1, VD_DTYPE_Q5_0, VD_DTYPE_Q5_1, VD_DTYPE_Q8_0,
                                 VD_DTYPE_Q4_K, VD_DTYPE_Q5_K, VD_DTYPE_Q6_K, VD_DTYPE_Q2_K,
                                 VD_DTYPE_Q3_K, VD_DTYPE_IQ4_NL, VD_DTYPE_IQ4_XS,
                                 VD_DTYPE_IQ3_XXS, VD_DTYPE_IQ3_S, VD_DTYPE_IQ2_XXS,
                                 VD_DTYPE_IQ2_XS, VD_DTYPE_IQ2_S, VD_DTYPE_IQ1_S, VD_DTYPE_IQ1_M,
                                 VD_DTYPE_MXFP4, VD_DTYPE_NVFP4, VD_DTYPE_TQ1_0, VD_DTYPE_TQ2_0,
                                 VD_DTYPE_Q1_0, VD_DTYPE_Q2_0};
enum { N_TYPES = sizeof types / sizeof types[0] };
/* Of squared errors, over the squared sums of |x w|. */
static const double LIMIT = 1e-12;

/* The parts of y outside rows [begin, end) must be left alone. */
static bool only_between(const float *y, size_t n_t, size_t ld, size_t n, size_t begin, size_t end)
{
    bool ok = true;
    for (size_t t = 0; t < n_t; t++) {
        const float *line = y + t * ld;
        size_t width = t + 1 < n_t ? ld : n; /* the last line has no gap behind it */
        ok = ok && check_untouched(line, begin * sizeof *line);
        ok = ok && check_untouched(line + end, (width - end) * sizeof *line);
    }
    return ok;
}

static float *new_y(size_t n_t, size_t ld, size_t n)
{
    return check_memory(((n_t - 1) * ld + n) * sizeof(float));
}

/* The sum of the squares of all sums of |x w|, rows [begin, end) of the weight: outputs whose terms
 * cancel are held to the size of their terms. Values that are not finite count nothing. */
static double energy_of_terms(vd_dtype dtype, const unsigned char *rows, size_t begin, size_t end,
                              size_t n_cols, const float *x, size_t ld_x, size_t n_t,
                              float *scratch)
{
    double energy = 0;
    size_t row_bytes = 0;
    if (n_cols == 0 || !vd_dtype_row_bytes(dtype, n_cols, &row_bytes))
        return 0;
    for (size_t r = begin; r < end; r++) {
        vd_dtype_decode(dtype, rows + r * row_bytes, scratch, n_cols);
        for (size_t t = 0; t < n_t; t++) {
            double terms = 0;
            for (size_t i = 0; i < n_cols; i++)
                if (isfinite(x[t * ld_x + i]))
                    terms += fabs((double)x[t * ld_x + i] * (double)scratch[i]);
            energy += terms * terms;
        }
    }
    return energy;
}

static void compare(const char *what, const float *got, const float *want, size_t n_t, size_t ld,
                    size_t begin, size_t end, double energy, double limit)
{
    float *flat[2] = {check_memory(n_t * (end - begin) * 4), check_memory(n_t * (end - begin) * 4)};
    for (size_t t = 0; t < n_t; t++) {
        memcpy(flat[0] + t * (end - begin), got + t * ld + begin, (end - begin) * sizeof *got);
        memcpy(flat[1] + t * (end - begin), want + t * ld + begin, (end - begin) * sizeof *want);
    }
    check_nmse(what, flat[0], flat[1], n_t * (end - begin), energy, limit);
}

static void one_rows(const vd_kernels *k, vd_dtype dtype, size_t n, size_t n_cols, size_t n_t,
                     int kind)
{
    const vd_kernels *c = vd_kernels_level("c");
    size_t row_bytes = 0, ld_x = n_cols + n_t % 3, ld_y = n + 5, begin = n > 16 ? 16 : 0;

    check_now("linear_rows %s %s N=%zu K=%zu T=%zu kind=%d", k->name, vd_dtype_name(dtype), n,
              n_cols, n_t, kind);
    if (!vd_dtype_row_bytes(dtype, n_cols, &row_bytes))
        return;
    unsigned char *rows = check_memory(n * row_bytes);
    float *x = check_memory(((n_t - 1) * ld_x + n_cols) * sizeof *x);
    float *scratch = check_memory(n_cols * sizeof *scratch);
    float *got = new_y(n_t, ld_y, n), *want = new_y(n_t, ld_y, n);
    check_fill_rows(dtype, rows, n, n_cols);
    check_fill_floats(x, (n_t - 1) * ld_x + n_cols);
    check_spoil(x, n_cols, kind);
    vd_weight weight = {.dtype = dtype, .n_rows = n, .n_cols = n_cols, .rows = rows,
                        .row_bytes = row_bytes};
    vd_act act = {.x = x, .n_rows = n_t, .n_cols = n_cols, .ld_x = ld_x};
    k->linear_rows(&weight, &act, got, ld_y, begin, n, scratch);
    c->linear_rows(&weight, &act, want, ld_y, begin, n, scratch);
    check_expect(only_between(got, n_t, ld_y, n, begin, n), "wrote outside its rows");
    double energy = energy_of_terms(dtype, rows, begin, n, n_cols, x, ld_x, n_t, scratch);
    compare("linear_rows", got, want, n_t, ld_y, begin, n, energy, LIMIT);

    float dots[2][16];
    size_t n_dots = n < 16 ? n : 16;
    for (size_t i = 0; i < n_dots; i++) {
        dots[0][i] = k->dot_row(dtype, rows + i * row_bytes, x, n_cols, scratch);
        dots[1][i] = c->dot_row(dtype, rows + i * row_bytes, x, n_cols, scratch);
    }
    energy = energy_of_terms(dtype, rows, 0, n_dots, n_cols, x, ld_x, 1, scratch);
    check_nmse("dot_row", dots[0], dots[1], n_dots, energy, LIMIT);
    check_done_all("linear_rows");
}

/* The lowest level of this machine with packed products; c-packed where there is none. */
static const vd_kernels *lowest_packed(void)
{
    static const char *const names[] = {"avx2", "neon"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (vd_kernels_level(names[i]) != NULL)
            return vd_kernels_level(names[i]);
    return vd_kernels_level("c-packed");
}

/* Bit by bit, but that NaNs are all one. */
static bool same_floats(const float *a, const float *b, size_t n_t, size_t ld, size_t begin,
                        size_t end)
{
    for (size_t t = 0; t < n_t; t++)
        for (size_t i = t * ld + begin; i < t * ld + end; i++)
            if (memcmp((const char *)&a[i], (const char *)&b[i], sizeof a[i]) != 0 &&
                !(isnan(a[i]) && isnan(b[i])))
                return false;
    return true;
}

/* Activations as the table's own quantize_row makes them, in guarded memory. */
static vd_act quantized(const vd_kernels *k, const float *x, size_t n_t, size_t n_cols, bool wide)
{
    size_t n_blocks = n_cols / 32;
    vd_act act = {.x = x, .n_rows = n_t, .n_cols = n_cols, .ld_x = n_cols,
                  .q = check_memory(n_t * n_cols),
                  .q_low = wide ? check_memory(n_t * n_cols) : NULL,
                  .scale = check_memory(n_t * n_blocks * sizeof(float)),
                  .sum = check_memory(n_t * n_blocks * sizeof(float)),
                  .neg_sum = check_memory(n_t * n_blocks * 2 * sizeof(int32_t))};
    vd_act_quantize(k, VD_PRECISION_FAST, &act, 0, n_t);
    return act;
}

static void one_packed(const vd_kernels *k, vd_dtype dtype, size_t n, size_t n_cols, size_t n_t,
                       int kind)
{
    const vd_kernels *c = vd_kernels_level("c-packed");
    size_t row_bytes = 0, ld_y = n + 3, begin = n > 16 ? 16 : 0;
    int layout = k->layout_for(dtype, n, n_cols);

    bool wide = check_random_below(2) != 0;
    check_now("linear_packed %s %s N=%zu K=%zu T=%zu kind=%d wide=%d", k->name,
              vd_dtype_name(dtype), n, n_cols, n_t, kind, wide);
    if (layout == 0 || !vd_dtype_row_bytes(dtype, n_cols, &row_bytes))
        return;
    unsigned char *rows = check_memory(n * row_bytes);
    void *packed = check_memory_aligned(k->packed_bytes(layout, n, n_cols));
    float *x = check_memory(n_t * n_cols * sizeof *x);
    float *scratch = check_memory(n_cols * sizeof *scratch);
    float *got = new_y(n_t, ld_y, n), *want = new_y(n_t, ld_y, n), *exact = new_y(n_t, ld_y, n);
    float *got_lowest = new_y(n_t, ld_y, n);
    check_fill_rows(dtype, rows, n, n_cols);
    check_fill_floats(x, n_t * n_cols);
    check_spoil(x, n_cols, kind);
    check_expect(k->pack(layout, dtype, rows, n, n_cols, packed), "cannot be packed");
    vd_act act = quantized(k, x, n_t, n_cols, wide);
    k->linear_packed(layout, packed, n, n_cols, &act, got, ld_y, begin, n);
    check_expect(only_between(got, n_t, ld_y, n, begin, n), "wrote outside its rows");
    c->linear_packed(layout, packed, n, n_cols, &act, want, ld_y, begin, n);
    double energy = energy_of_terms(dtype, rows, begin, n, n_cols, x, n_cols, n_t, scratch);
    compare("packed against plain C", got, want, n_t, ld_y, begin, n, energy, LIMIT);
    lowest_packed()->linear_packed(layout, packed, n, n_cols, &act, got_lowest, ld_y, begin, n);
    check_expect(k == c || same_floats(got, got_lowest, n_t, ld_y, begin, n),
                 "the bits are not those of %s", lowest_packed()->name);

    bool as_it_is = dtype == VD_DTYPE_F16 || dtype == VD_DTYPE_BF16;
    for (size_t i = 0; i < n_t * n_cols && !as_it_is; i++) /* what the int8 stand for */
        x[i] = act.scale[i / 32] * (float)(wide ? 256 * act.q[i] + act.q_low[i] : act.q[i]);
    vd_weight weight = {.dtype = dtype, .n_rows = n, .n_cols = n_cols, .rows = rows,
                        .row_bytes = row_bytes};
    c->linear_rows(&weight, &act, exact, ld_y, begin, n, scratch);
    compare("packed against decoded rows", want, exact, n_t, ld_y, begin, n, energy, LIMIT);
    check_done_all("linear_packed");
}

/* Rows of Q8_0 of which a share `keep` is not zero. */
static void fill_sparse_rows(unsigned char *rows, size_t n, size_t n_cols, unsigned percent)
{
    check_fill_rows(VD_DTYPE_Q8_0, rows, n, n_cols);
    for (size_t i = 0; i < n * n_cols; i++) {
        unsigned char *q = rows + i / 32 * 34 + 2 + i % 32;
        if (check_random_below(100) >= percent)
            *q = 0;
        else if (*q == 0)
            *q = 1;
    }
}

/* A sparse weight is its dense form: the same bytes once expanded, products of the same bits. */
static void one_sparse(const vd_kernels *k, size_t n, size_t n_cols, size_t n_t, unsigned percent,
                       int kind)
{
    size_t ld_y = n + 3, begin = n > 16 ? 16 : 0, row_bytes = n_cols / 32 * 34;
    size_t stride = vd_sparse_dense_bytes(n_cols), n_groups = (n + 15) / 16;
    bool wide = check_random_below(2) != 0;
    check_now("sparse %s N=%zu K=%zu T=%zu keep=%u%% kind=%d wide=%d", k->name, n, n_cols, n_t,
              percent, kind, wide);
    unsigned char *rows = check_memory(n * row_bytes);
    fill_sparse_rows(rows, n, n_cols, percent);
    size_t bytes = vd_sparse_bytes(VD_DTYPE_Q8_0, rows, n, n_cols);
    size_t dense_bytes = vd_layout_bytes(VD_LAYOUT_Q8, n, n_cols);
    unsigned char *packed = check_memory_aligned(bytes);
    unsigned char *dense = check_memory_aligned(dense_bytes);
    unsigned char *group = check_memory_aligned(stride);
    vd_sparse_pack(k, VD_DTYPE_Q8_0, rows, n, n_cols, packed);
    unsigned char *plain = check_memory_aligned(bytes);
    vd_sparse_pack(vd_kernels_level("c"), VD_DTYPE_Q8_0, rows, n, n_cols, plain);
    check_expect(memcmp(packed, plain, bytes) == 0, "not packed as plain C does");
    vd_layout_pack(VD_LAYOUT_Q8, VD_DTYPE_Q8_0, rows, n, n_cols, dense);
    for (size_t g = 0; g < n_groups; g++) {
        memset(group, 0, stride);
        k->sparse_expand(vd_sparse_group(packed, g), n_cols, group);
        size_t left = n - 16 * g;
        bool empty = true;
        for (size_t i = 0; left < 16 && i < n_cols / 32; i++) /* rows beyond n: 0 there, 128 here */
            for (size_t q = 0; q < 8 * 64; q++)
                if (q % 64 / 4 >= left) {
                    unsigned char *at = group + vd_layout_q_at(&vd_layout_infos[VD_LAYOUT_Q8], i);
                    empty = empty && at[q] == 128;
                    at[q] = 0;
                }
        check_expect(empty, "a row that is not there has a value");
        check_expect(memcmp(group, dense + g * stride, stride) == 0,
                     "row group %zu does not expand to its dense form", g);
    }
    if (n_t == 0 || k->layout_for(VD_DTYPE_Q8_0, n, n_cols) == 0) {
        check_done_all("sparse_expand");
        return;
    }
    float *x = check_memory(n_t * n_cols * sizeof *x);
    void *scratch = check_memory_aligned(vd_linear_scratch_bytes(k, n_cols) +
                                         vd_sparse_scratch_bytes(n_cols));
    float *got = new_y(n_t, ld_y, n), *want = new_y(n_t, ld_y, n);
    check_fill_floats(x, n_t * n_cols);
    check_spoil(x, n_cols, kind);
    vd_act act = quantized(k, x, n_t, n_cols, wide);
    vd_weight weight = {.dtype = VD_DTYPE_Q8_0, .n_rows = n, .n_cols = n_cols, .rows = rows,
                        .row_bytes = row_bytes, .layout = VD_LAYOUT_SPARSE, .packed = packed,
                        .packed_bytes = bytes};
    vd_linear(k, &weight, &act, got, ld_y, begin, n, scratch);
    check_expect(only_between(got, n_t, ld_y, n, begin, n), "wrote outside its rows");
    k->linear_packed(VD_LAYOUT_Q8, dense, n, n_cols, &act, want, ld_y, begin, n);
    check_expect(same_floats(got, want, n_t, ld_y, begin, n), "the bits are not those of dense");
    check_done_all("sparse");
}

void check_sparse(const vd_kernels *k)
{
    static const size_t heights[] = {1, 15, 16, 17, 33, 48, 150}, blocks[] = {1, 2, 3, 8, 18, 48};
    static const unsigned percents[] = {0, 1, 30, 50, 70, 100};
    for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++)
        for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++)
            for (size_t p = 0; p < sizeof percents / sizeof percents[0]; p++)
                if (check_this(p, h + b, 3))
                    one_sparse(k, heights[h], 32 * blocks[b],
                               h % 2 ? (h + b + p) % 4 : check_random_below(20), percents[p],
                               (int)(p % 2 ? 0 : check_random_below(KIND_LIMIT)));
    one_sparse(k, 33, 7680, 9, 50, KIND_PLAIN); /* more columns than linear_many takes at a time */
}

void check_linear_rows(const vd_kernels *k)
{
    static const size_t odd[] = {0, 1, 7, 15, 17, 64, 100, 1023, 1025, 2100};
    static const size_t heights[] = {1, 2, 3, 4, 5, 17, 21};
    for (size_t i = 0; i < N_TYPES; i++)
        for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++) {
            size_t block = vd_dtype_get(types[i])->block;
            for (size_t w = 0; w < sizeof odd / sizeof odd[0]; w++) {
                size_t n_cols = block == 1 ? odd[w] : block * (w % (1280 / block + 1));
                size_t n_t = 1 + check_random_below(9);
                one_rows(k, types[i], heights[h], n_cols, n_t, w % 4 == 3 ? KIND_NAN : KIND_PLAIN);
            }
        }
}

/* Every number of tokens that a batch or the rows of an expert may have before panels take over. */
static void check_many_tokens(const vd_kernels *k)
{
    static const size_t heights[] = {16, 17, 33}, blocks[] = {1, 2, 5, 8, 9, 16, 17, 35};
    for (size_t i = 0; i < N_TYPES; i++)
        for (size_t n_t = 1; n_t <= 50; n_t++) {
            if (!check_this(n_t, i, 3))
                continue;
            size_t block = vd_dtype_get(types[i])->block;
            size_t n_cols = 32 * blocks[check_random_below(n_t % 8 == 0 ? 8 : 5)];
            n_cols = (n_cols + block - 1) / block * block;
            one_packed(k, types[i], heights[n_t % 3], n_cols, n_t,
                       n_t % 4 == 1 ? (int)check_random_below(KIND_LIMIT) : KIND_PLAIN);
        }
    /* More columns than any level takes at a time. */
    static const vd_dtype long_rows[] = {VD_DTYPE_Q8_0, VD_DTYPE_Q4_K, VD_DTYPE_Q6_K,
                                         VD_DTYPE_Q2_K};
    for (size_t i = 0; i < sizeof long_rows / sizeof long_rows[0]; i++)
        if (check_this(i, 1, 2))
            one_packed(k, long_rows[i], 17, 4608, 48, KIND_PLAIN);
}

void check_linear_packed(const vd_kernels *k)
{
    static const size_t heights[] = {1, 7, 8, 9, 15, 16, 17, 24, 25, 31, 33, 48};
    static const size_t blocks[] = {1, 2, 3, 8, 18, 48};
    for (size_t i = 0; i < N_TYPES; i++)
        for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++)
            for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
                size_t n_cols = 32 * blocks[b];
                if (!check_this(b, h + i, 2))
                    continue;
                if (n_cols % vd_dtype_get(types[i])->block != 0)
                    n_cols = 256 * (1 + b / 2);
                size_t n_t = h % 3 ? 1 + (h + b) % 9 : 1 + check_random_below(20);
                one_packed(k, types[i], heights[h], n_cols, n_t,
                           (int)(b % 2 ? 0 : check_random_below(KIND_LIMIT)));
            }
    check_many_tokens(k);
}
