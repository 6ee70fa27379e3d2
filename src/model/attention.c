/*
 * attention.c - from queries, keys and values to what the output product reads: norms, rotation,
 * the cache, and the sum over earlier positions.
 */
#include "base/checked.h"
#include "model/pass.h"

static void rotate(const vd_worker *w, const vd_layer *layer, size_t token, float *head)
{
    const vd_rope *rope = layer->local ? w->f->rope_local : w->f->rope;
    const float *angles = layer->local ? w->f->angles_local : w->f->angles;
    vd_rotation rotation = w->m->hp.block.rotation;
    if (layer->rotated)
        w->kn->rope(head, angles + token * 2 * rope->n_pairs, 2 * rope->n_pairs,
                    rotation == VD_ROTATION_HALVES);
}

/* The `index`-th head of queries or keys: its norm, if it has one of its own, then rotation. */
static void prepare_head(const vd_worker *w, const vd_layer *layer, const vd_norm *norm,
                         size_t index, size_t token, float *head)
{
    size_t d = w->m->hp.head_dim;
    vd_norm own = *norm;
    if (w->m->hp.block.qk_norm == VD_QK_NORM_HEADS)
        own.weight += index * d;
    if (w->m->hp.block.qk_norm == VD_QK_NORM_HEAD || w->m->hp.block.qk_norm == VD_QK_NORM_HEADS)
        vd_pass_norm_row(w, &own, head, head, d);
    rotate(w, layer, token, head);
}

/* Prepares one KV head's key and its group's queries, and puts key and value into the cache. */
static void store_position(vd_worker *w, size_t index, size_t token, size_t head)
{
    vd_forward *f = w->f;
    const vd_hparams *hp = &w->m->hp;
    const vd_layer *layer = &w->m->layer[index];
    size_t d = hp->head_dim, group = layer->n_head / layer->n_kv_head;
    for (size_t h = head * group; h < (head + 1) * group; h++)
        prepare_head(w, layer, &layer->q_norm, h, token, f->q + (token * layer->n_head + h) * d);
    float *key = f->k + (token * layer->n_kv_head + head) * d;
    prepare_head(w, layer, &layer->k_norm, head, token, key);
    size_t pos = w->pass->batch->pos[token];
    size_t page = w->pass->batch->seq[token]->page[pos / VD_KV_PAGE_TOKENS];
    size_t at = page * vd_kv_page_stride(f->kv) +
                pos % VD_KV_PAGE_TOKENS * vd_kv_row_stride(f->kv);
    vd_dtype dtype = vd_kv_dtype(f->kv);
    w->kn->store_kv(dtype, key, vd_kv_keys(f->kv, index, head) + at, d);
    w->kn->store_kv(dtype, f->v + (token * layer->n_kv_head + head) * d,
                    vd_kv_values(f->kv, index, head) + at, d);
}

/* Queries of tokens [token, token + n), all of one sequence; many: by attn_many. */
static void attend(vd_worker *w, size_t index, size_t token, size_t n, size_t head, bool many)
{
    vd_forward *f = w->f;
    const vd_hparams *hp = &w->m->hp;
    const vd_batch *batch = w->pass->batch;
    const vd_layer *layer = &w->m->layer[index];
    size_t d = hp->head_dim, group = layer->n_head / layer->n_kv_head;
    size_t at = (token * layer->n_head + head * group) * d;
    vd_attn args = {
        .q = f->q + at,
        .out = f->attn + at,
        .n_q = n,
        .ld_q = layer->n_head * d,
        .n_group = group,
        .head_dim = d,
        .k_base = vd_kv_keys(f->kv, index, head),
        .v_base = vd_kv_values(f->kv, index, head),
        .page = batch->seq[token]->page,
        .page_stride = vd_kv_page_stride(f->kv),
        .row_stride = vd_kv_row_stride(f->kv),
        .page_tokens = VD_KV_PAGE_TOKENS,
        .n_kv = f->n_kv[token + n - 1],
        .causal = !hp->block.encoder,
        .window = layer->local ? hp->window : 0,
        .kv_dtype = vd_kv_dtype(f->kv),
        .scale = hp->attn_scale,
        .softcap = hp->attn_softcap,
        .scratch = w->space->attn,
    };
    (many ? w->kn->attn_many : w->kn->attn)(&args);
}

/* Norms over all heads of a token together. */
static void norm_widths(vd_worker *w, const vd_layer *layer)
{
    size_t d = w->m->hp.head_dim, q = layer->n_head * d, k = layer->n_kv_head * d, begin, end;
    vd_pool_range(w->n_tokens, 1, w->thread, w->n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        vd_pass_norm_row(w, &layer->q_norm, w->f->q + t * q, w->f->q + t * q, q);
        vd_pass_norm_row(w, &layer->k_norm, w->f->k + t * k, w->f->k + t * k, k);
    }
    vd_pool_barrier(w->f->pool);
}

/* Whether n tokens of a sequence go by attn_many: weights or a cache in f32 are there for not being
 * rounded. */
static bool takes_many(const vd_worker *w, size_t index, size_t n)
{
    const vd_layer *layer = &w->m->layer[index];
    return w->kn->attn_many != NULL && w->m->precision == VD_PRECISION_FAST &&
           vd_kv_dtype(w->f->kv) != VD_DTYPE_F32 &&
           layer->q.weight.dtype != VD_DTYPE_F32 && n >= VD_ATTN_MANY_FROM &&
           layer->n_head / layer->n_kv_head <= VD_ATTN_MANY_ROWS;
}

/* The tokens of a sequence go in blocks of nearly the same size, as large as the kernel takes.
 * (block, KV head) pairs go round the threads, so that long and short ones mix. */
static void attend_blocks(vd_worker *w, size_t index)
{
    const vd_layer *layer = &w->m->layer[index];
    const vd_kv_seq *const *seq = w->pass->batch->seq;
    size_t group = layer->n_head / layer->n_kv_head, item = 0;
    for (size_t first = 0, end; first < w->n_tokens; first = end) {
        for (end = first + 1; end < w->n_tokens && seq[end] == seq[first];)
            end++;
        size_t n = end - first;
        bool many = takes_many(w, index, n);
        size_t most = VD_MAX((many ? VD_ATTN_MANY_ROWS : VD_ATTN_ROWS) / group, (size_t)1);
        size_t n_blocks = (n + most - 1) / most;
        for (size_t b = 0; b < n_blocks; b++) {
            size_t from = first + n * b / n_blocks, to = first + n * (b + 1) / n_blocks;
            for (size_t head = 0; head < layer->n_kv_head; head++)
                if (item++ % w->n_threads == w->thread)
                    attend(w, index, from, to - from, head, many);
        }
    }
}

void vd_pass_attention(vd_worker *w, size_t layer)
{
    size_t n_heads = w->m->layer[layer].n_kv_head, n_items = w->n_tokens * n_heads;
    if (w->m->hp.block.qk_norm == VD_QK_NORM_WIDTH)
        norm_widths(w, &w->m->layer[layer]);
    for (size_t i = w->thread; i < n_items; i += w->n_threads) {
        store_position(w, layer, i / n_heads, i % n_heads);
        if (w->pass->one_each)
            attend(w, layer, i / n_heads, 1, i % n_heads, false);
    }
    vd_pool_barrier(w->f->pool);
    if (w->pass->one_each)
        return;
    attend_blocks(w, layer);
    vd_pool_barrier(w->f->pool);
}
