/* attn.c - attention over paged keys and values. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "check.h"

typedef struct shape {
    size_t n_q, n_group, head_dim, page_tokens, window, n_kv, row_gap;
    bool causal;
    vd_dtype kv_dtype;
    int kind;
    float softcap;
} shape;

/* many: by attn_many, which rounds what it multiplies by up to 2^-9 of each. So a logit's error
 * grows with its size, scale * sqrt(D) here, and a weight's with it: of 1,463 blocks the worst was
 * at two fifths of the limit. */
static void one(const vd_kernels *k, const vd_kernels *c, shape s, bool many)
{
    size_t row_bytes = 0;
    (void)vd_dtype_row_bytes((uint32_t)s.kv_dtype, s.head_dim, &row_bytes);
    size_t n_pages = (s.n_kv + s.page_tokens - 1) / s.page_tokens;
    size_t row = row_bytes + s.row_gap, page = s.page_tokens * row + 64;
    size_t kv_bytes = n_pages * page - 64 - s.row_gap;
    unsigned char *kv[2] = {check_memory(kv_bytes), check_memory(kv_bytes)};
    uint32_t *pages = check_memory(n_pages * sizeof *pages);
    size_t ld_q = s.n_group * s.head_dim + s.row_gap, n_q = s.n_q * ld_q - s.row_gap;
    float *q = check_memory(n_q * sizeof *q), *got = check_memory(n_q * sizeof *got);
    float *want = check_memory(n_q * sizeof *want), *line = check_memory(s.head_dim * 4);
    float *scratch = check_memory(vd_attn_scratch(s.head_dim) * sizeof *scratch);

    check_now("attn%s %s n_q=%zu group=%zu D=%zu page=%zu n_kv=%zu window=%zu%s %s kind=%d "
              "softcap=%g",
              many ? "_many" : "", k->name, s.n_q, s.n_group, s.head_dim, s.page_tokens, s.n_kv,
              s.window, s.causal ? " causal" : "", vd_dtype_name((uint32_t)s.kv_dtype), s.kind,
              (double)s.softcap);
    for (size_t p = 0; p < n_pages; p++) /* in a random order of pages */
        pages[p] = (uint32_t)p;
    for (size_t p = n_pages; p > 1; p--) {
        size_t other = check_random_below(p);
        uint32_t swap = pages[p - 1];
        pages[p - 1] = pages[other];
        pages[other] = swap;
    }
    check_fill_floats(q, n_q);
    check_spoil(q, n_q, s.kind);
    for (size_t side = 0; side < 2; side++)
        for (size_t p = 0; p < n_pages * s.page_tokens; p++) {
            check_fill_floats(line, s.head_dim);
            c->store_kv(s.kv_dtype, line, kv[side] + p / s.page_tokens * page +
                        p % s.page_tokens * row, s.head_dim);
        }
    vd_attn args = {.q = q, .out = got, .n_q = s.n_q, .ld_q = ld_q, .n_group = s.n_group,
                    .head_dim = s.head_dim, .k_base = kv[0], .v_base = kv[1], .page = pages,
                    .page_stride = page, .row_stride = row, .page_tokens = s.page_tokens,
                    .n_kv = s.n_kv, .causal = s.causal, .window = s.window,
                    .kv_dtype = s.kv_dtype, .scale = 0.25f, .softcap = s.softcap,
                    .scratch = scratch};
    memset(got, 0, n_q * sizeof *got); /* what lies between the rows */
    memset(want, 0, n_q * sizeof *want);
    memset(scratch, 0xff, vd_attn_scratch(s.head_dim) * sizeof *scratch);
    (many ? k->attn_many : k->attn)(&args);
    args.out = want;
    c->attn(&args);
    if (many && s.kind == KIND_NAN)
        check_close("attn_many", got, want, n_q, 0.1, 0.1);
    else if (many)
        check_nmse("attn_many", got, want, n_q, 0,
                   5e-5 * (1 + (double)s.head_dim * (double)args.scale * (double)args.scale / 4));
    else if (s.kind == KIND_NAN)
        check_close("attn", got, want, n_q, 1e-4, 1e-5);
    else
        check_nmse("attn", got, want, n_q, 0, 1e-10); /* logits of f32: 1e-6 of a weight */
    check_done_all("attn");
}

