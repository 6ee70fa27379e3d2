/*
 * inner.c - see inner.h. Of each layer: what the repaired matrix reads is gathered, units are
 * ranked, the matrix is repaired, and the text goes on through the layer as the file will have it.
 * A walk keeps the shapes of the source: columns that go are zeros in it, which is the same.
 */
#include "compress/structured/inner.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/drift.h"
#include "compress/structured/keys.h"
#include "compress/structured/share.h"

/* The list that is cut, and the matrix that reads it. */
static vd_kept *list_of(vd_cut_session *s, size_t layer)
{
    return s->cut->kind == VD_STRUCTURED_NEURONS ? &s->plan.neurons[layer]
                                                 : &s->plan.groups[layer];
}

static const vd_gguf_tensor *matrix_of(const vd_cut_session *s, size_t layer)
{
    return vd_cut_plan_tensor(&s->plan, layer,
                          s->cut->kind == VD_STRUCTURED_NEURONS ? "ffn_down" : "attn_output");
}

/* llama.cpp v0.5.0 reads other architectures only where the heads together are as wide as the
 * model, whatever the keys say (tests/py/test_compress_structured.py). */
static bool may_lose_heads(const vd_cut_plan *p)
{
    static const char *const free_widths[] = {"llama", "deci", "gemma2", "gemma3", "granite",
                                              "qwen3", "qwen3moe", "smollm3"};
    for (size_t i = 0; i < VD_COUNT(free_widths); i++)
        if (strcmp(p->arch->name, free_widths[i]) == 0)
            return true;
    return false;
}

static vd_status check(vd_cut_session *s, vd_err *err)
{
    const vd_hparams *hp = &s->plan.hp;
    if (s->cut->kind == VD_STRUCTURED_NEURONS && hp->moe.n_experts > 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "neurons of experts are not cut; heads, layers and "
                       "single weights (--prune obs) of such a model can be");
    if (s->cut->kind == VD_STRUCTURED_HEADS && hp->block.qk_norm == VD_QK_NORM_WIDTH)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s normalizes over all heads together: without "
                       "one the others would change", s->plan.arch->name);
    if (s->cut->kind == VD_STRUCTURED_HEADS && !may_lose_heads(&s->plan))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "heads of %s are not cut: other engines read such "
                       "files only where the heads are as wide as the model",
                       s->plan.arch->name);
    for (size_t i = 0; i < s->plan.n_layer; i++)
        if (matrix_of(s, i) == NULL || list_of(s, i)->n_all == 0)
            return VD_FAIL(err, VD_ERR_UNSUPPORTED, "layer %zu has no %s", i,
                           vd_structured_name(s->cut->kind));
    return VD_OK;
}

/* Heads are as wide as blocks like already; any number of them will do. */
static size_t multiple_of(const vd_cut_session *s)
{
    size_t said = s->options->multiple;
    return said == 0 && s->cut->kind == VD_STRUCTURED_HEADS ? 1 : said;
}

/* Nothing would go. */
static vd_status fail_whole(vd_cut_session *s, vd_err *err)
{
    const char *what = vd_structured_name(s->cut->kind);
    size_t n_all = list_of(s, 0)->n_all;
    return VD_FAIL(err, VD_ERR_ARG, "--prune %s:%g would leave everything: of %zu %s in a layer a "
                   "multiple of %zu stays. Keep less, or say a smaller --multiple", what,
                   s->cut->keep, n_all, what,
                   vd_cut_plan_multiple(n_all, s->cut->keep, multiple_of(s)));
}

/* Counts alone: as many of every layer. */
static vd_status plan_uniform(vd_cut_session *s, vd_err *err)
{
    bool smaller = false;
    for (size_t i = 0; i < s->plan.n_layer; i++) {
        vd_kept *kept = list_of(s, i);
        kept->n = vd_cut_plan_n_kept(kept->n_all, s->cut->keep, multiple_of(s));
        smaller = smaller || kept->n < kept->n_all;
    }
    return smaller ? VD_OK : fail_whole(s, err);
}

static const double drift_damping = 0.01;

/* What a layer's units are ranked by. */
typedef struct scene {
    const vd_gguf_tensor *tensor;
    vd_units units;
    double *w; /* owned */
} scene;

/* For inputs that the layers before have changed. */
static vd_status correct(vd_cut_session *s, vd_moments *m, double *w, size_t n_rows, vd_err *err)
{
    vd_obs obs = {0};
    vd_status st = vd_obs_init(s->linalg, m->gram, m->n, drift_damping, 0, NULL, &obs, err);
    if (st == VD_OK)
        st = vd_drift_correct(s->linalg, &obs, m->gram, m->cross, s->options->drift, w, n_rows,
                              err);
    vd_obs_done(&obs);
    return st;
}

