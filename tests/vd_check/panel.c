/* panel.c - bf16 panels: rounding, unpacking of every type, and the product. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"

/* Distance of two bf16 in steps; a NaN is next to every NaN. */
static unsigned steps(uint16_t a, uint16_t b)
{
    int x = a & 0x7fff, y = b & 0x7fff;
    if (x > 0x7f80 || y > 0x7f80)
        return x > 0x7f80 && y > 0x7f80 ? 0 : 0xffff;
    x = a & 0x8000 ? -x : x;
    y = b & 0x8000 ? -y : y;
    return (unsigned)(x < y ? y - x : x - y);
}

static void one_round(const vd_kernels *k, const vd_kernels *c, size_t n, int kind)
{
    float *x = check_memory(n * sizeof *x);
    uint16_t *got = check_memory(n * sizeof *got), *want = check_memory(n * sizeof *want);
    bool same = true;

    check_now("round_row %s n=%zu kind=%d", k->name, n, kind);
    check_fill_floats(x, n);
    if (n > 1)
        x[0] = 1 + 0x1p-8f; /* a tie: the even neighbour is 1 */
    check_spoil(x, n, kind);
    k->round_row(x, got, n);
    c->round_row(x, want, n);
    for (size_t i = 0; i < n; i++) /* a subnormal may become zero */
        same = same && (got[i] == want[i] || ((got[i] & 0x7fff) == 0 && (want[i] & 0x7f80) == 0));
    check_expect(same, "bits differ");
    check_done_all("round_row");
}

static void one_unpack(const vd_kernels *k, const vd_kernels *c, vd_dtype dtype, size_t n_rows,
                       size_t n_cols, bool packed)
{
    size_t row_bytes = 0, first = 16, n = first + n_rows;
    int layout = packed ? k->layout_for(dtype, n, n_cols) : 0;
    check_now("panel_unpack %s %s rows=%zu K=%zu packed=%d", k->name, vd_dtype_name(dtype), n_rows,
              n_cols, packed);
    if (packed != (layout != 0) || !vd_dtype_row_bytes(dtype, n_cols, &row_bytes))
        return;
    size_t n_padded = (n_cols + VD_PANEL_COLS - 1) / VD_PANEL_COLS * VD_PANEL_COLS;
    size_t n_values = (n_rows + VD_PANEL_GROUP - 1) / VD_PANEL_GROUP * VD_PANEL_GROUP * n_padded;
    unsigned char *rows = check_memory(n * row_bytes);
    uint16_t *got = check_memory_aligned(n_values * sizeof *got);
    uint16_t *want = check_memory_aligned(n_values * sizeof *want);
    vd_weight weight = {.dtype = dtype, .n_rows = n, .n_cols = n_cols, .rows = rows,
                        .row_bytes = row_bytes, .layout = layout};
    check_fill_rows(dtype, rows, n, n_cols);
    if (packed) {
        weight.packed = check_memory_aligned(k->packed_bytes(layout, n, n_cols));
        check_expect(k->pack(layout, dtype, rows, n, n_cols, weight.packed), "cannot be packed");
    }
    k->panel_unpack(&weight, first, n_rows, got);
    c->panel_unpack(&weight, first, n_rows, want);

    /* d * q + m is rounded once or twice: seldom to another bf16, and near zero by the size of the
     * two terms. */
    double largest = 0;
    size_t n_far = 0, n_other = 0;
    for (size_t i = 0; i < n_values; i++)
        if (isfinite(vd_bf16_to_f32(want[i])))
            largest = fmax(largest, fabs((double)vd_bf16_to_f32(want[i])));
    for (size_t i = 0; i < n_values; i++) {
        double error = fabs((double)vd_bf16_to_f32(got[i]) - (double)vd_bf16_to_f32(want[i]));
        n_other += steps(got[i], want[i]) != 0; /* 0 and -0 are one */
        n_far += steps(got[i], want[i]) > 1 && !(error <= 1e-6 * largest);
    }
    check_expect(n_far == 0, "%zu of %zu values are more than a step off", n_far, n_values);
    check_expect(n_other * 1000 <= n_values + 1000, "%zu of %zu values differ", n_other, n_values);
    check_done_all("panel_unpack");
}

