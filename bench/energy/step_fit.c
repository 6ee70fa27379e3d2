/*
 * step_fit.c - see step_fit.h.
 *
 * Three coefficients at or above zero: the least squares solution under such bounds has some set of
 * coefficients at zero and is the ordinary solution in the others (Lawson and Hanson 1974, ch. 23).
 * There are seven such sets, so all of them are tried and the best is taken: no iteration, no
 * tolerance.
 */
#include "step_fit.h"

#include <math.h>
#include <stdbool.h>

#include "base/fail.h"

enum { TERMS = 3, CONCAVE = 2 };

typedef struct normal {
    double a[TERMS][TERMS], b[TERMS];
} normal;

static void features(double batch, double ret_f[TERMS])
{
    ret_f[0] = 1 / batch;
    ret_f[1] = 1;
    ret_f[2] = 1 / sqrt(batch);
}

/* Solves the equations of the terms in `set` (a bit each), the others zero. Gauss with pivots of
 * the diagonal, which a positive definite matrix allows; false where it is not definite. */
static bool solve_set(const normal *eq, unsigned set, double x[TERMS])
{
    double a[TERMS][TERMS], b[TERMS];
    for (int i = 0; i < TERMS; i++) {
        b[i] = set >> i & 1 ? eq->b[i] : 0;
        for (int k = 0; k < TERMS; k++)
            a[i][k] = (set >> i & 1) && (set >> k & 1) ? eq->a[i][k] : i == k;
    }
    for (int i = 0; i < TERMS; i++) {
        if (!(a[i][i] > 1e-12 * eq->a[i][i]))
            return false;
        for (int k = i + 1; k < TERMS; k++) {
            double f = a[k][i] / a[i][i];
            for (int m = i; m < TERMS; m++)
                a[k][m] -= f * a[i][m];
            b[k] -= f * b[i];
        }
    }
    for (int i = TERMS - 1; i >= 0; i--) {
        for (int k = i + 1; k < TERMS; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
    for (int i = 0; i < TERMS; i++) {
        if (!(b[i] >= 0))
            return false;
        x[i] = b[i];
    }
    return true;
}

/* x'Ax - 2b'x: the sum of squares less that of the measurements. */
static double objective(const normal *eq, const double x[TERMS])
{
    double sum = 0;
    for (int i = 0; i < TERMS; i++) {
        sum -= 2 * eq->b[i] * x[i];
        for (int k = 0; k < TERMS; k++)
            sum += x[i] * eq->a[i][k] * x[k];
    }
    return sum;
}

vd_status vd_step_fit_solve(const vd_step_point *points, size_t n, vd_step_fit *ret_fit,
                            vd_err *err)
{
    normal eq = {0};
    bool differ = false;
    for (size_t p = 0; p < n; p++) {
        double f[TERMS], batch = points[p].batch, j = points[p].j_per_token;
        if (!(batch > 0 && isfinite(batch) && j > 0 && isfinite(j)))
            return VD_FAIL(err, VD_ERR_ARG,
                           "point %zu of a step fit: batch %g with %g J per token, but both must "
                           "be positive numbers",
                           p, batch, j);
        differ |= batch != points[0].batch;
        features(batch, f);
        for (int i = 0; i < TERMS; i++) {
            eq.b[i] += f[i] * j;
            for (int k = 0; k < TERMS; k++)
                eq.a[i][k] += f[i] * f[k];
        }
    }
    if (!differ)
        return VD_FAIL(err, VD_ERR_ARG,
                       "a step fit needs two different batch sizes, not %zu points of one", n);
    eq.a[CONCAVE][CONCAVE] *= 1 + VD_STEP_FIT_RIDGE * VD_STEP_FIT_RIDGE / (double)n;

    double best = INFINITY, x[TERMS];
    for (unsigned set = 1; set < 1u << TERMS; set++) {
        if (!solve_set(&eq, set, x) || !(objective(&eq, x) < best))
            continue;
        best = objective(&eq, x);
        *ret_fit = (vd_step_fit){.fixed = x[0], .per_token = x[1], .concave = x[2]};
    }
    return VD_OK; /* one term alone always has a solution at or above zero */
}

double vd_step_fit_energy(const vd_step_fit *fit, double batch)
{
    if (!(batch > 0))
        return 0;
    return fit->fixed + fit->per_token * batch + fit->concave * sqrt(batch);
}

void vd_step_fit_shares(const vd_step_fit *fit, const double *weight, size_t n, double *ret_joules)
{
    double sum = 0;
    size_t n_paying = 0;
    for (size_t i = 0; i < n; i++) {
        sum += weight[i];
        n_paying += weight[i] > 0;
    }
    for (size_t i = 0; i < n; i++)
        ret_joules[i] = weight[i] > 0 ? fit->fixed / (double)n_paying +
                                            fit->per_token * weight[i] +
                                            fit->concave * weight[i] / sqrt(sum)
                                      : 0;
}
