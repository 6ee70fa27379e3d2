/* elementwise.c - add, silu_mul, gelu_mul, gelu. */
#include <math.h>
#include <string.h>

#include "check.h"

typedef void (*binary_fn)(float *x, const float *y, size_t n);
typedef void (*unary_fn)(float *x, size_t n);

/* One of the two. */
typedef struct op {
    binary_fn binary;
    unary_fn unary;
} op;

static void apply(op f, float *x, const float *y, size_t n)
{
    if (f.binary != NULL)
        f.binary(x, y, n);
    else if (f.unary != NULL)
        f.unary(x, n);
}

/* Tolerance: relative * |want| + product * |x * y| + what a clamped exponential leaves. */
static void one(const char *name, const vd_kernels *k, op fn, op ref, size_t n,
                int kind, double relative, double product)
{
    float *got = check_memory(n * sizeof *got), *want = check_memory(n * sizeof *want);
    float *y = check_memory(n * sizeof *y), *x = check_memory(n * sizeof *x);
    bool ok = true;

    check_now("%s %s n=%zu kind=%d", name, k->name, n, kind);
    check_fill_floats(x, n);
    check_fill_floats(y, n);
    for (size_t i = 0; i < n; i++)
        if (check_random_below(4) == 0)
            x[i] *= 40; /* into the flat ends */
    check_spoil(x, n, kind);
    if (n != 0) {
        memcpy(got, x, n * sizeof *x);
        memcpy(want, x, n * sizeof *x);
    }
    apply(fn, got, y, n);
    apply(ref, want, y, n);
    for (size_t i = 0; i < n; i++) {
        double w = (double)want[i], g = (double)got[i];
        double factor = fn.binary != NULL ? (double)y[i] : 1;
        double limit = relative * fabs(w) + product * fabs((double)x[i] * factor) + 1e-34;
        if (isfinite(w) ? !(fabs(g - w) <= limit) : isfinite(g)) {
            check_expect(false, "value %zu of %g and %g is %.9g and should be %.9g", i,
                         (double)x[i], (double)y[i], g, w);
            ok = false;
        }
    }
    check_expect(ok, "see above");
    check_done_all(name);
}

void check_elementwise(const vd_kernels *k)
{
    const vd_kernels *c = vd_kernels_level("c");
    for (int kind = 0; kind < KIND_LIMIT; kind++)
        for (size_t n = 0; n <= 67; n++) {
            one("add", k, (op){k->add, NULL}, (op){c->add, NULL}, n, kind, 0, 0);
            one("silu_mul", k, (op){k->silu_mul, NULL}, (op){c->silu_mul, NULL}, n, kind, 2e-6, 0);
            /* The argument of the exponential is rounded, so what is left of 1 + tanh is known
             * only to a fraction of the product. */
            one("gelu_mul", k, (op){k->gelu_mul, NULL}, (op){c->gelu_mul, NULL}, n, kind, 2e-6,
                2e-7);
            one("gelu", k, (op){NULL, k->gelu}, (op){NULL, c->gelu}, n, kind, 2e-6, 2e-7);
        }
}
