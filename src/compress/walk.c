/* walk.c - see walk.h. */
#include "compress/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "model/forward.h"

/* What the matrices of a layer read. Those of an expert follow: two each. */
enum { SLOT_QKV, SLOT_O, SLOT_FFN, SLOT_DOWN, SLOT_EXPERTS };

/* Values that a matrix of the layer has now. */
typedef struct changed {
    const vd_gguf_tensor *tensor;
    float *values;
    struct changed *next;
} changed;

struct vd_walk {
    vd_walk_options options;
    vd_pool *pool;
    const vd_linalg *linalg;
    vd_model *model;
    vd_calib calib;
    vd_kv *kv;
    vd_kv_seq seq;
    vd_forward *forward;
    const vd_kv_seq **seqs;  /* [ctx] */
    uint32_t *pos;           /* [ctx] */
    float *x;                /* [n_chunks, ctx, C], mapped */
    size_t x_bytes;
    size_t layer;
    vd_moments *slot;        /* [n_slots] */
    size_t n_slots;
    double *wide;            /* [ctx, widest] one input in double precision */
    changed *changes;
    vd_layer now;            /* the layer with those */
    vd_ffn *experts;         /* [E] of it, or NULL */
};

/* ---- the file of the residual stream ----------------------------------------------------------*/

static vd_status map_stream(vd_walk *w, vd_err *err)
{
    size_t n;
    if (!vd_mul_size(w->calib.n_chunks * w->calib.ctx, w->model->hp.n_embd, &n) ||
        !vd_mul_size(n, sizeof(float), &w->x_bytes))
        return VD_FAIL(err, VD_ERR_LIMIT, "the calibration text is too long");
    const char *folder = w->options.folder != NULL ? w->options.folder : ".";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* a file system without such files */
        char path[4096];
        int length = snprintf(path, sizeof(path), "%s/.verdant-calib-XXXXXX", folder);
        if (length < (int)sizeof(path) && (fd = mkostemp(path, O_CLOEXEC)) >= 0)
            unlink(path);
    }
    if (fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "%s: no temporary file for the calibration: %s", folder,
                       strerror(errno));
    int failed = posix_fallocate(fd, 0, (off_t)w->x_bytes);
    if (failed == 0) {
        void *map = mmap(NULL, w->x_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        failed = map == MAP_FAILED ? errno : 0;
        w->x = map == MAP_FAILED ? NULL : map;
    }
    close(fd);
    if (failed != 0)
        return VD_FAIL(err, VD_ERR_IO, "%s: no room for %zu MB of the calibration: %s", folder,
                       w->x_bytes >> 20, strerror(failed));
    return VD_OK;
}

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
    size_t n_all;
    bool gram = w->options.gram && index < SLOT_EXPERTS;
    m->n_tokens = 0;
    if (m->square != NULL && m->n == n) {
        memset(m->square, 0, n * sizeof(double));
        if (m->gram != NULL)
            memset(m->gram, 0, n * n * sizeof(double));
        return VD_OK;
    }
    vd_free(m->square);
    vd_free(m->gram);
    *m = (vd_moments){.n = n};
    if (!vd_mul_size(n, n, &n_all))
        return VD_FAIL(err, VD_ERR_LIMIT, "inputs of %zu values are too wide", n);
    vd_status st = vd_alloc_array(n, sizeof(double), "moments", &m->square, err);
    if (st == VD_OK && gram)
        st = vd_alloc_array(n_all, sizeof(double), "moments", &m->gram, err);
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

static void on_input(void *ctx, const vd_dense *dense, const float *x, size_t n, size_t width,
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
            if (m->gram != NULL)
                w->wide[t * width + i] = value;
        }
    m->n_tokens += n;
    if (m->gram != NULL)
        vd_linalg_gram(w->linalg, m->gram, width, w->wide, n);
}

/* ---- passes -----------------------------------------------------------------------------------*/