static vd_status set_scene(vd_cut_session *s, vd_walk *walk, size_t layer, scene *sc, vd_err *err)
{
    const vd_gguf_tensor *t = matrix_of(s, layer);
    vd_moments *m = vd_walk_moments(walk, t->name, 0);
    size_t n = (size_t)t->dim[0];
    if (m == NULL || m->gram == NULL || m->n != n)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %.*s: no product reads it",
                       (int)t->name.n, t->name.data);
    vd_linalg_mirror(m->gram, n);
    *sc = (scene){.tensor = t,
                  .units = {.linalg = s->linalg, .pool = s->pool, .gram = m->gram, .n = n,
                            .n_rows = (size_t)t->dim[1], .size = n / list_of(s, layer)->n_all}};
    vd_status st = vd_session_values(t, &sc->w, err);
    sc->units.w = sc->w;
    if (st == VD_OK && m->cross != NULL)
        st = correct(s, m, sc->w, sc->units.n_rows, err);
    return st;
}

/* ---- how many of each layer -------------------------------------------------------------------*/

typedef struct energies {
    size_t n_embd;
    double *square; /* [n_layer] of the residual stream behind each layer */
} energies;

static void add_squares(void *ctx, size_t layer, const float *in, const float *out, size_t n)
{
    energies *e = ctx;
    for (size_t i = 0; i < n * e->n_embd; i++)
        e->square[layer] += (double)out[i] * (double)out[i];
}

static vd_status rate_layer(vd_cut_session *s, vd_walk *walk, size_t i, vd_share_layer *layer,
                            vd_err *err)
{
    scene sc = {0};
    size_t *order = NULL;
    vd_status st = vd_walk_gather(walk, err);
    if (st == VD_OK)
        st = vd_alloc_array(layer->n_most, sizeof(*order), "units", &order, err);
    if (st == VD_OK)
        st = vd_alloc_array(layer->n_most, sizeof(*layer->cost), "units", &layer->cost, err);
    if (st == VD_OK)
        st = set_scene(s, walk, i, &sc, err);
    if (st == VD_OK)
        st = vd_units_rank(&sc.units, s->options->score, layer->n_most, order, layer->cost, err);
    if (st == VD_OK)
        st = vd_walk_next(walk, err);
    vd_free(sc.w);
    vd_free(order);
    return st;
}

/* A pass over the model as it is: what the units of each layer cost decides how many go. No layer
 * loses more than twice its share. */
static vd_status plan_uneven(vd_cut_session *s, vd_err *err)
{
    size_t n = s->plan.n_layer, n_gone = 0;
    size_t step = vd_cut_plan_multiple(list_of(s, 0)->n_all, s->cut->keep, multiple_of(s));
    energies e = {.n_embd = s->plan.hp.n_embd};
    vd_share_layer *layers = NULL;
    vd_walk *walk = NULL;
    vd_status st = vd_alloc_array(n, sizeof(*e.square), "layers", &e.square, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*layers), "layers", &layers, err);
    s->n_passes = 2;
    if (st == VD_OK)
        st = vd_session_walk(s, (vd_session_ear){true, add_squares, &e}, &walk, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        const vd_kept *kept = list_of(s, i); /* counts are those of plan_uniform */
        size_t gone = kept->n_all - kept->n, left = VD_MIN(step, kept->n_all);
        layers[i].n_units = kept->n_all;
        layers[i].n_most = VD_MIN(2 * gone, kept->n_all - left);
        n_gone += gone;
        st = rate_layer(s, walk, i, &layers[i], err);
        layers[i].energy = e.square[i];
    }
    vd_walk_free(walk);
    if (st == VD_OK)
        st = vd_share_out(layers, n, n_gone, step, err);
    n_gone = 0;
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        list_of(s, i)->n = list_of(s, i)->n_all - layers[i].n_gone;
        n_gone += layers[i].n_gone;
    }
    if (st == VD_OK && n_gone == 0) /* one step is more than a layer may lose */
        st = fail_whole(s, err);
    for (size_t i = 0; layers != NULL && i < n; i++)
        vd_free(layers[i].cost);
    vd_free(layers);
    vd_free(e.square);
    s->pass = 1;
    return st;
}

/* ---- the cut ----------------------------------------------------------------------------------*/

