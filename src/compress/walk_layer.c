/* walk_layer.c - see walk.h: what the products of a layer read, and the values of its matrices. */
#include "compress/walk_internal.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

/* ---- slots ------------------------------------------------------------------------------------*/

/* Which input the product with `dense` of `layer` reads; SIZE_MAX: it is not compressed. */
static size_t slot_of(const vd_layer *layer, size_t n_experts, const vd_dense *dense)
{
    if (dense == &layer->q || dense == &layer->k || dense == &layer->v)
        return SLOT_QKV;
    if (dense == &layer->o)
        return SLOT_O;
    if (dense == &layer->ffn.gate || dense == &layer->ffn.up)
        return SLOT_FFN;
    if (dense == &layer->ffn.down)
        return SLOT_DOWN;
    for (size_t e = 0; layer->expert != NULL && e < n_experts; e++) {
        if (dense == &layer->expert[e].gate || dense == &layer->expert[e].up)
            return SLOT_EXPERTS + 2 * e;
        if (dense == &layer->expert[e].down)
            return SLOT_EXPERTS + 2 * e + 1;
    }
    return SIZE_MAX;
}

/* Calls fn for every product of a layer. */
typedef bool (*dense_fn)(void *ctx, vd_dense *dense);

static void each_dense(vd_layer *layer, size_t n_experts, dense_fn fn, void *ctx)
{
    vd_dense *some[] = {&layer->q, &layer->k, &layer->v, &layer->o, &layer->ffn.gate,
                        &layer->ffn.up, &layer->ffn.down};
    for (size_t i = 0; i < VD_COUNT(some); i++)
        if (some[i]->weight.n_rows > 0 && !fn(ctx, some[i]))
            return;
    for (size_t e = 0; layer->expert != NULL && e < n_experts; e++) {
        vd_ffn *ffn = &layer->expert[e];
        vd_dense *three[] = {&ffn->gate, &ffn->up, &ffn->down};
        for (size_t i = 0; i < VD_COUNT(three); i++)
            if (three[i]->weight.n_rows > 0 && !fn(ctx, three[i]))
                return;
    }
}

static vd_status prepare_slot(vd_walk *w, size_t index, size_t n, vd_err *err)
{
    vd_moments *m = &w->slot[index];
    size_t n_all, n_kept;
    bool gram = w->options.gram && index < SLOT_EXPERTS;
    m->n_tokens = 0;
    if (m->square != NULL && m->n == n) {
        memset(m->square, 0, n * sizeof(double));
        if (m->gram != NULL)
            memset(m->gram, 0, n * n * sizeof(double));
        if (m->cross != NULL)
            memset(m->cross, 0, n * n * sizeof(double));
        return VD_OK;
    }
    vd_free(m->square);
    vd_free(m->gram);
    vd_free(m->cross);
    *m = (vd_moments){.n = n};
    if (!vd_mul_size(n, n, &n_all) || !vd_mul_size(n, w->calib.ctx, &n_kept))
        return VD_FAIL(err, VD_ERR_LIMIT, "inputs of %zu values are too wide", n);
    vd_status st = vd_alloc_array(n, sizeof(double), "moments", &m->square, err);
    if (st == VD_OK && gram)
        st = vd_alloc_array(n_all, sizeof(double), "moments", &m->gram, err);
    if (st == VD_OK && gram && w->whole != NULL)
        st = vd_alloc_array(n_all, sizeof(double), "moments", &m->cross, err);
    if (st != VD_OK || !gram)
        return st;
    vd_free(w->kept[index].x);
    vd_free(w->kept[index].whole);
    w->kept[index].x = w->kept[index].whole = NULL;
    st = vd_alloc_array(n_kept, sizeof(float), "inputs", &w->kept[index].x, err);
    if (st == VD_OK && m->cross != NULL)
        st = vd_alloc_array(n_kept, sizeof(float), "inputs", &w->kept[index].whole, err);
    if (st == VD_OK && n > w->gram_width) {
        vd_free(w->gram);
        w->gram = NULL;
        w->gram_width = n;
        st = vd_alloc_array(n_all, sizeof(float), "moments", &w->gram, err);
    }
    return st;
}

typedef struct widths {
    vd_walk *walk;
    vd_status st;
    vd_err *err;
} widths;

static bool prepare_dense(void *ctx, vd_dense *dense)
{
    widths *s = ctx;
    size_t slot = slot_of(&s->walk->now, s->walk->model->hp.moe.n_experts, dense);
    s->st = prepare_slot(s->walk, slot, dense->weight.n_cols, s->err);
    return s->st == VD_OK;
}

void vd_walk_on_input(void *ctx, const vd_dense *dense, const float *x, size_t n, size_t width,
                      size_t ld_x)
{
    vd_walk *w = ctx;
    size_t index = slot_of(&w->now, w->model->hp.moe.n_experts, dense);
    bool first = dense == &w->now.q || dense == &w->now.o || dense == &w->now.ffn.up ||
                 dense == &w->now.ffn.down;
    if (index >= SLOT_EXPERTS && index != SIZE_MAX)
        first = (index - SLOT_EXPERTS) % 2 == 1 ||
                dense == &w->now.expert[(index - SLOT_EXPERTS) / 2].up;
    if (!first) /* another product of the same input has told it, or will */
        return;
    vd_moments *m = &w->slot[index];
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++) {
            double value = (double)x[t * ld_x + i];
            m->square[i] += value * value;
        }
    m->n_tokens += n;
    if (m->gram == NULL)
        return;
    assert(w->kept[index].n + n <= w->calib.ctx);
    for (size_t t = 0; t < n; t++)
        memcpy(w->kept[index].x + w->kept[index].n++ * width, x + t * ld_x, width * sizeof(*x));
}

