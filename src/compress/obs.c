/*
 * obs.c - see obs.h. Columns go in blocks: inside a block each row is on its own, so threads share
 * the rows; what a block leaves wrong reaches the columns behind it as one matrix product.
 */
#include "compress/obs.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { BLOCK = 128 };
static const double damping_most = 1e4 * (1 - 1e-9); /* powers of ten are not exact */

static size_t column_of(const vd_obs *obs, size_t i)
{
    return obs->order != NULL ? obs->order[i] : i;
}

typedef struct inputs {
    const double *gram;
    const float *scale;
} inputs;

/* gram's value for the i-th and j-th column in order; inputs that were always zero count as one. */
static double gram_at(const vd_obs *obs, const inputs *in, size_t i, size_t j)
{
    size_t row = column_of(obs, i), col = column_of(obs, j);
    if (row == col && obs->dead[row])
        return 1;
    double value = in->gram[row * obs->n + col];
    return in->scale != NULL ? value / ((double)in->scale[row] * (double)in->scale[col]) : value;
}

/* upper = the factor of (gram + add)^-1; whether there is one. */
static bool try_factor(const vd_linalg *linalg, const inputs *in, double add, const vd_obs *obs)
{
    size_t n = obs->n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            obs->upper[i * n + j] = gram_at(obs, in, i, j) + (i == j ? add : 0);
    return vd_linalg_invert(linalg, obs->upper, n) && vd_linalg_upper_factor(linalg, obs->upper, n);
}

/* Where even that fails: the columns know nothing of each other. */
static void factor_diagonal(const inputs *in, double add, const vd_obs *obs)
{
    memset(obs->upper, 0, obs->n * obs->n * sizeof(*obs->upper));
    for (size_t i = 0; i < obs->n; i++)
        obs->upper[i * obs->n + i] = 1 / sqrt(gram_at(obs, in, i, i) + add);
}

typedef struct sized {
    double size;
    size_t column;
} sized;

static int by_falling_size(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x->column < y->column ? -1 : 1;
}

static double diagonal_mean(const vd_obs *obs, const inputs *in)
{
    double sum = 0;
    for (size_t i = 0; i < obs->n; i++)
        sum += gram_at(obs, in, i, i);
    return obs->n > 0 ? sum / (double)obs->n : 0;
}

static vd_status make_order(const vd_obs *obs, const inputs *in, size_t group, size_t **ret_order,
                            vd_err *err)
{
    size_t n = obs->n, n_groups = n / group, *order = NULL;
    sized *all = NULL;
    assert(n % group == 0);
    vd_status st = vd_alloc_array(n_groups, sizeof(*all), "an order", &all, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*order), "an order", &order, err);
    if (st == VD_OK) {
        for (size_t i = 0; i < n; i++) {
            all[i / group].size += gram_at(obs, in, i, i);
            all[i / group].column = i / group * group;
        }
        qsort(all, n_groups, sizeof(*all), by_falling_size);
        for (size_t i = 0; i < n; i++)
            order[i] = all[i / group].column + i % group;
        *ret_order = order;
    }
    vd_free(all);
    return st;
}

vd_status vd_obs_init(const vd_linalg *linalg, double *gram, size_t n, double damping,
                      size_t order_group, const float *scale, vd_obs *ret_obs, vd_err *err)
{
    const inputs in = {gram, scale};
    vd_obs obs = {.n = n, .damping = damping};
    vd_linalg_mirror(gram, n);
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(gram[i]))
            return VD_FAIL(err, VD_ERR_FORMAT, "the inputs %zu and %zu of a product are no "
                           "numbers to work with", i / n, i % n);
    size_t n_all;
    if (!vd_mul_size(n, n, &n_all))
        return VD_FAIL(err, VD_ERR_NOMEM, "a matrix of %zu by %zu is too large", n, n);
    vd_status st = vd_alloc_array(n_all, sizeof(double), "an inverse", &obs.upper, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(bool), "dead inputs", &obs.dead, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        obs.dead[i] = gram[i * n + i] == 0;
    if (st == VD_OK && order_group > 0)
        st = make_order(&obs, &in, order_group, &obs.order, err);
    if (st != VD_OK) {
        vd_obs_done(&obs);
        return st;
    }
    double mean = diagonal_mean(&obs, &in);
    while (!try_factor(linalg, &in, obs.damping * mean, &obs)) {
        if (obs.damping >= damping_most) {
            factor_diagonal(&in, damping * mean, &obs);
            obs.diagonal = true;
            break;
        }
        obs.damping = obs.damping > 0 ? obs.damping * 10 : 0.01;
    }
    *ret_obs = obs;
    return VD_OK;
}