/* A block of N queries, of `group` heads, gives each of them the bits that it has in another block,
 * or alone. */
static void same_in_any_block(const vd_kernels *k, vd_dtype dtype, size_t group,
                              void (*attn)(const vd_attn *args))
{
    enum { N = 48, D = 96, AT = 100, PAGE = 16, N_PAGES = (AT + N + PAGE - 1) / PAGE };
    static const size_t sizes[] = {1, 8, 2, 13, 1, 9, 7, 7}; /* N in all */
    static const size_t few[] = {1, 2, 1, 2};                /* N / 8 */
    const size_t *size = group == 1 ? sizes : few;
    size_t row = 0, n_sizes = group == 1 ? VD_COUNT(sizes) : VD_COUNT(few);
    (void)vd_dtype_row_bytes((uint32_t)dtype, D, &row);
    size_t kv_bytes = N_PAGES * PAGE * row;
    unsigned char *keys = check_memory(kv_bytes), *values = check_memory(kv_bytes);
    float *q = check_memory(N * D * sizeof *q), *whole = check_memory(N * D * sizeof *q);
    float *parts = check_memory(N * D * sizeof *q);
    float *scratch = check_memory(vd_attn_scratch(D) * sizeof *scratch);
    uint32_t pages[N_PAGES];
    check_now("attn %s %s in blocks, group=%zu", k->name, vd_dtype_name((uint32_t)dtype), group);
    for (uint32_t p = 0; p < N_PAGES; p++)
        pages[p] = N_PAGES - 1 - p;
    check_fill_floats(q, N * D);
    check_fill_rows(dtype, keys, N_PAGES * PAGE, D);
    check_fill_rows(dtype, values, N_PAGES * PAGE, D);
    for (size_t window = 0; window <= 60; window += 30) {
        vd_attn args = {.q = q, .out = whole, .n_q = N / group, .ld_q = group * D,
                        .n_group = group, .head_dim = D,
                        .k_base = keys, .v_base = values, .page = pages,
                        .page_stride = PAGE * row, .row_stride = row, .page_tokens = PAGE,
                        .n_kv = AT + N / group, .causal = true, .window = window,
                        .kv_dtype = dtype, .scale = 0.5f, .scratch = scratch};
        attn(&args);
        for (size_t b = 0, i = 0; b < n_sizes; i += size[b++]) {
            args.n_q = size[b];
            args.q = q + i * group * D;
            args.out = parts + i * group * D;
            args.n_kv = AT + i + size[b];
            attn(&args);
        }
        check_expect(memcmp((const char *)whole, (const char *)parts, N * D * sizeof *whole) == 0,
                     "attn: a query's result depends on its block");
    }
    check_done_all("attn");
}

static void check_many(const vd_kernels *k, const vd_kernels *c)
{
    static const size_t dims[] = {8, 15, 24, 64, 72, 96, 128, 256};
    static const size_t lengths[] = {1, 2, 33, 64, 65, 150, 200};
    static const size_t groups[] = {1, 2, 3, 4, 5, 7, 71};
    static const vd_dtype types[] = {VD_DTYPE_F16, VD_DTYPE_BF16, VD_DTYPE_Q8_0, VD_DTYPE_Q4_0,
                                     VD_DTYPE_F32};
    for (size_t d = 0; d < VD_COUNT(dims); d++)
        for (size_t n = 0; n < VD_COUNT(lengths); n++)
            for (size_t g = 0; g < VD_COUNT(groups); g++) {
                if (!check_this(g, d + n, VD_COUNT(groups)))
                    continue;
                size_t group = groups[g], most_q = VD_MIN(lengths[n], VD_ATTN_MANY_ROWS / group);
                size_t type = check_quickly() ? d + n : check_random_below(VD_COUNT(types));
                vd_dtype dtype = types[type % VD_COUNT(types)];
                shape s = {.n_q = check_random_below(3) == 0 ? most_q
                                                             : 1 + check_random_below(most_q),
                           .n_group = group, .head_dim = dims[d], .n_kv = lengths[n],
                           .page_tokens = (size_t[]){1, 7, 16, 32, 64}[check_random_below(5)],
                           .window = check_random_below(2) * check_random_below(lengths[n] + 2),
                           .row_gap = (size_t[]){0, 4, 128}[check_random_below(3)],
                           .causal = check_random_below(4) != 0,
                           .kv_dtype = dims[d] % 32 == 0 ? dtype : VD_DTYPE_F16,
                           .kind = (int)check_random_below(2), /* plain or NaN */
                           .softcap = (float[]){0, 0, 1.5f, 50}[check_random_below(4)]};
                one(k, c, s, true);
            }
}

