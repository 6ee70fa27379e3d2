/* calibrated.c - see calibrated.h. */
#include "compress/calibrated.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/drift.h"
#include "compress/fit.h"

static const double damping = 0.01;
enum { FIT_STEPS = 16 }; /* of conjugate gradients: more change no perplexity, see docs */

bool vd_prune_is_calibrated(vd_prune_method method)
{
    return method == VD_PRUNE_WANDA || vd_prune_needs_gram(method);
}

bool vd_prune_needs_gram(vd_prune_method method)
{
    return method == VD_PRUNE_SPARSEGPT || method == VD_PRUNE_OBS;
}

void vd_calibrated_forget(vd_calibrated *c)
{
    for (size_t i = 0; i < c->n_known; i++)
        vd_obs_done(&c->known[i].obs);
    c->n_known = 0;
}

/* The factor of these inputs, made once. */
static vd_status find_obs(vd_calibrated *c, vd_moments *m, size_t order_group, const float *scale,
                          const vd_obs **ret, vd_err *err)
{
    for (size_t i = 0; i < c->n_known; i++)
        if (c->known[i].of == m && c->known[i].order_group == order_group) {
            *ret = &c->known[i].obs;
            return VD_OK;
        }
    vd_obs obs;
    vd_status st = vd_obs_init(c->linalg, m->gram, m->n, damping, order_group, scale, &obs, err);
    if (st != VD_OK)
        return st;
    if (c->n_known == VD_COUNT(c->known))
        vd_calibrated_forget(c);
    c->known[c->n_known].of = m;
    c->known[c->n_known].order_group = order_group;
    c->known[c->n_known].obs = obs;
    *ret = &c->known[c->n_known++].obs;
    c->damping_most = fmax(c->damping_most, obs.damping);
    c->n_made++;
    c->n_diagonal += obs.diagonal;
    return VD_OK;
}

/* ---- Wanda's choice ---------------------------------------------------------------------------*/

typedef struct choice {
    const vd_prune *prune;
    const double *norm; /* [n] of each input; NULL: all alike */
    const float *w;
    size_t n_rows, n;
    vd_wanda_score *scratch; /* [n_threads, n] */
    bool *gone;         /* [n_rows, n] */
} choice;

static int by_score(const void *a, const void *b)
{
    const vd_wanda_score *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return x->column < y->column ? -1 : 1;
}

void vd_wanda_rank(const float *w, const double *norm, size_t n, vd_wanda_score *score)
{
    for (size_t i = 0; i < n; i++) {
        double size = fabs((double)w[i]);
        score[i] = (vd_wanda_score){norm != NULL ? size * norm[i] : size, i};
    }
    qsort(score, n, sizeof(*score), by_score);
}

/* The n_gone least of n columns from `first` on. */
static void choose_least(const choice *c, size_t row, size_t first, size_t n, size_t n_gone,
                         vd_wanda_score *scratch)
{
    size_t at = row * c->n + first;
    vd_wanda_rank(c->w + at, c->norm != NULL ? c->norm + first : NULL, n, scratch);
    for (size_t i = 0; i < n; i++)
        c->gone[at + scratch[i].column] = i < n_gone;
}

static void choose_rows(void *ctx, size_t thread, size_t n_threads)
{
    const choice *c = ctx;
    const vd_prune *p = c->prune;
    vd_wanda_score *scratch = c->scratch + thread * c->n;
    size_t begin, end, m = p->m != 0 ? p->m : c->n;
    size_t n_gone = p->m != 0 ? p->m - p->n : (size_t)vd_prune_n_gone(p->keep, c->n);
    vd_pool_range(c->n_rows, 1, thread, n_threads, &begin, &end);
    for (size_t row = begin; row < end; row++)
        for (size_t first = 0; first + m <= c->n; first += m)
            choose_least(c, row, first, m, n_gone, scratch);
}

/* gone[n_rows, n]: which go. */
static vd_status choose(vd_calibrated *c, const vd_prune *prune, const vd_moments *m,
                        const float *w, size_t n_rows, bool *gone, vd_err *err)
{
    size_t n_scratch;
    choice all = {.prune = prune, .w = w, .n_rows = n_rows, .n = m->n, .gone = gone};
    double *norm = NULL;
    if (!vd_mul_size(m->n, vd_pool_n_threads(c->pool), &n_scratch))
        return VD_FAIL(err, VD_ERR_NOMEM, "rows of %zu values are too long", m->n);
    vd_status st = vd_alloc_array(n_scratch, sizeof(*all.scratch), "scores", &all.scratch, err);
    if (st == VD_OK)
        st = vd_alloc_array(m->n, sizeof(*norm), "norms", &norm, err);
    if (st == VD_OK) {
        for (size_t i = 0; i < m->n && m->n_tokens > 0; i++)
            norm[i] = sqrt(m->square[i]);
        all.norm = m->n_tokens > 0 ? norm : NULL;
        vd_pool_run(c->pool, choose_rows, &all);
    }
    vd_free(all.scratch);
    vd_free(norm);
    return st;
}

