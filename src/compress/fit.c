/* fit.c - see fit.h: some hundred rows at a time, each with a step size of its own. */
#include "compress/fit.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { ROWS = 256 };

/* Some rows, all [ROWS, n] but for `rz`. */
typedef struct part {
    const vd_linalg *linalg;
    const double *h;
    double add;
    size_t n_rows, n;
    double *w;      /* the rows' own place */
    double *r, *p, *q;
    double rz[ROWS]; /* r z of each row, z = r / diagonal */
} part;

/* q = p (H + add), where the weight is not 0. */
static void multiply(const part *c)
{
    size_t n = c->n;
    for (size_t i = 0; i < c->n_rows * n; i++)
        c->q[i] = c->add * c->p[i];
    for (size_t i = 0; i < c->n_rows * n; i++)
        c->p[i] = -c->p[i];
    vd_linalg_subtract_product(c->linalg, c->q, n, c->p, n, c->h, n, c->n_rows, n, n);
    for (size_t i = 0; i < c->n_rows * n; i++) {
        c->p[i] = -c->p[i];
        if (c->w[i] == 0)
            c->q[i] = 0;
    }
}

/* r = (w0 - w) (H + add) where the weight is not 0, p = z. */
static void begin(part *c, const float *w0)
{
    size_t n = c->n;
    for (size_t i = 0; i < c->n_rows * n; i++)
        c->p[i] = (double)w0[i] - c->w[i];
    multiply(c);
    for (size_t row = 0; row < c->n_rows; row++) {
        c->rz[row] = 0;
        for (size_t j = 0; j < n; j++) {
            size_t i = row * n + j;
            double z = c->q[i] / (c->h[j * n + j] + c->add);
            c->r[i] = c->q[i];
            c->p[i] = z;
            c->rz[row] += c->r[i] * z;
        }
    }
}

/* How far to go along p: 0 where there is nothing left to gain. */
static double step_of(const part *c, size_t row)
{
    double pq = 0;
    for (size_t j = 0; j < c->n; j++)
        pq += c->p[row * c->n + j] * c->q[row * c->n + j];
    return pq > 0 ? c->rz[row] / pq : 0;
}

static void step(part *c)
{
    size_t n = c->n;
    multiply(c);
    for (size_t row = 0; row < c->n_rows; row++) {
        double alpha = step_of(c, row), rz = 0;
        for (size_t j = 0; j < n; j++) {
            size_t i = row * n + j;
            if (c->w[i] != 0)
                c->w[i] += alpha * c->p[i];
            c->r[i] -= alpha * c->q[i];
            rz += c->r[i] * c->r[i] / (c->h[j * n + j] + c->add);
        }
        double beta = c->rz[row] > 0 ? rz / c->rz[row] : 0;
        for (size_t j = 0; j < n; j++) {
            size_t i = row * n + j;
            c->p[i] = c->r[i] / (c->h[j * n + j] + c->add) + beta * c->p[i];
        }
        c->rz[row] = rz;
    }
}

vd_status vd_fit_masked(const vd_linalg *linalg, const double *h, double add, const float *w0,
                        double *w, size_t n_rows, size_t n, size_t n_steps, vd_err *err)
{
    part c = {.linalg = linalg, .h = h, .add = add, .n = n};
    size_t n_values;
    if (!vd_mul_size(n, ROWS, &n_values))
        return VD_FAIL(err, VD_ERR_NOMEM, "rows of %zu values are too long", n);
    vd_status st = vd_alloc_array(n_values, sizeof(double), "residuals", &c.r, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(double), "directions", &c.p, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(double), "products", &c.q, err);
    for (size_t first = 0; st == VD_OK && first < n_rows; first += ROWS) {
        c.n_rows = VD_MIN(n_rows - first, (size_t)ROWS);
        c.w = w + first * n;
        begin(&c, w0 + first * n);
        for (size_t i = 0; i < n_steps; i++)
            step(&c);
    }
    vd_free(c.r);
    vd_free(c.p);
    vd_free(c.q);
    return st;
}
