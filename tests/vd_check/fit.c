/* fit.c - fit_sums and fit_errors: the same values at every level. */
#include <math.h>
#include <string.h>

#include "check.h"

/* Equal but for the sign of a zero, or both NaN. */
static bool same(const float *a, const float *b)
{
    for (int j = 0; j < VD_FIT_LANES; j++)
        if (!(a[j] == b[j] || (isnan(a[j]) && isnan(b[j]))))
            return false;
    return true;
}

static void one_fit(const vd_kernels *k, const vd_kernels *c, size_t n, int kind, bool levels)
{
    float *x = check_memory(n * sizeof *x), *w = check_memory(n * sizeof *w);
    float *table = check_memory(VD_FIT_LEVELS * sizeof *table);
    vd_fit got = {.x = x, .w = w, .n = n, .low = -4, .high = 11, .levels = levels ? table : NULL};

    check_now("fit %s n=%zu kind=%d levels=%d", k->name, n, kind, levels);
    check_fill_floats(x, n);
    check_fill_floats(w, n);
    check_spoil(x, n, kind);
    for (int i = 0; i < VD_FIT_LEVELS; i++)
        table[i] = (float)(i * i - 40);
    for (size_t i = 0; i < n; i++)
        w[i] = fabsf(w[i]);
    check_fill_floats(got.inverse, VD_FIT_LANES);
    check_fill_floats(got.shift, VD_FIT_LANES);
    for (int j = 0; j < VD_FIT_LANES; j++) {
        got.scale[j] = 1.0f / got.inverse[j];
        if (n != 0 && j % 3 == 0) { /* halfway between two whole numbers */
            got.inverse[j] = 1;
            got.shift[j] = 2.5f - x[0];
        }
    }
    vd_fit want = got;
    k->fit_sums(&got);
    k->fit_errors(&got);
    c->fit_sums(&want);
    c->fit_errors(&want);
    check_expect(same(got.q, want.q) && same(got.xq, want.xq) && same(got.qq, want.qq),
                 "sums differ");
    check_expect(same(got.error, want.error), "errors differ");
    check_done_all("fit");
}

void check_fit(const vd_kernels *k)
{
    const vd_kernels *c = vd_kernels_level("c");
    for (int kind = 0; kind < KIND_LIMIT; kind++)
        for (size_t n = 0; n <= 33; n++)
            for (int levels = 0; levels < 2; levels++)
                one_fit(k, c, n, kind, levels != 0);
}
