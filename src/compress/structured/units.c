/* units.c - see units.h. */
#include "compress/structured/units.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

/* Of the mean of the diagonal; tenfold while the factorization fails. */
static const double damping_first = 1e-4;
enum { DAMPINGS = 7 };
enum { BATCHES = 512 }; /* so many rounds of surgery at most, where units are single columns */

static double mean_diagonal(const double *h, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += h[i * n + i];
    return n > 0 ? sum / (double)n : 0;
}

/* inverse[n, n] of h[n, n] with as little damping as it takes. */
static vd_status invert_damped(const vd_linalg *linalg, const double *h, double *inverse, size_t n,
                               vd_err *err)
{
    double mean = mean_diagonal(h, n);
    if (!isfinite(mean))
        return VD_FAIL(err, VD_ERR_FORMAT, "what the product reads is not finite");
    double d = damping_first;
    for (int k = 0; k < DAMPINGS; k++, d *= 10) {
        memcpy(inverse, h, n * n * sizeof(*h));
        for (size_t i = 0; i < n; i++)
            inverse[i * n + i] += mean > 0 ? d * mean : 1;
        if (vd_linalg_invert(linalg, inverse, n))
            return VD_OK;
    }
    return VD_FAIL(err, VD_ERR_FORMAT, "what the product reads gives no matrix with an inverse");
}

/* ---- activation -------------------------------------------------------------------------------*/

typedef struct rating {
    double cost;
    size_t unit;
} rating;

static int by_cost(const void *a, const void *b)
{
    const rating *x = a, *y = b;
    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    return x->unit < y->unit ? -1 : 1;
}

/* trace(W_u H_uu W_u^T) of all units of a thread. */
typedef struct activation {
    const vd_units *units;
    rating *rating; /* [n / size] */
} activation;

static void rate_by_activation(void *ctx, size_t thread, size_t n_threads)
{
    activation *a = ctx;
    const vd_units *u = a->units;
    size_t begin, end;
    vd_pool_range(u->n / u->size, 1, thread, n_threads, &begin, &end);
    for (size_t unit = begin; unit < end; unit++) {
        size_t first = unit * u->size;
        double sum = 0;
        for (size_t r = 0; r < u->n_rows; r++) {
            const double *w = u->w + r * u->n + first;
            for (size_t i = 0; i < u->size; i++)
                for (size_t j = 0; j < u->size; j++)
                    sum += w[i] * w[j] * u->gram[(first + i) * u->n + first + j];
        }
        a->rating[unit] = (rating){sum, unit};
    }
}

static vd_status rank_by_activation(const vd_units *u, size_t n_gone, size_t *order, double *cost,
                                    vd_err *err)
{
    activation a = {.units = u};
    vd_status st = vd_alloc_array(u->n / u->size, sizeof(*a.rating), "scores", &a.rating, err);
    if (st != VD_OK)
        return st;
    vd_pool_run(u->pool, rate_by_activation, &a);
    for (size_t i = 0; st == VD_OK && i < u->n / u->size; i++)
        if (!isfinite(a.rating[i].cost))
            st = VD_FAIL(err, VD_ERR_FORMAT, "what the product reads is not finite");
    if (st == VD_OK)
        qsort(a.rating, u->n / u->size, sizeof(*a.rating), by_cost);
    for (size_t i = 0; st == VD_OK && i < n_gone; i++) {
        order[i] = a.rating[i].unit;
        cost[i] = a.rating[i].cost;
    }
    vd_free(a.rating);
    return st;
}

/* ---- optimal brain surgery --------------------------------------------------------------------*/

/* One row of each per column: what surgery touches is then contiguous. */
typedef struct surgery {
    const vd_units *units;
    double *inverse;   /* [n, n] H^-1 of the columns that are left */
    double *wt;        /* [n, n_rows] W^T */
    bool *gone;        /* [n / size] */
    rating *rating;    /* [n / size] */
    double *small;     /* [n_threads, size, size + n_rows] */
    const size_t *cut; /* [n_cut] columns that go now, */
    size_t n_cut;
} surgery;

/* trace(W_u (H^-1)_uu^-1 W_u^T): |L^-1 W_u^T|^2 by the Cholesky factor L of (H^-1)_uu. */
static double cost_of(const surgery *s, size_t unit, double *small)
{
    const vd_units *u = s->units;
    size_t first = unit * u->size, m = u->size;
    double *l = small, *y = small + m * m, sum = 0;
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j <= i; j++) {
            double v = s->inverse[(first + i) * u->n + first + j];
            for (size_t k = 0; k < j; k++)
                v -= l[i * m + k] * l[j * m + k];
            l[i * m + j] = i == j ? sqrt(v) : v / l[j * m + j];
        }
        memcpy(y + i * u->n_rows, s->wt + (first + i) * u->n_rows, u->n_rows * sizeof(*y));
        for (size_t k = 0; k < i; k++)
            for (size_t r = 0; r < u->n_rows; r++)
                y[i * u->n_rows + r] -= l[i * m + k] * y[k * u->n_rows + r];
        for (size_t r = 0; r < u->n_rows; r++) {
            y[i * u->n_rows + r] /= l[i * m + i];
            sum += y[i * u->n_rows + r] * y[i * u->n_rows + r];
        }
    }
    return sum;
}