static void begin_layer(vd_walk *w)
{
    size_t n_experts = w->model->hp.moe.n_experts;
    w->now = w->model->layer[w->layer];
    if (w->now.expert != NULL) {
        memcpy(w->experts, w->now.expert, n_experts * sizeof(*w->experts));
        w->now.expert = w->experts;
    }
}

/* All chunks through the layer as it is now; what comes out is kept or not. */
static vd_status pass(vd_walk *w, vd_input_fn input, bool keep, vd_err *err)
{
    size_t ctx = w->calib.ctx, c = w->model->hp.n_embd, n_all = w->calib.n_chunks;
    float *scratch = NULL;
    vd_status st = vd_alloc_array(ctx * c, sizeof(float), "a chunk", &scratch, err);
    for (size_t i = 0; st == VD_OK && i < n_all; i++) {
        float *x = w->x + i * ctx * c;
        if (!keep)
            memcpy(scratch, x, ctx * c * sizeof(float));
        vd_part part = {.first = w->layer, .end = w->layer + 1, .layer = &w->now,
                        .x = keep ? x : scratch};
        vd_batch batch = {.n_tokens = ctx, .token = w->calib.token + i * ctx, .pos = w->pos,
                          .seq = w->seqs, .input = input, .input_ctx = w, .part = &part};
        vd_forward_run(w->forward, &batch);
        if (!isfinite(part.x[0]) || !isfinite(part.x[ctx * c - 1]))
            st = VD_FAIL(err, VD_ERR_FORMAT, "layer %zu computes what is no number", w->layer);
        if (w->options.progress != NULL &&
            !w->options.progress(w->options.ctx, w->layer, i + 1 + (keep ? n_all : 0), 2 * n_all))
            st = VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    }
    vd_free(scratch);
    return st;
}

static vd_status embed(vd_walk *w, vd_err *err)
{
    size_t ctx = w->calib.ctx, c = w->model->hp.n_embd, n_vocab = w->model->hp.n_vocab;
    for (size_t i = 0; i < w->calib.n_chunks * ctx; i++)
        if (w->calib.token[i] < 0 || (size_t)w->calib.token[i] >= n_vocab)
            return VD_FAIL(err, VD_ERR_FORMAT, "the vocabulary has a token %d, the embedding has "
                           "%zu rows", w->calib.token[i], n_vocab);
    for (size_t i = 0; i < w->calib.n_chunks; i++) {
        vd_part part = {.embed = true, .x = w->x + i * ctx * c};
        vd_batch batch = {.n_tokens = ctx, .token = w->calib.token + i * ctx, .pos = w->pos,
                          .seq = w->seqs, .part = &part};
        vd_forward_run(w->forward, &batch);
    }
    return VD_OK;
}

static vd_status make_buffers(vd_walk *w, vd_err *err)
{
    const vd_hparams *hp = &w->model->hp;
    size_t ctx = w->calib.ctx, n_ff = VD_MAX(hp->n_ff, VD_MAX(hp->moe.n_ff, hp->moe.n_ff_shared));
    size_t widest = VD_MAX(VD_MAX(hp->n_embd, n_ff), hp->n_head * hp->head_dim), n_wide;
    if (!vd_mul_size(ctx, widest, &n_wide))
        return VD_FAIL(err, VD_ERR_LIMIT, "chunks of %zu tokens are too long", ctx);
    w->n_slots = SLOT_EXPERTS + 2 * hp->moe.n_experts;
    vd_status st = vd_alloc_array(w->n_slots, sizeof(*w->slot), "moments", &w->slot, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_wide, sizeof(double), "an input", &w->wide, err);
    if (st == VD_OK)
        st = vd_alloc_array(ctx, sizeof(*w->pos), "positions", &w->pos, err);
    if (st == VD_OK)
        st = vd_alloc_array(ctx, sizeof(*w->seqs), "positions", &w->seqs, err);
    if (st == VD_OK && hp->moe.n_experts > 0)
        st = vd_alloc_array(hp->moe.n_experts, sizeof(*w->experts), "experts", &w->experts, err);
    if (st == VD_OK)
        st = vd_kv_create(hp, VD_DTYPE_F32, ctx, &w->kv, err);
    if (st == VD_OK)
        st = vd_kv_seq_init(w->kv, ctx, &w->seq, err);
    if (st == VD_OK && !vd_kv_seq_reserve(w->kv, &w->seq, ctx))
        st = VD_FAIL(err, VD_ERR_NOMEM, "no room for %zu positions", ctx);
    if (st == VD_OK)
        st = vd_forward_create(w->model, w->kv, w->pool, ctx, ctx, &w->forward, err);
    for (size_t i = 0; st == VD_OK && i < ctx; i++) {
        w->pos[i] = (uint32_t)i;
        w->seqs[i] = &w->seq;
    }
    return st;
}

