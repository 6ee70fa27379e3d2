/* layered.c - see layered.h. */
#include "compress/layered.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

struct vd_layered {
    double drift;
    bool gptq;
    vd_linalg *linalg;
    vd_walk *walk;       /* one of the two */
    vd_imatrix *imatrix;
    vd_calibrated calibrated;
    bool entered; /* the walk's layer has been gathered */
};

vd_status vd_layered_open(const char *path, const vd_layered_options *options, vd_pool *pool,
                          vd_layered **ret_layered, vd_err *err)
{
    vd_walk_options walk = options->walk;
    vd_layered *l = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*l), "the calibration", &l, err);
    if (st != VD_OK)
        return st;
    l->drift = options->drift;
    l->gptq = options->gptq;
    walk.gram = options->gram || options->gptq;
    walk.cross = options->drift > 0;
    walk.head_gram = options->gptq;
    if (walk.gram)
        st = vd_linalg_open(&l->linalg, err);
    if (st == VD_OK)
        st = options->imatrix != NULL ? vd_imatrix_read(options->imatrix, &l->imatrix, err)
                                      : vd_walk_open(path, &walk, pool, l->linalg, &l->walk, err);
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
    vd_imatrix_free(l->imatrix);
    vd_linalg_close(l->linalg);
    vd_free(l);
}

bool vd_layered_walks(const vd_layered *layered)
{
    return layered->walk != NULL;
}

const int32_t *vd_layered_tokens(const vd_layered *layered, size_t *ret_n)
{
    *ret_n = vd_layered_n_tokens(layered);
    return layered->walk != NULL ? vd_walk_tokens(layered->walk) : NULL;
}

size_t vd_layered_n_tokens(const vd_layered *layered)
{
    return layered->walk != NULL ? vd_walk_n_tokens(layered->walk) : 0;
}

/* vd_walk_gather or vd_walk_through. */
typedef vd_status (*gather_fn)(vd_walk *walk, vd_err *err);

vd_status vd_layered_advance(vd_layered *l, size_t layer, vd_err *err)
{
    vd_status st = VD_OK;
    if (l->walk == NULL || vd_walk_layer(l->walk) >= layer)
        return VD_OK;
    if (l->entered)
        vd_calibrated_forget(&l->calibrated);
    l->entered = false;
    while (st == VD_OK && vd_walk_layer(l->walk) < layer) /* some may be without matrices */
        st = vd_walk_next(l->walk, err);
    return st;
}

static vd_status enter(vd_layered *l, size_t layer, gather_fn gather, vd_err *err)
{
    if (l->walk == NULL || (l->entered && vd_walk_layer(l->walk) == layer))
        return VD_OK;
    vd_status st = vd_layered_advance(l, layer, err);
    if (st == VD_OK)
        st = gather(l->walk, err);
    l->entered = st == VD_OK;
    return st;
}

vd_status vd_layered_enter(vd_layered *l, size_t layer, vd_err *err)
{
    return enter(l, layer, vd_walk_gather, err);
}

vd_status vd_layered_visit(vd_layered *l, size_t layer, vd_err *err)
{
    return enter(l, layer, vd_walk_through, err);
}

vd_status vd_layered_save(vd_layered *l, vd_resume *resume, const vd_resume_state *state,
                          vd_err *err)
{
    size_t n_bytes;
    const float *x = vd_walk_stream(l->walk, &n_bytes);
    return vd_resume_save(resume, state, x, n_bytes, err);
}

vd_status vd_layered_restore(vd_layered *l, vd_resume *resume, size_t layer, vd_err *err)
{
    size_t n_bytes;
    float *x = vd_walk_stream(l->walk, &n_bytes);
    vd_status st = vd_resume_stream(resume, x, n_bytes, err);
    return st == VD_OK ? vd_walk_go_on(l->walk, layer, err) : st;
}

/* What one matrix reads, as the walk has it; NULL where no product reads it. */
static vd_moments *moments_of(vd_layered *l, vd_str name, size_t e, size_t n_cols)
{
    vd_moments *m = l->walk != NULL ? vd_walk_head(l->walk, name) : NULL;
    if (m == NULL && l->walk != NULL && l->entered)
        m = vd_walk_moments(l->walk, name, e);
    return m != NULL && m->n == n_cols ? m : NULL;
}

static void mean_squares(const vd_moments *m, float *means)
{
    for (size_t i = 0; i < m->n; i++)
        means[i] = vd_moments_mean(m, i);
}