static vd_status choose(vd_cut_session *s, const scene *sc, vd_kept *kept, vd_err *err)
{
    size_t n_gone = kept->n_all - kept->n, *order = NULL;
    double *cost = NULL;
    vd_status st = vd_alloc_array(kept->n_all, sizeof(*order), "units", &order, err);
    if (st == VD_OK)
        st = vd_alloc_array(kept->n_all, sizeof(*cost), "units", &cost, err);
    if (st == VD_OK)
        st = vd_units_rank(&sc->units, s->options->score, n_gone, order, cost, err);
    if (st == VD_OK)
        st = vd_kept_all_but(kept, order, n_gone, err);
    vd_free(order);
    vd_free(cost);
    return st;
}

/* The repaired matrix as the file will hold it: small[n_rows, n_kept * size] for the file,
 * whole[n_rows, n], zeros where columns went, for the walk. */
static vd_status repair(vd_cut_session *s, const scene *sc, const vd_kept *kept, float **ret_small,
                        float **ret_whole, vd_err *err)
{
    const vd_units *u = &sc->units;
    size_t n = kept->n * u->size;
    double *wide = NULL;
    float *small = NULL, *whole = NULL;
    vd_status st = vd_alloc_array(u->n_rows * n, sizeof(*wide), "a matrix", &wide, err);
    if (st == VD_OK)
        st = vd_alloc_array(u->n_rows * n, sizeof(*small), "a matrix", &small, err);
    if (st == VD_OK)
        st = vd_alloc_array(u->n_rows * u->n, sizeof(*whole), "a matrix", &whole, err);
    if (st == VD_OK)
        st = vd_units_repair(u, kept->index, kept->n, wide, err);
    for (size_t i = 0; st == VD_OK && i < u->n_rows * n; i++)
        small[i] = (float)wide[i];
    vd_free(wide);
    if (st == VD_OK)
        st = vd_shrink_round(vd_shrink_dtype(&s->plan, sc->tensor), sc->tensor, small, u->n_rows,
                             n, err);
    if (st != VD_OK) {
        vd_free(small);
        vd_free(whole);
        return st;
    }
    for (size_t r = 0; r < u->n_rows; r++)
        for (size_t k = 0; k < kept->n; k++)
            memcpy(whole + r * u->n + kept->index[k] * u->size,
                   small + r * n + k * u->size, u->size * sizeof(*small));
    *ret_small = small;
    *ret_whole = whole;
    return VD_OK;
}

static vd_status cut_layer(vd_cut_session *s, vd_walk *walk, size_t layer, vd_err *err)
{
    vd_kept *kept = list_of(s, layer);
    scene sc = {0};
    float *small = NULL, *whole = NULL;
    if (kept->n == kept->n_all) {
        vd_status st = vd_shrink_layer(s->shrink, layer, NULL, 0, err);
        return st == VD_OK ? vd_walk_next(walk, err) : st;
    }
    vd_status st = vd_walk_gather(walk, err);
    if (st == VD_OK)
        st = set_scene(s, walk, layer, &sc, err);
    if (st == VD_OK)
        st = choose(s, &sc, kept, err);
    if (st == VD_OK)
        st = repair(s, &sc, kept, &small, &whole, err);
    if (st != VD_OK && sc.tensor != NULL)
        vd_err_prefix(err, "tensor %.*s", (int)sc.tensor->name.n, sc.tensor->name.data);
    if (st == VD_OK)
        st = vd_walk_replace(walk, sc.tensor->name, whole, err);
    vd_shrink_values values = {sc.tensor, small};
    if (st == VD_OK)
        st = vd_shrink_layer(s->shrink, layer, &values, 1, err);
    if (st == VD_OK)
        st = vd_walk_next(walk, err);
    vd_free(sc.w);
    vd_free(small);
    return st;
}

vd_status vd_inner_run(vd_cut_session *s, vd_err *err)
{
    vd_walk *walk = NULL;
    vd_status st = check(s, err);
    if (st == VD_OK)
        st = plan_uniform(s, err);
    /* Not heads: a layer's own error says too little of what their loss does (README.md). */
    if (st == VD_OK && !s->options->uniform && s->cut->kind == VD_STRUCTURED_NEURONS &&
        vd_keys_can_be_uneven(&s->plan))
        st = plan_uneven(s, err);
    if (st == VD_OK)
        st = vd_session_walk(s, (vd_session_ear){.gram = true, .cross = s->options->drift > 0},
                             &walk, err);
    if (st == VD_OK)
        st = vd_shrink_begin(s->shrink, NULL, 0, err);
    for (size_t i = 0; st == VD_OK && i < s->plan.n_layer; i++)
        st = cut_layer(s, walk, i, err);
    vd_walk_free(walk);
    return st;
}