vd_status vd_walk_open(const char *path, const vd_walk_options *options, vd_pool *pool,
                       const vd_linalg *linalg, vd_walk **ret_walk, vd_err *err)
{
    vd_walk *w = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*w), "the calibration", &w, err);
    if (st != VD_OK)
        return st;
    w->options = *options;
    w->pool = pool;
    w->linalg = linalg;
    st = vd_model_open(path, VD_PRECISION_EXACT, pool, &w->model, err);
    if (st == VD_OK && w->model->hp.block.encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s is an encoder; calibration needs a model that "
                     "writes text", w->model->arch->name);
    if (st == VD_OK)
        st = vd_calib_read(w->model->gguf, &options->calib, &w->calib, err);
    if (st == VD_OK && w->calib.ctx > vd_model_ctx_max(w->model))
        st = VD_FAIL(err, VD_ERR_CONTEXT, "chunks of %zu tokens; the model has positions for %zu",
                     w->calib.ctx, vd_model_ctx_max(w->model));
    if (st == VD_OK)
        st = make_buffers(w, err);
    if (st == VD_OK)
        st = map_stream(w, err);
    if (st == VD_OK)
        st = embed(w, err);
    if (st == VD_OK) {
        begin_layer(w);
        *ret_walk = w;
        w = NULL;
    }
    vd_walk_free(w);
    return st;
}

static void drop_changes(vd_walk *w)
{
    while (w->changes != NULL) {
        changed *one = w->changes;
        w->changes = one->next;
        vd_free(one->values);
        vd_free(one);
    }
}

void vd_walk_free(vd_walk *w)
{
    if (w == NULL)
        return;
    drop_changes(w);
    for (size_t i = 0; w->slot != NULL && i < w->n_slots; i++) {
        vd_free(w->slot[i].square);
        vd_free(w->slot[i].gram);
    }
    if (w->x != NULL)
        munmap(w->x, w->x_bytes);
    vd_forward_free(w->forward);
    if (w->kv != NULL)
        vd_kv_seq_done(w->kv, &w->seq);
    vd_kv_free(w->kv);
    vd_free(w->slot);
    vd_free(w->wide);
    vd_free(w->pos);
    vd_free(w->seqs);
    vd_free(w->experts);
    vd_calib_done(&w->calib);
    vd_model_free(w->model);
    vd_free(w);
}

size_t vd_walk_layer(const vd_walk *walk)
{
    return walk->layer;
}

size_t vd_walk_n_tokens(const vd_walk *walk)
{
    return walk->calib.n_chunks * walk->calib.ctx;
}

vd_status vd_walk_gather(vd_walk *w, vd_err *err)
{
    widths s = {.walk = w, .st = VD_OK, .err = err};
    each_dense(&w->now, w->model->hp.moe.n_experts, prepare_dense, &s);
    return s.st == VD_OK ? pass(w, on_input, false, err) : s.st;
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

vd_status vd_walk_next(vd_walk *w, vd_err *err)
{
    vd_status st = pass(w, NULL, true, err);
    drop_changes(w);
    if (st == VD_OK && ++w->layer < w->model->hp.n_layer)
        begin_layer(w);
    return st;
}