vd_status vd_layered_importance(vd_layered *l, vd_str name, size_t n_experts, size_t n_cols,
                                float **ret_importance, vd_err *err)
{
    size_t n;
    float *means = NULL;
    const vd_imatrix_entry *entry = l->imatrix != NULL ? vd_imatrix_find(l->imatrix, name) : NULL;
    *ret_importance = NULL;
    if (entry == NULL && moments_of(l, name, 0, n_cols) == NULL)
        return VD_OK;
    if (!vd_mul_size(n_experts, n_cols, &n))
        return VD_FAIL(err, VD_ERR_NOMEM, "%zu experts are too many", n_experts);
    vd_status st = vd_alloc_array(n, sizeof(*means), "importances", &means, err);
    if (st == VD_OK && entry != NULL)
        st = vd_imatrix_means(entry, n_experts, n_cols, means, err);
    for (size_t e = 0; st == VD_OK && entry == NULL && e < n_experts; e++) {
        vd_moments none = {.n = n_cols}, *moments = moments_of(l, name, e, n_cols);
        mean_squares(moments != NULL ? moments : &none, means + e * n_cols);
    }
    if (st == VD_OK) {
        *ret_importance = means;
        means = NULL;
    }
    vd_free(means);
    return st;
}

vd_status vd_layered_tell(vd_layered *l, vd_str name, size_t n_experts, size_t n_cols,
                          vd_imatrix *imatrix, vd_err *err)
{
    vd_imatrix_entry *entry = NULL;
    if (moments_of(l, name, 0, n_cols) == NULL)
        return VD_OK;
    vd_status st = vd_imatrix_add(imatrix, name, n_experts, n_cols, &entry, err);
    for (size_t e = 0; st == VD_OK && e < n_experts; e++) {
        const vd_moments *m = moments_of(l, name, e, n_cols);
        entry->count[e] = m != NULL ? (float)m->n_tokens : 0;
        for (size_t i = 0; m != NULL && i < n_cols; i++)
            entry->sum[e * n_cols + i] = (float)m->square[i];
    }
    return st;
}

/* Pruned by the file's importances: as if one token had been seen whose squares they are. */
static vd_status prune_by_file(vd_layered *l, const vd_prune *prune, vd_str name, float *values,
                               size_t n_experts, size_t n_rows, size_t n_cols, vd_err *err)
{
    float *means = NULL;
    double *square = NULL;
    vd_status st = vd_layered_importance(l, name, n_experts, n_cols, &means, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_cols, sizeof(*square), "importances", &square, err);
    for (size_t e = 0; st == VD_OK && e < n_experts; e++) {
        vd_moments moments = {.n = n_cols, .n_tokens = means != NULL, .square = square};
        for (size_t i = 0; means != NULL && i < n_cols; i++)
            square[i] = (double)means[e * n_cols + i];
        st = vd_calibrated_prune(&l->calibrated, prune, &moments,
                                 values + e * n_rows * n_cols, n_rows, err);
    }
    vd_free(square);
    vd_free(means);
    return st;
}

vd_status vd_layered_prune(vd_layered *l, const vd_prune *prune, vd_str name, float *values,
                           size_t n_experts, size_t n_rows, size_t n_cols, vd_err *err)
{
    vd_status st = VD_OK;
    vd_moments *first = moments_of(l, name, 0, n_cols);
    if (first != NULL && n_experts == 1)
        st = vd_calibrated_correct(&l->calibrated, l->drift, first, values, n_rows, err);
    if (st != VD_OK || !vd_prune_is_calibrated(prune->method))
        return st;
    if (l->walk == NULL)
        return prune_by_file(l, prune, name, values, n_experts, n_rows, n_cols, err);
    for (size_t e = 0; st == VD_OK && e < n_experts; e++) {
        vd_moments none = {.n = n_cols}, *moments = moments_of(l, name, e, n_cols);
        st = vd_calibrated_prune(&l->calibrated, prune, moments != NULL ? moments : &none,
                                 values + e * n_rows * n_cols, n_rows, err);
    }
    return st;
}

bool vd_layered_rounds(vd_layered *l, vd_str name, uint32_t to, size_t n_experts, size_t n_cols)
{
    const vd_moments *m = moments_of(l, name, 0, n_cols);
    return l->gptq && vd_grid_of(to) != NULL && n_experts == 1 && m != NULL && m->gram != NULL &&
           m->n_tokens > 0;
}

vd_status vd_layered_round(vd_layered *l, vd_str name, uint32_t to, bool keep_zeros,
                           const float *scale, float *values, size_t n_experts, size_t n_rows,
                           size_t n_cols, unsigned char *rows, size_t row_bytes, vd_err *err)
{
    if (!vd_layered_rounds(l, name, to, n_experts, n_cols))
        return VD_OK;
    return vd_calibrated_round(&l->calibrated, vd_grid_of(to), keep_zeros,
                               moments_of(l, name, 0, n_cols), scale, values, n_rows, rows,
                               row_bytes, err);
}

void vd_layered_embeddings(vd_layered *l, vd_str name, size_t first, const unsigned char *rows,
                           size_t n)
{
    if (l->walk != NULL)
        vd_walk_embeddings(l->walk, name, first, rows, n);
}

vd_layered_report vd_layered_report_of(const vd_layered *l)
{
    return (vd_layered_report){l->calibrated.damping_most, l->calibrated.n_diagonal};
}

vd_status vd_layered_keep(vd_layered *l, vd_str name, float *values, vd_err *err)
{
    if (l->walk != NULL)
        return vd_walk_replace(l->walk, name, values, err);
    vd_free(values);
    return VD_OK;
}