static void rate_by_surgery(void *ctx, size_t thread, size_t n_threads)
{
    surgery *s = ctx;
    const vd_units *u = s->units;
    size_t begin, end;
    double *small = s->small + thread * u->size * (u->size + u->n_rows);
    vd_pool_range(u->n / u->size, 1, thread, n_threads, &begin, &end);
    for (size_t unit = begin; unit < end; unit++)
        s->rating[unit] = (rating){s->gone[unit] ? INFINITY : cost_of(s, unit, small), unit};
}

/* row -= factor * pivot, in the inverse and in W^T. */
static void subtract_row(const surgery *s, size_t row, size_t pivot)
{
    const vd_units *u = s->units;
    double *h = s->inverse + row * u->n, *w = s->wt + row * u->n_rows;
    const double *hp = s->inverse + pivot * u->n, *wp = s->wt + pivot * u->n_rows;
    double factor = h[pivot] / hp[pivot];
    for (size_t i = 0; i < u->n; i++)
        h[i] -= factor * hp[i];
    for (size_t i = 0; i < u->n_rows; i++)
        w[i] -= factor * wp[i];
}

/* Gauss's elimination: H^-1 -= h_j h_j^T / h_jj and W^T -= h_j w_j^T / h_jj for each cut column,
 * first in the rows of the cut, then, by all threads, in the others. */
static void operate(void *ctx, size_t thread, size_t n_threads)
{
    surgery *s = ctx;
    const vd_units *u = s->units;
    size_t begin, end;
    vd_pool_range(u->n, 1, thread, n_threads, &begin, &end);
    for (size_t row = begin; row < end; row++)
        if (!s->gone[row / u->size])
            for (size_t k = 0; k < s->n_cut; k++)
                subtract_row(s, row, s->cut[k]);
}

static void prepare_pivots(const surgery *s)
{
    for (size_t i = 1; i < s->n_cut; i++)
        for (size_t k = 0; k < i; k++)
            subtract_row(s, s->cut[i], s->cut[k]);
}

static vd_status take_surgery(const vd_units *u, surgery *s, size_t **ret_cut, size_t n_cut_max,
                              vd_err *err)
{
    size_t n_small;
    if (!vd_mul_size(u->size * (u->size + u->n_rows), vd_pool_n_threads(u->pool), &n_small))
        return VD_FAIL(err, VD_ERR_NOMEM, "units of %zu columns are too wide", u->size);
    vd_status st = vd_alloc_array(u->n * u->n, sizeof(double), "an inverse", &s->inverse, err);
    if (st == VD_OK)
        st = vd_alloc_array(u->n * u->n_rows, sizeof(double), "a matrix", &s->wt, err);
    if (st == VD_OK)
        st = vd_alloc_array(u->n / u->size, sizeof(bool), "units", &s->gone, err);
    if (st == VD_OK)
        st = vd_alloc_array(u->n / u->size, sizeof(rating), "scores", &s->rating, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_small, sizeof(double), "scores", &s->small, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_cut_max, sizeof(size_t), "columns", ret_cut, err);
    if (st == VD_OK)
        st = invert_damped(u->linalg, u->gram, s->inverse, u->n, err);
    for (size_t r = 0; st == VD_OK && r < u->n_rows; r++)
        for (size_t i = 0; i < u->n; i++)
            s->wt[i * u->n_rows + r] = u->w[r * u->n + i];
    return st;
}

static vd_status rank_by_surgery(const vd_units *u, size_t n_gone, size_t *order, double *cost,
                                 vd_err *err)
{
    surgery s = {.units = u};
    size_t *cut = NULL, n_units = u->n / u->size;
    size_t batch = u->size > 1 ? 1 : VD_MAX((n_gone + BATCHES - 1) / BATCHES, 1);
    vd_status st = take_surgery(u, &s, &cut, batch * u->size, err);
    for (size_t done = 0; st == VD_OK && done < n_gone;) {
        size_t now = VD_MIN(batch, n_gone - done);
        vd_pool_run(u->pool, rate_by_surgery, &s);
        for (size_t i = 0; st == VD_OK && i < n_units; i++)
            if (!s.gone[i] && !isfinite(s.rating[i].cost))
                st = VD_FAIL(err, VD_ERR_FORMAT, "the inverse of what the product reads is not "
                             "finite");
        if (st != VD_OK)
            break;
        qsort(s.rating, n_units, sizeof(*s.rating), by_cost);
        s.n_cut = 0;
        for (size_t i = 0; i < now; i++) {
            order[done + i] = s.rating[i].unit;
            cost[done + i] = s.rating[i].cost;
            s.gone[s.rating[i].unit] = true;
            for (size_t k = 0; k < u->size; k++)
                cut[s.n_cut++] = s.rating[i].unit * u->size + k;
        }
        s.cut = cut;
        prepare_pivots(&s);
        vd_pool_run(u->pool, operate, &s);
        done += now;
    }
    vd_free(s.inverse);
    vd_free(s.wt);
    vd_free(s.gone);
    vd_free(s.rating);
    vd_free(s.small);
    vd_free(cut);
    return st;
}