/* The last row of a has no gap behind it, and y none either. */
static void one_product(const vd_kernels *k, const vd_kernels *c, size_t n_t, size_t n_rows,
                        size_t n_cols, int kind)
{
    size_t ld_a = n_cols + 32 * (n_t % 2), ld_y = n_rows + n_t % 5;
    size_t n_a = (n_t - 1) * ld_a + n_cols, n_y = (n_t - 1) * ld_y + n_rows;
    size_t n_b = (n_rows + VD_PANEL_GROUP - 1) / VD_PANEL_GROUP * VD_PANEL_GROUP * n_cols;
    float *x = check_memory((n_a + n_b) * sizeof *x);
    uint16_t *a = check_memory(n_a * sizeof *a), *b = check_memory_aligned(n_b * sizeof *b);
    float *got = check_memory(n_y * sizeof *got), *want = check_memory(n_y * sizeof *want);

    check_now("panel_product %s T=%zu rows=%zu K=%zu kind=%d", k->name, n_t, n_rows, n_cols, kind);
    check_fill_floats(x, n_a + n_b);
    check_spoil(x, n_cols, kind);
    c->round_row(x, a, n_a);
    c->round_row(x + n_a, b, n_b);
    vd_panel args = {.a = a, .b = b, .y = got, .ld_a = ld_a, .ld_y = ld_y, .n_tokens = n_t,
                     .n_rows = n_rows, .n_cols = n_cols};
    if (n_t % 3 == 0) { /* what is only fetched need not be there */
        args.ahead = b;
        args.ahead_bytes = n_b * sizeof *b + 64 * n_t;
    }
    k->panel_product(&args);
    args.y = want;
    c->panel_product(&args);
    bool outside = false;
    for (size_t t = 0; t + 1 < n_t; t++)
        outside = outside || !check_untouched(got + t * ld_y + n_rows, (ld_y - n_rows) * 4);
    check_expect(!outside, "wrote outside its rows");
    size_t n_bad = 0;
    for (size_t t = 0; t < n_t; t++) {
        bool spoilt = t == 0 && (kind == KIND_DENORMAL || kind == KIND_ZERO);
        double limit = spoilt ? 1e-60 : 1e-10 * (double)n_cols;
        for (size_t r = 0; r < n_rows; r++) {
            double g = (double)got[t * ld_y + r], w = (double)want[t * ld_y + r];
            double error = (g - w) * (g - w);
            n_bad += isfinite(w) ? !(error <= limit) : isfinite(g);
        }
    }
    check_expect(n_bad == 0, "%zu of %zu sums are off", n_bad, n_t * n_rows);
    check_done_all("panel_product");
}

/* Without a panel: what a panel and its product give, where both are of one level bit by bit. */
static void one_direct(const vd_kernels *k, const vd_kernels *c, vd_dtype dtype, size_t n_t,
                       size_t n, size_t n_cols, int kind)
{
    size_t row_bytes = 0, ld_a = n_cols + 32 * (n_t % 2), ld_y = n + n_t % 5;
    size_t begin = n > 16 ? 16 : 0, n_a = (n_t - 1) * ld_a + n_cols, n_y = (n_t - 1) * ld_y + n;
    bool same_level = strcmp(k->name, "avx512-bf16") == 0;

    check_now("panel_direct %s %s T=%zu N=%zu K=%zu kind=%d", k->name, vd_dtype_name(dtype), n_t, n,
              n_cols, kind);
    if (k->panel_direct == NULL || !vd_dtype_row_bytes(dtype, n_cols, &row_bytes))
        return;
    int layout = k->layout_for(dtype, n, n_cols);
    unsigned char *rows = check_memory(n * row_bytes);
    float *x = check_memory(n_a * sizeof *x);
    uint16_t *a = check_memory(n_a * sizeof *a);
    uint16_t *panel = check_memory_aligned(VD_PANEL_ROWS * n_cols * sizeof *panel);
    float *got = check_memory(n_y * sizeof *got), *want = check_memory(n_y * sizeof *want);
    vd_weight weight = {.dtype = dtype, .n_rows = n, .n_cols = n_cols, .rows = rows,
                        .row_bytes = row_bytes, .layout = layout,
                        .packed = check_memory_aligned(k->packed_bytes(layout, n, n_cols))};
    check_fill_rows(dtype, rows, n, n_cols);
    check_expect(k->pack(layout, dtype, rows, n, n_cols, weight.packed), "cannot be packed");
    check_fill_floats(x, n_a);
    check_spoil(x, n_cols, kind);
    c->round_row(x, a, n_a);
    vd_panel args = {.a = a, .y = got, .ld_a = ld_a, .ld_y = ld_y, .n_tokens = n_t,
                     .n_cols = n_cols};
    k->panel_direct(&weight, &args, begin, n, panel);
    const vd_kernels *by = same_level ? k : c;
    args.b = panel;
    for (size_t r = begin; r < n; r += VD_PANEL_ROWS) {
        args.n_rows = n - r < VD_PANEL_ROWS ? n - r : VD_PANEL_ROWS;
        args.y = want + r;
        by->panel_unpack(&weight, r, args.n_rows, panel);
        by->panel_product(&args);
    }
    size_t n_bad = 0;
    bool outside = false;
    for (size_t t = 0; t < n_t; t++) {
        outside = outside || !check_untouched(got + t * ld_y, begin * sizeof *got) ||
                  (t + 1 < n_t && !check_untouched(got + t * ld_y + n, (ld_y - n) * sizeof *got));
        for (size_t r = t * ld_y + begin; r < t * ld_y + n; r++) {
            double error = (double)got[r] - (double)want[r];
            bool same = memcmp((const char *)&got[r], (const char *)&want[r], sizeof *got) == 0;
            n_bad += !isfinite(want[r]) ? isfinite(got[r])
                     : same_level       ? !same
                                        : !(error * error <= 1e-10 * (double)n_cols);
        }
    }
    check_expect(!outside, "wrote outside its rows");
    check_expect(n_bad == 0, "%zu of %zu sums are off", n_bad, n_t * (n - begin));
    check_done_all("panel_direct");
}

