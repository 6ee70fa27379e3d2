/* layered.c - see layered.h. */
#include "compress/layered.h"

#include "base/alloc.h"
#include "base/fail.h"

struct vd_layered {
    vd_prune prune;
    vd_linalg *linalg;
    vd_walk *walk;
    vd_calibrated calibrated;
    bool entered; /* the walk's layer has been gathered */
};

vd_status vd_layered_open(const char *path, const vd_walk_options *options, const vd_prune *prune,
                          vd_pool *pool, vd_layered **ret_layered, vd_err *err)
{
    vd_walk_options own = *options;
    vd_layered *l = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*l), "the calibration", &l, err);
    if (st != VD_OK)
        return st;
    l->prune = *prune;
    own.gram = vd_prune_needs_gram(prune->method);
    if (own.gram)
        st = vd_linalg_open(&l->linalg, err);
    if (st == VD_OK)
        st = vd_walk_open(path, &own, pool, l->linalg, &l->walk, err);
    if (st == VD_OK) {
        l->calibrated = (vd_calibrated){.linalg = l->linalg, .pool = pool};
        *ret_layered = l;
        l = NULL;
    }
    vd_layered_free(l);
    return st;
}

void vd_layered_free(vd_layered *l)
{
    if (l == NULL)
        return;
    vd_calibrated_forget(&l->calibrated);
    vd_walk_free(l->walk);
    vd_linalg_close(l->linalg);
    vd_free(l);
}

size_t vd_layered_n_tokens(const vd_layered *layered)
{
    return vd_walk_n_tokens(layered->walk);
}

vd_status vd_layered_enter(vd_layered *l, size_t layer, vd_err *err)
{
    vd_status st = VD_OK;
    if (l->entered && vd_walk_layer(l->walk) == layer)
        return VD_OK;
    if (l->entered) {
        vd_calibrated_forget(&l->calibrated);
        st = vd_walk_next(l->walk, err);
    }
    while (st == VD_OK && vd_walk_layer(l->walk) < layer) /* a layer without matrices */
        st = vd_walk_next(l->walk, err);
    if (st == VD_OK)
        st = vd_walk_gather(l->walk, err);
    l->entered = st == VD_OK;
    return st;
}

vd_status vd_layered_prune(vd_layered *l, vd_str name, float *values, size_t n_experts,
                           size_t n_rows, size_t n_cols, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t e = 0; st == VD_OK && e < n_experts; e++) {
        vd_moments none = {.n = n_cols}, *moments = vd_walk_moments(l->walk, name, e);
        st = vd_calibrated_prune(&l->calibrated, &l->prune,
                                 moments != NULL && moments->n == n_cols ? moments : &none,
                                 values + e * n_rows * n_cols, n_rows, err);
    }
    return st;
}

vd_status vd_layered_keep(vd_layered *l, vd_str name, float *values, vd_err *err)
{
    return vd_walk_replace(l->walk, name, values, err);
}