vd_status vd_units_rank(const vd_units *units, vd_unit_score score, size_t n_gone, size_t *order,
                        double *cost, vd_err *err)
{
    return score == VD_UNIT_SCORE_OBS ? rank_by_surgery(units, n_gone, order, cost, err)
                                      : rank_by_activation(units, n_gone, order, cost, err);
}

/* ---- repair -----------------------------------------------------------------------------------*/

typedef struct repair {
    size_t *stay, *go; /* columns; owned */
    size_t n_stay, n_go;
    double *inverse;   /* [n_stay, n_stay] (H_SS + damping)^-1 */
    double *cross;     /* [n_go, n_stay] H_GS */
    double *factor;    /* [n_go, n_stay] -H_GS (H_SS + damping)^-1 */
    double *w_go;      /* [n_rows, n_go] */
} repair;

static vd_status take_repair(const vd_units *u, const size_t *kept, size_t n_kept, repair *r,
                             vd_err *err)
{
    r->n_stay = n_kept * u->size;
    r->n_go = u->n - r->n_stay;
    vd_status st = vd_alloc_array(r->n_stay, sizeof(size_t), "columns", &r->stay, err);
    if (st == VD_OK)
        st = vd_alloc_array(r->n_go, sizeof(size_t), "columns", &r->go, err);
    if (st == VD_OK)
        st = vd_alloc_array(r->n_stay * r->n_stay, sizeof(double), "an inverse", &r->inverse, err);
    if (st == VD_OK)
        st = vd_alloc_array(r->n_go * r->n_stay, sizeof(double), "a matrix", &r->cross, err);
    if (st == VD_OK)
        st = vd_alloc_array(r->n_go * r->n_stay, sizeof(double), "a matrix", &r->factor, err);
    if (st == VD_OK)
        st = vd_alloc_array(u->n_rows * r->n_go, sizeof(double), "a matrix", &r->w_go, err);
    if (st != VD_OK)
        return st;
    size_t n_stay = 0, n_go = 0, next = 0;
    for (size_t unit = 0; unit < u->n / u->size; unit++) {
        bool stays = next < n_kept && kept[next] == unit;
        next += stays;
        for (size_t k = 0; k < u->size; k++) {
            if (stays)
                r->stay[n_stay++] = unit * u->size + k;
            else
                r->go[n_go++] = unit * u->size + k;
        }
    }
    return VD_OK;
}

/* to[n_rows, n_columns]: those columns of from[n_rows, n]. */
static void pick(const double *from, size_t n, const size_t *row, size_t n_rows,
                 const size_t *column, size_t n_columns, double *to)
{
    assert(column != NULL);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_columns; c++)
            to[r * n_columns + c] = from[(row != NULL ? row[r] : r) * n + column[c]];
}

vd_status vd_units_repair(const vd_units *u, const size_t *kept, size_t n_kept, double *out,
                          vd_err *err)
{
    repair r = {0};
    double *h = NULL;
    vd_status st = take_repair(u, kept, n_kept, &r, err);
    if (st == VD_OK)
        st = vd_alloc_array(r.n_stay * r.n_stay, sizeof(double), "a matrix", &h, err);
    if (st == VD_OK) {
        pick(u->gram, u->n, r.stay, r.n_stay, r.stay, r.n_stay, h);
        st = invert_damped(u->linalg, h, r.inverse, r.n_stay, err);
    }
    if (st == VD_OK) {
        pick(u->gram, u->n, r.go, r.n_go, r.stay, r.n_stay, r.cross);
        pick(u->w, u->n, NULL, u->n_rows, r.go, r.n_go, r.w_go);
        pick(u->w, u->n, NULL, u->n_rows, r.stay, r.n_stay, out);
        vd_linalg_subtract_product(u->linalg, r.factor, r.n_stay, r.cross, r.n_stay, r.inverse,
                                   r.n_stay, r.n_go, r.n_stay, r.n_stay);
        vd_linalg_subtract_product(u->linalg, out, r.n_stay, r.w_go, r.n_go, r.factor, r.n_stay,
                                   u->n_rows, r.n_stay, r.n_go);
        for (size_t i = 0; st == VD_OK && i < u->n_rows * r.n_stay; i++)
            if (!isfinite(out[i]))
                st = VD_FAIL(err, VD_ERR_FORMAT, "the repair is not finite");
    }
    vd_free(h);
    vd_free(r.stay);
    vd_free(r.go);
    vd_free(r.inverse);
    vd_free(r.cross);
    vd_free(r.factor);
    vd_free(r.w_go);
    return st;
}
