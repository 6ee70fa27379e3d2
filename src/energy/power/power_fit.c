/*
 * power_fit.c - parameters from measured points, and what machines say of another one. See power.h.
 *
 * The fit minimises  sum (ln P - ln watts)^2 / noise^2 + sum (parameter - mean)^2 / sd^2  by
 * Levenberg and Marquardt (Marquardt 1963): five parameters, so a few thousand operations.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"
#include "energy/power/power.h"
#include "energy/power/power_curve.h"

enum { STEPS_MAX = 200 };

typedef struct problem {
    const vd_power_base *base;
    double mean[VD_POWER_N], sd[VD_POWER_N], noise;
    const vd_power_point *points;
    size_t n;
} problem;

static double sum_of_squares(const problem *p, const double x[VD_POWER_N])
{
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) {
        double r = log(vd_power_curve(p->base, x, &p->points[i]) / p->points[i].watts) / p->noise;
        sum += r * r;
    }
    for (int k = 0; k < VD_POWER_N; k++) {
        double r = (x[k] - p->mean[k]) / p->sd[k];
        sum += r * r;
    }
    return sum;
}

/* The curvature J'J and the downhill direction -J'r of the sum at x. */
static void linearise(const problem *p, const double x[VD_POWER_N],
                      double h[VD_POWER_N][VD_POWER_N], double down[VD_POWER_N])
{
    memset(h, 0, sizeof(double) * VD_POWER_N * VD_POWER_N);
    for (int k = 0; k < VD_POWER_N; k++) {
        h[k][k] = 1 / (p->sd[k] * p->sd[k]);
        down[k] = -(x[k] - p->mean[k]) * h[k][k];
    }
    double weight = 1 / (p->noise * p->noise);
    for (size_t i = 0; i < p->n; i++) {
        double slope[VD_POWER_N];
        vd_power_slopes(p->base, x, &p->points[i], slope);
        double r = log(vd_power_curve(p->base, x, &p->points[i]) / p->points[i].watts);
        for (int k = 0; k < VD_POWER_N; k++) {
            down[k] -= weight * slope[k] * r;
            for (int m = 0; m < VD_POWER_N; m++)
                h[k][m] += weight * slope[k] * slope[m];
        }
    }
}

/* Solves a x = b for a symmetric positive definite matrix (which `a` is, by the prior). */
static void solve(double a[VD_POWER_N][VD_POWER_N], double b[VD_POWER_N])
{
    for (int i = 0; i < VD_POWER_N; i++)
        for (int k = i + 1; k < VD_POWER_N; k++) {
            double f = a[k][i] / a[i][i];
            for (int m = i; m < VD_POWER_N; m++)
                a[k][m] -= f * a[i][m];
            b[k] -= f * b[i];
        }
    for (int i = VD_POWER_N - 1; i >= 0; i--) {
        for (int k = i + 1; k < VD_POWER_N; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
}

static void minimise(const problem *p, double x[VD_POWER_N])
{
    double lambda = 1e-3, best = sum_of_squares(p, x);
    for (int step = 0; step < STEPS_MAX && lambda < 1e9; step++) {
        double h[VD_POWER_N][VD_POWER_N], move[VD_POWER_N], next[VD_POWER_N], size = 0;
        linearise(p, x, h, move);
        for (int k = 0; k < VD_POWER_N; k++)
            h[k][k] *= 1 + lambda;
        solve(h, move);
        for (int k = 0; k < VD_POWER_N; k++) {
            next[k] = x[k] + move[k];
            size = VD_MAX(size, fabs(move[k]) / p->sd[k]);
        }
        double sum = sum_of_squares(p, next);
        if (sum <= best) {
            memcpy(x, next, sizeof(next));
            best = sum;
            lambda /= 10;
            if (size < 1e-8)
                return;
        } else {
            lambda *= 10;
        }
    }
}

static void invert(double a[VD_POWER_N][VD_POWER_N], double ret_inverse[VD_POWER_N][VD_POWER_N])
{
    for (int k = 0; k < VD_POWER_N; k++) {
        double copy[VD_POWER_N][VD_POWER_N], unit[VD_POWER_N] = {0};
        memcpy(copy, a, sizeof(copy));
        unit[k] = 1;
        solve(copy, unit);
        for (int i = 0; i < VD_POWER_N; i++)
            ret_inverse[i][k] = unit[i];
    }
}

static bool is_point(const vd_power_point *p)
{
    return p->load >= 0 && p->load <= 1 && p->spread >= 0 && p->spread <= 1 && p->clock >= 0 &&
           p->clock <= 10 && p->watts > 0 && isfinite(p->watts);
}

vd_status vd_power_fit(const vd_power_base *base, const vd_power_prior *prior, double widen,
                       const vd_power_point *points, size_t n, vd_power *ret_power, vd_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!is_point(&points[i]))
            return VD_FAIL(err, VD_ERR_ARG,
                           "point %zu: load %g on %g of the threads at %g of the nominal clock, "
                           "%g W; loads are 0..1, clocks below 10 and watts above 0",
                           i + 1, points[i].load, points[i].spread, points[i].clock,
                           points[i].watts);
    problem p = {.base = base, .noise = prior->noise, .points = points, .n = n};
    memcpy(p.mean, prior->mean, sizeof(p.mean));
    for (int k = 0; k < VD_POWER_N; k++)
        p.sd[k] = prior->sd[k] * widen;
    p.sd[VD_POWER_FULL] = hypot(p.sd[VD_POWER_FULL], base->sd);
    p.sd[VD_POWER_IDLE] = hypot(p.sd[VD_POWER_IDLE], base->sd);

    vd_power power = {.base = *base};
    memcpy(power.parameter, p.mean, sizeof(power.parameter));
    minimise(&p, power.parameter);

    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double r = log(vd_power_curve(base, power.parameter, &points[i]) / points[i].watts);
        squares += r * r;
    }
    power.dof = prior->dof + (double)n;
    power.noise = sqrt((prior->dof * prior->noise * prior->noise + squares) / power.dof);
    double h[VD_POWER_N][VD_POWER_N], down[VD_POWER_N];
    p.noise = power.noise;
    linearise(&p, power.parameter, h, down);
    invert(h, power.covariance);
    *ret_power = power;
    return VD_OK;
}

void vd_power_learn(const vd_power_prior *prior, const vd_power *machines, size_t n,
                    vd_power_prior *ret_prior)
{
    const double n0 = VD_POWER_PRIOR_MACHINES, count = (double)n, dof = prior->dof + count;
    vd_power_prior learned = {.dof = dof};
    for (int k = 0; k < VD_POWER_N; k++) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            mean += machines[i].parameter[k] / count;
        for (size_t i = 0; i < n; i++)
            squares += pow(machines[i].parameter[k] - mean, 2);
        double away = n > 0 ? mean - prior->mean[k] : 0;
        double spread = prior->dof * prior->sd[k] * prior->sd[k] + squares +
                        n0 * count / (n0 + count) * away * away;
        learned.mean[k] = prior->mean[k] + away * count / (n0 + count);
        learned.sd[k] = sqrt(spread / dof * (1 + 1 / (n0 + count)));
    }
    double noise = prior->dof * prior->noise * prior->noise;
    for (size_t i = 0; i < n; i++)
        noise += machines[i].noise * machines[i].noise;
    learned.noise = sqrt(noise / dof);
    *ret_prior = learned;
}