void check_panel(const vd_kernels *k)
{
    static const vd_dtype types[] = {
        VD_DTYPE_F32,    VD_DTYPE_F16,     VD_DTYPE_BF16,   VD_DTYPE_Q4_0,   VD_DTYPE_Q4_1,
        VD_DTYPE_Q5_0,   VD_DTYPE_Q5_1,    VD_DTYPE_Q8_0,   VD_DTYPE_Q4_K,   VD_DTYPE_Q5_K,
        VD_DTYPE_Q6_K,   VD_DTYPE_Q2_K,    VD_DTYPE_Q3_K,   VD_DTYPE_IQ4_NL, VD_DTYPE_IQ4_XS,
        VD_DTYPE_IQ3_S,  VD_DTYPE_IQ2_XXS, VD_DTYPE_IQ1_M,  VD_DTYPE_MXFP4,  VD_DTYPE_NVFP4,
        VD_DTYPE_TQ1_0,  VD_DTYPE_TQ2_0,   VD_DTYPE_Q1_0,   VD_DTYPE_Q2_0};
    static const size_t heights[] = {1, 3, 15, 16, 17, 31, 32};
    static const size_t widths[] = {1, 31, 32, 33, 64, 96, 100, 256, 288, 512, 768, 1024};
    static const size_t lengths[] = {0, 32, 64, 96, 512, 544, 1056};
    const vd_kernels *c = vd_kernels_level("c");
    for (int kind = 0; kind < KIND_LIMIT; kind++)
        for (size_t n = 0; n <= 70; n++)
            one_round(k, c, n, kind);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++)
            for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
                for (int packed = 0; packed < 2; packed++)
                    if (widths[w] % vd_dtype_get(types[i])->block == 0)
                        one_unpack(k, c, types[i], heights[h], widths[w], packed != 0);
    for (size_t n_t = 1; n_t <= 70; n_t++)
        for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++)
            if (check_this(h, n_t, 3))
                one_product(k, c, n_t, heights[h], lengths[check_random_below(VD_COUNT(lengths))],
                            (int)check_random_below(KIND_LIMIT));
    for (size_t n_t = 1; n_t <= VD_PANEL_DIRECT; n_t++)
        for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++)
            for (size_t f = 0; f < 2; f++)
                if (check_this(h, n_t + f, 2))
                    one_direct(k, c, f != 0 ? VD_DTYPE_F16 : VD_DTYPE_BF16, n_t,
                               heights[h] + 16 * f, lengths[1 + check_random_below(6)],
                               (int)check_random_below(KIND_LIMIT));
    for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++)
        one_product(k, c, 37, heights[h], 0, KIND_PLAIN);
    one_product(k, c, 256, 32, 1056, KIND_PLAIN);
    one_product(k, c, 307, 31, 544, KIND_PLAIN);
}
