/* attn.c - attention over paged keys and values. */
#include <math.h>
#include <string.h>

#include "check.h"

typedef struct shape {
    size_t n_group, head_dim, page_tokens, first, n_kv, row_gap;
    vd_dtype kv_dtype;
    int kind;
    float softcap;
} shape;

static void one(const vd_kernels *k, const vd_kernels *c, shape s)
{
    size_t width = s.kv_dtype == VD_DTYPE_F32 ? 4 : 2;
    size_t n_pages = (s.n_kv + s.page_tokens - 1) / s.page_tokens;
    size_t row = s.head_dim * width + s.row_gap, page = s.page_tokens * row + 64;
    size_t kv_bytes = n_pages * page - 64 - s.row_gap;
    unsigned char *kv[2] = {check_memory(kv_bytes), check_memory(kv_bytes)};
    uint32_t *pages = check_memory(n_pages * sizeof *pages);
    size_t n_q = s.n_group * s.head_dim;
    float *q = check_memory(n_q * sizeof *q), *got = check_memory(n_q * sizeof *got);
    float *want = check_memory(n_q * sizeof *want), *line = check_memory(s.head_dim * 4);

    check_now("attn %s group=%zu D=%zu page=%zu first=%zu n_kv=%zu %s kind=%d softcap=%g",
              k->name, s.n_group,
              s.head_dim, s.page_tokens, s.first, s.n_kv, vd_dtype_name(s.kv_dtype), s.kind,
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
    vd_attn args = {.q = q, .out = got, .n_group = s.n_group, .head_dim = s.head_dim,
                    .k_base = kv[0], .v_base = kv[1], .page = pages, .page_stride = page,
                    .row_stride = row, .page_tokens = s.page_tokens, .first = s.first,
                    .n_kv = s.n_kv, .kv_dtype = s.kv_dtype, .scale = 0.25f,
                    .softcap = s.softcap};
    k->attn(&args);
    args.out = want;
    c->attn(&args);
    if (s.kind == KIND_NAN)
        check_close("attn", got, want, n_q, 1e-4, 1e-5);
    else
        check_nmse("attn", got, want, n_q, 0, s.softcap != 0 ? 1e-10 : 1e-11);
    check_done_all("attn");
}

void check_attn(const vd_kernels *k)
{
    static const size_t dims[] = {8, 16, 24, 40, 64, 72, 80, 96, 128, 200, 256};
    static const size_t lengths[] = {1, 2, 31, 32, 33, 64, 101};
    const vd_kernels *c = vd_kernels_level("c");
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
        for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++)
            for (size_t group = 1; group <= 8; group += 1 + (group > 5)) {
                shape s = {.n_group = group, .head_dim = dims[d], .n_kv = lengths[n],
                           .page_tokens = (size_t[]){1, 7, 16, 32, 64}[check_random_below(5)],
                           .first = check_random_below(lengths[n]),
                           .row_gap = (size_t[]){0, 2, 128}[check_random_below(3)],
                           .kv_dtype = VD_DTYPE_F16,
                           .softcap = (float[]){0, 0, 1.5f, 50}[check_random_below(4)]};
                if (group > 4 && dims[d] > 128)
                    continue;
                one(k, c, s);
                s.kv_dtype = VD_DTYPE_F32;
                s.row_gap *= 2;
                s.kind = (int)check_random_below(2); /* plain or NaN */
                one(k, c, s);
            }
}