void check_attn(const vd_kernels *k)
{
    static const size_t dims[] = {8, 16, 24, 40, 64, 72, 80, 96, 128, 200, 256};
    static const size_t lengths[] = {1, 2, 31, 32, 33, 64, 101, 150};
    static const size_t groups[] = {1, 2, 3, 4, 5, 7, 8, 71}; /* wide heads: the first four */
    static const vd_dtype more[] = {VD_DTYPE_BF16, VD_DTYPE_Q8_0, VD_DTYPE_Q4_0};
    static const vd_dtype all[] = {VD_DTYPE_F32, VD_DTYPE_F16, VD_DTYPE_BF16, VD_DTYPE_Q8_0,
                                   VD_DTYPE_Q4_0};
    const vd_kernels *c = vd_kernels_level("c");
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
        for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++)
            for (size_t g = 0; g < (dims[d] > 128 ? 4 : VD_COUNT(groups)); g++) {
                if (!check_this(g, d + n, dims[d] > 128 ? 4 : VD_COUNT(groups)))
                    continue;
                if (lengths[n] > VD_ATTN_SPAN && !check_this(n, d, 2)) /* one of the two */
                    continue;
                size_t group = groups[g];
                size_t most_q = VD_MIN(lengths[n], VD_MAX(VD_ATTN_ROWS / group, (size_t)1));
                shape s = {.n_q = check_random_below(3) == 0 ? 1 : 1 + check_random_below(most_q),
                           .n_group = group, .head_dim = dims[d], .n_kv = lengths[n],
                           .page_tokens = (size_t[]){1, 7, 16, 32, 64}[check_random_below(5)],
                           .window = check_random_below(2) * check_random_below(lengths[n] + 2),
                           .row_gap = (size_t[]){0, 2, 128}[check_random_below(3)],
                           .causal = check_random_below(4) != 0,
                           .kv_dtype = VD_DTYPE_F16,
                           .softcap = (float[]){0, 0, 1.5f, 50}[check_random_below(4)]};
                one(k, c, s, false);
                s.kv_dtype = VD_DTYPE_F32;
                s.row_gap *= 2;
                s.n_q = most_q;
                s.kind = (int)check_random_below(2); /* plain or NaN */
                one(k, c, s, false);
                s.kv_dtype = more[check_quickly() ? (d + n) % 3 : check_random_below(3)];
                if (check_quickly()) /* plain C is slow; yet both few and a block of rows */
                    most_q = VD_MIN(most_q, 1 + 12 / group);
                s.n_q = 1 + check_random_below(most_q);
                if (dims[d] % 32 == 0 || s.kv_dtype == VD_DTYPE_BF16)
                    one(k, c, s, false);
            }
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (size_t group = 1; group <= 8; group += 7)
            same_in_any_block(k, all[i], group, k->attn);
    for (size_t i = 0; k->attn_many != NULL && i < sizeof all / sizeof all[0]; i++)
        for (size_t group = 1; group <= 8; group += 7)
            same_in_any_block(k, all[i], group, k->attn_many);
    if (k->attn_many != NULL)
        check_many(k, c);
}