void vd_walk_on_whole_input(void *ctx, const vd_dense *dense, const float *x, size_t n,
                            size_t width, size_t ld_x)
{
    vd_walk *w = ctx;
    const vd_layer *layer = &w->model->layer[w->layer];
    bool first = dense == &layer->q || dense == &layer->o || dense == &layer->ffn.up ||
                 dense == &layer->ffn.down;
    size_t index = first ? slot_of(layer, 0, dense) : SIZE_MAX;
    if (!first || w->kept[index].whole == NULL)
        return;
    assert(w->kept[index].n_whole + n <= w->calib.ctx);
    for (size_t t = 0; t < n; t++)
        memcpy(w->kept[index].whole + w->kept[index].n_whole++ * width, x + t * ld_x,
               width * sizeof(*x));
}

void vd_walk_add_gram(const vd_walk *w, const vd_moments *m, const float *x, size_t n,
                      float *scratch)
{
    vd_linalg_gram_f32(w->linalg, scratch, m->n, x, n);
    for (size_t i = 0; i < m->n; i++)
        for (size_t k = 0; k <= i; k++)
            m->gram[i * m->n + k] += (double)scratch[i * m->n + k];
}

void vd_walk_add_grams(vd_walk *w)
{
    for (size_t slot = 0; slot < SLOT_EXPERTS; slot++) {
        vd_moments *m = &w->slot[slot];
        if (w->kept[slot].n == 0)
            continue;
        vd_walk_add_gram(w, m, w->kept[slot].x, w->kept[slot].n, w->gram);
        if (m->cross != NULL && w->kept[slot].n_whole == w->kept[slot].n) {
            vd_linalg_cross_f32(w->linalg, w->gram, m->n, w->kept[slot].whole, w->kept[slot].x,
                                w->kept[slot].n);
            for (size_t i = 0; i < m->n * m->n; i++)
                m->cross[i] += (double)w->gram[i];
        }
        w->kept[slot].n_whole = 0;
        w->kept[slot].n = 0;
    }
}

vd_status vd_walk_prepare_moments(vd_walk *w, vd_err *err)
{
    widths s = {.walk = w, .st = VD_OK, .err = err};
    each_dense(&w->now, w->model->hp.moe.n_experts, prepare_dense, &s);
    return s.st;
}

float vd_moments_mean(const vd_moments *m, size_t i)
{
    return m->n_tokens > 0 ? (float)m->square[i] / (float)m->n_tokens : 1.0f;
}

/* ---- the matrices of a layer ------------------------------------------------------------------*/

/* The weight whose rows lie in a tensor of the file, the index-th of them. */
typedef struct search {
    const vd_gguf_tensor *tensor;
    vd_walk *walk;
    size_t index, slot;
} search;

static bool lies_in(const vd_gguf_tensor *tensor, const vd_dense *dense)
{
    const unsigned char *rows = dense->weight.rows;
    return rows >= tensor->data && rows < tensor->data + tensor->n_bytes;
}

static bool find_slot(void *ctx, vd_dense *dense)
{
    search *s = ctx;
    /* The model's own layer: `now` may have other values. */
    vd_layer *layer = &s->walk->model->layer[s->walk->layer];
    if (!lies_in(s->tensor, dense))
        return true;
    if (s->index-- > 0)
        return true;
    s->slot = slot_of(layer, s->walk->model->hp.moe.n_experts, dense);
    return false;
}

static const vd_gguf_tensor *find_tensor(const vd_walk *w, vd_str name)
{
    for (size_t i = 0; i < vd_gguf_n_tensors(w->model->gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(w->model->gguf, i);
        if (t->name.n == name.n && memcmp(t->name.data, name.data, name.n) == 0)
            return t;
    }
    return NULL;
}

bool vd_walk_reads(const vd_walk *w, vd_str name, const vd_dense *dense)
{
    const vd_gguf_tensor *tensor = find_tensor(w, name);
    return tensor != NULL && dense->weight.n_rows > 0 && lies_in(tensor, dense);
}

vd_moments *vd_walk_moments(vd_walk *w, vd_str name, size_t e)
{
    search s = {.tensor = find_tensor(w, name), .walk = w, .index = e, .slot = SIZE_MAX};
    if (s.tensor == NULL)
        return NULL;
    /* The parts of a fused matrix (q, k, v) read the same; experts lie one after the other. */
    each_dense(&w->model->layer[w->layer], w->model->hp.moe.n_experts, find_slot, &s);
    return s.slot != SIZE_MAX ? &w->slot[s.slot] : NULL;
}

static bool put_values(void *ctx, vd_dense *dense)
{
    const changed *one = ctx;
    vd_weight *weight = &dense->weight;
    if (!lies_in(one->tensor, dense))
        return true;
    size_t first = (size_t)((const unsigned char *)weight->rows - one->tensor->data) /
                   weight->row_bytes;
    weight->rows = one->values + first * weight->n_cols;
    weight->dtype = VD_DTYPE_F32;
    weight->row_bytes = weight->n_cols * sizeof(float);
    return true;
}

vd_status vd_walk_replace(vd_walk *w, vd_str name, float *values, vd_err *err)
{
    changed *one = vd_calloc(1, sizeof(*one));
    if (one == NULL) {
        vd_free(values);
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a changed matrix");
    }
    *one = (changed){find_tensor(w, name), values, w->changes};
    w->changes = one;
    if (one->tensor != NULL)
        each_dense(&w->now, w->model->hp.moe.n_experts, put_values, one);
    return VD_OK;
}

void vd_walk_drop_changes(vd_walk *w)
{
    while (w->changes != NULL) {
        changed *one = w->changes;
        w->changes = one->next;
        vd_free(one->values);
        vd_free(one);
    }
}