/* ---- with repair ------------------------------------------------------------------------------*/

/* w[n] in double precision (vd_free). */
static vd_status widen(const float *w, size_t n, double **ret, vd_err *err)
{
    vd_status st = vd_alloc_array(n, sizeof(**ret), "weights", ret, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        (*ret)[i] = (double)w[i];
    return st;
}

/* An input that was always zero counts as none here, not as the one that the sweep takes it for: it
 * has no weights that could be fitted. */
static double diagonal_mean(const vd_moments *m)
{
    double sum = 0;
    for (size_t i = 0; i < m->n; i++)
        sum += m->gram[i * m->n + i];
    return sum / (double)m->n;
}

static vd_status prune_and_repair(vd_calibrated *c, const vd_prune *prune, vd_moments *m, float *w,
                                  size_t n_rows, const bool *gone, vd_err *err)
{
    size_t n = n_rows * m->n;
    double *wide = NULL;
    const vd_obs *obs = NULL;
    vd_obs_options options = {.prune = *prune, .mask = gone};
    vd_status st = find_obs(c, m, 0, NULL, &obs, err);
    if (st == VD_OK)
        st = widen(w, n, &wide, err);
    if (st == VD_OK)
        st = vd_obs_run(c->linalg, c->pool, obs, &options, wide, n_rows, err);
    if (st == VD_OK && prune->method == VD_PRUNE_OBS)
        st = vd_fit_masked(c->linalg, m->gram, obs->damping * diagonal_mean(m), w, wide, n_rows,
                           m->n, FIT_STEPS, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        w[i] = (float)wide[i];
    vd_free(wide);
    return st;
}

vd_status vd_calibrated_round(vd_calibrated *c, const vd_grid *grid, bool keep_zeros,
                              vd_moments *m, const float *scale, float *w, size_t n_rows,
                              unsigned char *rows, size_t row_bytes, vd_err *err)
{
    size_t n = n_rows * m->n;
    double *wide = NULL;
    const vd_obs *obs = NULL;
    vd_status st = find_obs(c, m, VD_MAX(grid->group, (size_t)1), scale, &obs, err);
    if (st == VD_OK)
        st = widen(w, n, &wide, err);
    if (st == VD_OK)
        st = vd_gptq_run(c->linalg, c->pool, obs, grid, keep_zeros, wide, n_rows, rows, row_bytes,
                         err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        w[i] = (float)wide[i];
    vd_free(wide);
    return st;
}

vd_status vd_calibrated_prune(vd_calibrated *c, const vd_prune *prune, vd_moments *m, float *w,
                              size_t n_rows, vd_err *err)
{
    bool *gone = NULL;
    bool repair = vd_prune_needs_gram(prune->method) && m->gram != NULL && m->n_tokens > 0;
    vd_status st = VD_OK;
    if (prune->m == 0 && prune->keep >= 1)
        return VD_OK;
    if (repair && prune->method == VD_PRUNE_SPARSEGPT)
        return prune_and_repair(c, prune, m, w, n_rows, NULL, err);
    st = vd_alloc_array(n_rows * m->n, sizeof(*gone), "a mask", &gone, err);
    if (st == VD_OK)
        st = choose(c, prune, m, w, n_rows, gone, err);
    if (st == VD_OK && repair)
        st = prune_and_repair(c, prune, m, w, n_rows, gone, err);
    for (size_t i = 0; st == VD_OK && !repair && i < n_rows * m->n; i++)
        if (gone[i])
            w[i] = 0;
    vd_free(gone);
    return st;
}

/* ---- for inputs that have drifted -------------------------------------------------------------*/

vd_status vd_calibrated_correct(vd_calibrated *c, double strength, vd_moments *m, float *w,
                                size_t n_rows, vd_err *err)
{
    size_t n = n_rows * m->n;
    double *wide = NULL;
    const vd_obs *obs = NULL;
    if (m->cross == NULL || m->gram == NULL || m->n_tokens == 0)
        return VD_OK;
    vd_status st = find_obs(c, m, 0, NULL, &obs, err);
    if (st == VD_OK)
        st = widen(w, n, &wide, err);
    if (st == VD_OK)
        st = vd_drift_correct(c->linalg, obs, m->gram, m->cross, strength, wide, n_rows, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        w[i] = w[i] != 0 ? (float)wide[i] : 0;
    vd_free(wide);
    return st;
}
