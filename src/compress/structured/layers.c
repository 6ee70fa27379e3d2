/*
 * layers.c - whole layers cut out: those that change what passes through them least, by the angle
 * between the residual stream before and behind (block influence, 1 - E[cos]; Men et al. 2024,
 * ShortGPT), all judged in the model as it is; or by their effect on the output (effect.h).
 */
#include "compress/structured/layers.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/structured/effect.h"

typedef struct influence {
    size_t n_embd;
    double *sum;   /* [n_layer] of the cosines */
    size_t *count; /* [n_layer] */
} influence;

static void add_cosines(void *ctx, size_t layer, const float *in, const float *out, size_t n)
{
    influence *all = ctx;
    for (size_t t = 0; t < n; t++) {
        const float *x = in + t * all->n_embd, *y = out + t * all->n_embd;
        double xx = 0, yy = 0, xy = 0;
        for (size_t i = 0; i < all->n_embd; i++) {
            xx += (double)x[i] * (double)x[i];
            yy += (double)y[i] * (double)y[i];
            xy += (double)x[i] * (double)y[i];
        }
        all->sum[layer] += xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
    }
    all->count[layer] += n;
}

typedef struct rating {
    double influence;
    size_t layer;
} rating;

static int by_influence(const void *a, const void *b)
{
    const rating *x = a, *y = b;
    if (x->influence != y->influence)
        return x->influence < y->influence ? -1 : 1;
    return x->layer < y->layer ? -1 : 1;
}

static vd_status judge(vd_cut_session *s, rating *ratings, vd_err *err)
{
    size_t n = s->plan.n_layer;
    influence all = {.n_embd = s->plan.hp.n_embd};
    vd_walk *walk = NULL;
    vd_status st = vd_alloc_array(n, sizeof(*all.sum), "layers", &all.sum, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*all.count), "layers", &all.count, err);
    if (st == VD_OK)
        st = vd_session_walk(s, (vd_session_ear){.passed = add_cosines, .passed_ctx = &all}, &walk,
                             err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        st = vd_walk_next(walk, err);
        if (st == VD_OK)
            ratings[i] = (rating){1 - all.sum[i] / (double)all.count[i], i};
    }
    vd_walk_free(walk);
    vd_free(all.sum);
    vd_free(all.count);
    return st;
}

static bool is_rotated(const vd_hparams *hp, size_t i)
{
    return hp->no_rope_period == 0 || (i + 1) % hp->no_rope_period != 0;
}

/* Which layers have a window or no rotation follows from their numbers in some architectures; they
 * must not move to where others stood. */
static vd_status check_pattern(const vd_cut_plan *p, vd_err *err)
{
    for (size_t i = 0; i < p->n_layer; i++) {
        size_t to = p->new_layer[i];
        if (to != SIZE_MAX && (p->hp.local[i] != p->hp.local[to] ||
                               is_rotated(&p->hp, i) != is_rotated(&p->hp, to)))
            return VD_FAIL(err, VD_ERR_UNSUPPORTED, "layers of %s differ in a fixed pattern: layer "
                           "%zu would stand where another kind belongs", p->arch->name, i);
    }
    return VD_OK;
}

static vd_status choose_by_influence(vd_cut_session *s, size_t n_gone, bool *gone, vd_err *err)
{
    rating *ratings = NULL;
    vd_status st = vd_alloc_array(s->plan.n_layer, sizeof(*ratings), "layers", &ratings, err);
    if (st == VD_OK)
        st = judge(s, ratings, err);
    if (st == VD_OK)
        qsort(ratings, s->plan.n_layer, sizeof(*ratings), by_influence);
    for (size_t i = 0; st == VD_OK && i < n_gone; i++)
        gone[ratings[i].layer] = true;
    vd_free(ratings);
    return st;
}

static vd_status plan_layers(vd_cut_session *s, size_t n_kept, vd_err *err)
{
    vd_cut_plan *p = &s->plan;
    size_t n_gone = p->n_layer - n_kept;
    bool *gone = NULL;
    vd_status st = vd_alloc_array(p->n_layer, sizeof(*gone), "layers", &gone, err);
    if (st == VD_OK)
        st = s->options->score == VD_UNIT_SCORE_OUTPUT ? vd_effect_choose(s, n_gone, gone, err)
                                                       : choose_by_influence(s, n_gone, gone, err);
    p->n_layer_new = 0;
    for (size_t i = 0; st == VD_OK && i < p->n_layer; i++)
        p->new_layer[i] = gone[i] ? SIZE_MAX : p->n_layer_new++;
    vd_free(gone);
    return st == VD_OK ? check_pattern(p, err) : st;
}

vd_status vd_layers_run(vd_cut_session *s, vd_err *err)
{
    size_t n = s->plan.n_layer, n_kept = vd_cut_plan_n_kept(n, s->cut->keep, 1);
    if (n_kept == n)
        return VD_FAIL(err, VD_ERR_ARG, "--prune layers:%g would leave everything: of %zu layers "
                       "%zu stay. Keep less", s->cut->keep, n, n_kept);
    vd_status st = plan_layers(s, n_kept, err);
    if (st == VD_OK)
        st = vd_shrink_begin(s->shrink, NULL, 0, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        st = vd_shrink_layer(s->shrink, i, NULL, 0, err);
    return st;
}