void vd_obs_done(vd_obs *obs)
{
    vd_free(obs->upper);
    vd_free(obs->dead);
    vd_free(obs->order);
    *obs = (vd_obs){0};
}

/* One block of columns [first, first + width) of all rows. */
typedef struct sweep {
    const vd_obs *obs;
    const vd_obs_options *options;
    double *w;       /* [n_rows, n] */
    size_t n_rows, first, width;
    bool *gone;      /* [n_rows, BLOCK] what goes in this block */
    double *error;   /* [n_rows, BLOCK] */
} sweep;

static double score(const sweep *s, size_t row, size_t column)
{
    double u = s->obs->upper[column * s->obs->n + column];
    double w = s->w[row * s->obs->n + column];
    return w * w / (u * u);
}

/* Of columns [at, at + m) of a row, as they are now, the m - n of the smallest scores go. */
static void choose_group(const sweep *s, size_t row, size_t at)
{
    size_t n = s->options->prune.n, m = s->options->prune.m;
    bool *gone = s->gone + row * s->width + (at - s->first);
    for (size_t i = 0; i < m; i++) {
        size_t n_before = 0;
        double own = score(s, row, at + i);
        for (size_t j = 0; j < m; j++) {
            double other = score(s, row, at + j);
            n_before += other > own || (other == own && j < i);
        }
        gone[i] = n_before >= n;
    }
}

/* Columns [j, j + group) of a row, as they are now. */
static void settle_group(const sweep *s, size_t row, size_t j, size_t group, double *ret)
{
    const vd_obs_options *o = s->options;
    double w[VD_OBS_GROUP_MAX], weight[VD_OBS_GROUP_MAX];
    for (size_t i = 0; i < group; i++) {
        double u = s->obs->upper[(j + i) * s->obs->n + j + i];
        bool gone = s->gone[row * s->width + (j + i - s->first)];
        w[i] = gone ? 0 : s->w[row * s->obs->n + j + i];
        weight[i] = 1 / (u * u);
    }
    if (o->settle != NULL)
        o->settle(o->settle_ctx, row, column_of(s->obs, j), w, weight, ret);
    else
        memcpy(ret, w, group * sizeof(*w));
}

static void sweep_row(const sweep *s, size_t row)
{
    const vd_obs_options *o = s->options;
    size_t n = s->obs->n, end = s->first + s->width, group = VD_MAX(o->group, (size_t)1);
    double settled[VD_OBS_GROUP_MAX] = {0};
    double *w = s->w + row * n, *error = s->error + row * s->width;
    bool by_group = o->mask == NULL && o->prune.method != VD_PRUNE_NONE && o->prune.m != 0;
    for (size_t j = s->first; j < end; j++) {
        const double *u = s->obs->upper + j * n;
        if (by_group && j % o->prune.m == 0)
            choose_group(s, row, j);
        if (j % group == 0)
            settle_group(s, row, j, group, settled);
        double e = (w[j] - settled[j % group]) / u[j];
        error[j - s->first] = e;
        w[j] = settled[j % group];
        for (size_t k = j + 1; e != 0 && k < end; k++)
            w[k] -= e * u[k];
    }
}

static void sweep_rows(void *ctx, size_t thread, size_t n_threads)
{
    const sweep *s = ctx;
    size_t begin, end;
    vd_pool_range(s->n_rows, 1, thread, n_threads, &begin, &end);
    for (size_t row = begin; row < end; row++)
        sweep_row(s, row);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All rows together, as the authors' program does it: everything up to the value at index
 * floor(share * values) of the sorted scores; but the largest stays. */
static void choose_share(const sweep *s, double share, double *scratch)
{
    size_t n = s->n_rows * s->width, cut = (size_t)(share * (double)n);
    for (size_t i = 0; i < n; i++)
        scratch[i] = score(s, i / s->width, s->first + i % s->width);
    qsort(scratch, n, sizeof(*scratch), by_value);
    if (n == 1)
        return;
    double most = scratch[VD_MIN(cut, n - 2)];
    for (size_t i = 0; i < n; i++)
        s->gone[i] = score(s, i / s->width, s->first + i % s->width) <= most;
}

static void choose(const sweep *s, double *scratch)
{
    const vd_obs_options *o = s->options;
    for (size_t row = 0; row < s->n_rows; row++)
        for (size_t j = 0; j < s->width; j++)
            s->gone[row * s->width + j] =
                o->mask != NULL && o->mask[row * s->obs->n + column_of(s->obs, s->first + j)];
    if (o->mask == NULL && o->prune.method != VD_PRUNE_NONE && o->prune.m == 0 &&
        o->prune.keep < 1)
        choose_share(s, 1 - o->prune.keep, scratch);
}

static void sweep_all(const vd_linalg *linalg, vd_pool *pool, sweep *s, size_t block,
                      double *scratch)
{
    size_t n = s->obs->n;
    for (s->first = 0; s->first < n; s->first += s->width) {
        s->width = VD_MIN(block, n - s->first);
        size_t next = s->first + s->width;
        choose(s, scratch);
        vd_pool_run(pool, sweep_rows, s);
        vd_linalg_subtract_product(linalg, s->w + next, n, s->error, s->width,
                                   s->obs->upper + s->first * n + next, n, s->n_rows, n - next,
                                   s->width);
    }
}

/* The columns of all rows from file order to that of the sweep, or back. */
static void permute(const vd_obs *obs, double *w, size_t n_rows, bool back, double *row)
{
    for (size_t r = 0; obs->order != NULL && r < n_rows; r++, w += obs->n) {
        for (size_t i = 0; i < obs->n; i++)
            row[back ? obs->order[i] : i] = w[back ? i : obs->order[i]];
        memcpy(w, row, obs->n * sizeof(*row));
    }
}

vd_status vd_obs_run(const vd_linalg *linalg, vd_pool *pool, const vd_obs *obs,
                     const vd_obs_options *options, double *w, size_t n_rows, vd_err *err)
{
    size_t block = options->block != 0 ? options->block : BLOCK, n_values;
    sweep s = {.obs = obs, .options = options, .w = w, .n_rows = n_rows};
    double *scratch = NULL, *row = NULL;
    if (options->prune.m != 0 && block % options->prune.m != 0)
        block = (block / options->prune.m + 1) * options->prune.m; /* groups lie in one block */
    if (!vd_mul_size(n_rows, block, &n_values))
        return VD_FAIL(err, VD_ERR_NOMEM, "%zu rows are too many", n_rows);
    vd_status st = vd_alloc_array(n_values, sizeof(bool), "a mask", &s.gone, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(double), "errors", &s.error, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(double), "scores", &scratch, err);
    if (st == VD_OK)
        st = vd_alloc_array(obs->n, sizeof(double), "a row", &row, err);
    for (size_t i = 0; st == VD_OK && i < n_rows * obs->n; i++)
        if (obs->dead[i % obs->n])
            w[i] = 0;
    if (st == VD_OK && n_rows > 0) {
        permute(obs, w, n_rows, false, row);
        sweep_all(linalg, pool, &s, block, scratch);
        permute(obs, w, n_rows, true, row);
    }
    vd_free(row);
    vd_free(s.gone);
    vd_free(s.error);
    vd_free(scratch);
    return st;
}
