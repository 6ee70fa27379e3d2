/*
 * forward.c - see forward.h. The life of a token in one layer, and where the threads meet:
 *
 *   x --norm--> h --Wq,Wk,Wv--> q,k,v | --RoPE--> cache | --attention--> a | --Wo--> +x |
 *     --norm--> h --Wgate,Wup--> silu(g)*u | --Wdown--> +x |                 "|" = barrier
 *
 * Products are split by output rows: a thread computes its rows for all tokens of the batch and
 * adds them to x itself, so no barrier stands between a product and its residual. What is cheap
 * per token (norms, rounding to int8) is done by every thread for itself while the batch is small
 * (PRIVATE_MAX tokens): that costs less than meeting.
 */
#include "model/forward.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { PRIVATE_MAX = 2, ALIGN = 64 };

/* Scratch of one thread. */
typedef struct thread_space {
    float *rows;    /* [PRIVATE_MAX, C] normalized input of a small batch */
    void *act;      /* vd_act of a small batch */
    float *scratch; /* [max K] for vd_linear */
} thread_space;

struct vd_forward {
    const vd_model *model;
    vd_kv *kv;
    vd_pool *pool;
    size_t max_tokens;
    float *x;          /* [T, C] the residual stream */
    float *h;          /* [T, C] normalized */
    float *q, *attn;   /* [T, H*D] */
    float *k, *v;      /* [T, Hkv*D] */
    float *gate, *up;  /* [T, F] */
    float *y;          /* [T, C] outputs that a post norm reads */
    float *angles, *angles_local; /* [T, n_rot] */
    void *act;         /* shared vd_act of a large batch */
    thread_space *space; /* [n_threads] */
    void *memory;      /* all of the above but `space` */
};

/* One job: the batch and what its threads share. */
typedef struct pass {
    vd_forward *f;
    const vd_batch *batch;
    bool one_each; /* every token is of another sequence: attention needs only its own K and V */
} pass;

typedef struct worker {
    const pass *pass;
    vd_forward *f;
    const vd_model *m;
    const vd_kernels *kn;
    size_t n_tokens, thread, n_threads;
    thread_space *space;
} worker;

/* ---- inputs of products ----------------------------------------------------------------------*/

/* Rows x[n, width] made ready for products. With `norm`, of their RMS-normalized form. */
static vd_act prepare_input(worker *w, const float *x, size_t n, size_t width, const float *norm)
{
    vd_forward *f = w->f;
    vd_act act;
    bool private = n <= PRIVATE_MAX;
    float *h = private ? w->space->rows : f->h;
    size_t begin = 0, end = n;
    if (!private)
        vd_pool_range(n, 1, w->thread, w->n_threads, &begin, &end);
    if (norm != NULL)
        for (size_t t = begin; t < end; t++)
            w->kn->rms_norm(x + t * width, norm, w->m->hp.norm_eps, h + t * width, width);
    vd_act_bind(&act, private ? w->space->act : f->act, norm != NULL ? h : x, n, width, width);
    vd_act_quantize(w->kn, w->m->precision, &act, begin, end);
    if (!private)
        vd_pool_barrier(f->pool);
    return act;
}

/* This thread's share of the rows of a weight. */
static void my_rows(const worker *w, const vd_weight *weight, size_t *ret_begin, size_t *ret_end)
{
    vd_pool_range(weight->n_rows, VD_ROW_UNIT, w->thread, w->n_threads, ret_begin, ret_end);
}

static void product(worker *w, const vd_weight *weight, const vd_act *act, float *y)
{
    size_t begin, end;
    my_rows(w, weight, &begin, &end);
    if (begin < end)
        vd_linear(w->kn, weight, act, y, weight->n_rows, begin, end, w->space->scratch);
}

/* x += W act, with a norm between where the architecture has one. Ends with a barrier. */
static void product_to_residual(worker *w, const vd_weight *weight, const vd_act *act,
                                const float *post_norm)
{
    vd_forward *f = w->f;
    size_t c = w->m->hp.n_embd, begin, end;
    product(w, weight, act, f->y);
    if (post_norm == NULL) {
        my_rows(w, weight, &begin, &end);
        for (size_t t = 0; t < w->n_tokens; t++)
            w->kn->add(f->x + t * c + begin, f->y + t * c + begin, end - begin);
        vd_pool_barrier(f->pool);
        return;
    }
    vd_pool_barrier(f->pool);
    vd_pool_range(w->n_tokens, 1, w->thread, w->n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        w->kn->rms_norm(f->y + t * c, post_norm, w->m->hp.norm_eps, f->y + t * c, c);
        w->kn->add(f->x + t * c, f->y + t * c, c);
    }
    vd_pool_barrier(f->pool);
}

/* ---- attention -------------------------------------------------------------------------------*/

static const float *angles_of(const worker *w, const vd_layer *layer, size_t token)
{
    const float *table = layer->local ? w->f->angles_local : w->f->angles;
    return table + token * 2 * layer->rope->n_pairs;
}

static void rotate(const worker *w, const vd_layer *layer, const float *norm, size_t token,
                   float *head)
{
    if (norm != NULL)
        w->kn->rms_norm(head, norm, w->m->hp.norm_eps, head, w->m->hp.head_dim);
    w->kn->rope(head, angles_of(w, layer, token), 2 * layer->rope->n_pairs, layer->rope->neox);
}

/* Rotates one KV head's key and its group's queries, and puts key and value into the cache. */
static void store_position(worker *w, size_t index, size_t token, size_t head)
{
    vd_forward *f = w->f;
    const vd_hparams *hp = &w->m->hp;
    const vd_layer *layer = &w->m->layer[index];
    size_t d = hp->head_dim, group = hp->n_head / hp->n_kv_head;
    for (size_t g = 0; g < group; g++)
        rotate(w, layer, layer->q_norm, token, f->q + (token * hp->n_head + head * group + g) * d);
    float *key = f->k + (token * hp->n_kv_head + head) * d;
    rotate(w, layer, layer->k_norm, token, key);
    size_t pos = w->pass->batch->pos[token];
    size_t page = w->pass->batch->seq[token]->page[pos / VD_KV_PAGE_TOKENS];
    size_t at = page * vd_kv_page_stride(f->kv) +
                pos % VD_KV_PAGE_TOKENS * vd_kv_row_stride(f->kv);
    vd_dtype dtype = vd_kv_dtype(f->kv);
    w->kn->store_kv(dtype, key, vd_kv_keys(f->kv, index, head) + at, d);
    w->kn->store_kv(dtype, f->v + (token * hp->n_kv_head + head) * d,
                    vd_kv_values(f->kv, index, head) + at, d);
}

static void attend(worker *w, size_t index, size_t token, size_t head)
{
    vd_forward *f = w->f;
    const vd_hparams *hp = &w->m->hp;
    const vd_batch *batch = w->pass->batch;
    size_t d = hp->head_dim, group = hp->n_head / hp->n_kv_head;
    size_t n_kv = (size_t)batch->pos[token] + 1;
    bool windowed = w->m->layer[index].local && n_kv > hp->window;
    vd_attn args = {
        .q = f->q + (token * hp->n_head + head * group) * d,
        .out = f->attn + (token * hp->n_head + head * group) * d,
        .n_group = group,
        .head_dim = d,
        .k_base = vd_kv_keys(f->kv, index, head),
        .v_base = vd_kv_values(f->kv, index, head),
        .page = batch->seq[token]->page,
        .page_stride = vd_kv_page_stride(f->kv),
        .row_stride = vd_kv_row_stride(f->kv),
        .page_tokens = VD_KV_PAGE_TOKENS,
        .first = windowed ? n_kv - hp->window : 0,
        .n_kv = n_kv,
        .kv_dtype = vd_kv_dtype(f->kv),
        .scale = hp->attn_scale,
    };
    w->kn->attn(&args);
}

/* (token, KV head) pairs go round the threads, so that long and short sequences mix. */
static void attention(worker *w, size_t index)
{
    size_t n_heads = w->m->hp.n_kv_head, n_items = w->n_tokens * n_heads;
    for (size_t i = w->thread; i < n_items; i += w->n_threads) {
        store_position(w, index, i / n_heads, i % n_heads);
        if (w->pass->one_each)
            attend(w, index, i / n_heads, i % n_heads);
    }
    vd_pool_barrier(w->f->pool);
    if (w->pass->one_each)
        return;
    for (size_t i = w->thread; i < n_items; i += w->n_threads)
        attend(w, index, i / n_heads, i % n_heads);
    vd_pool_barrier(w->f->pool);
}

/* ---- a layer ---------------------------------------------------------------------------------*/

static void feed_forward(worker *w, const vd_layer *layer)
{
    vd_forward *f = w->f;
    size_t n_ff = w->m->hp.n_ff, begin, end;
    vd_act act = prepare_input(w, f->x, w->n_tokens, w->m->hp.n_embd, layer->ffn_norm);
    product(w, &layer->gate, &act, f->gate);
    product(w, &layer->up, &act, f->up);
    my_rows(w, &layer->gate, &begin, &end);
    for (size_t t = 0; t < w->n_tokens; t++) {
        float *gate = f->gate + t * n_ff + begin;
        const float *up = f->up + t * n_ff + begin;
        if (w->m->hp.gelu)
            w->kn->gelu_mul(gate, up, end - begin);
        else
            w->kn->silu_mul(gate, up, end - begin);
    }
    vd_pool_barrier(f->pool);
    act = prepare_input(w, f->gate, w->n_tokens, n_ff, NULL);
    product_to_residual(w, &layer->down, &act, layer->ffn_post_norm);
}

static void run_layer(worker *w, size_t index)
{
    vd_forward *f = w->f;
    const vd_hparams *hp = &w->m->hp;
    const vd_layer *layer = &w->m->layer[index];
    vd_act act = prepare_input(w, f->x, w->n_tokens, hp->n_embd, layer->attn_norm);
    product(w, &layer->q, &act, f->q);
    product(w, &layer->k, &act, f->k);
    product(w, &layer->v, &act, f->v);
    vd_pool_barrier(f->pool);
    attention(w, index);
    act = prepare_input(w, f->attn, w->n_tokens, hp->n_head * hp->head_dim, NULL);
    product_to_residual(w, &layer->o, &act, layer->attn_post_norm);
    feed_forward(w, layer);
}

/* ---- a pass ----------------------------------------------------------------------------------*/

static void begin_tokens(worker *w)
{
    const vd_batch *batch = w->pass->batch;
    for (size_t t = w->thread; t < w->n_tokens; t += w->n_threads) {
        vd_model_embed(w->m, batch->token[t], w->f->x + t * w->m->hp.n_embd);
        vd_rope_angles(&w->m->rope, batch->pos[t], w->f->angles + t * 2 * w->m->rope.n_pairs);
        if (w->m->hp.window != 0)
            vd_rope_angles(&w->m->rope_local, batch->pos[t],
                           w->f->angles_local + t * 2 * w->m->rope_local.n_pairs);
    }
    vd_pool_barrier(w->f->pool);
}

/* This thread's columns of the logits: cap * tanh(x / cap), where the architecture has a cap. */
static void cap_logits(const worker *w, const vd_batch *batch)
{
    float cap = w->m->hp.logit_softcap;
    if (cap == 0)
        return;
    size_t begin, end;
    my_rows(w, &w->m->output, &begin, &end);
    for (size_t i = 0; i < batch->n_out; i++)
        for (size_t n = begin; n < end; n++) {
            float *x = batch->logits + i * w->m->output.n_rows + n;
            *x = cap * tanhf(*x / cap);
        }
}

/* The rows whose logits are wanted are gathered in y, then the output product reads them. */
static void finish_logits(worker *w)
{
    const vd_batch *batch = w->pass->batch;
    vd_forward *f = w->f;
    size_t c = w->m->hp.n_embd;
    for (size_t i = w->thread; i < batch->n_out; i += w->n_threads)
        memcpy(f->y + i * c, f->x + batch->out[i] * c, c * sizeof(float));
    vd_pool_barrier(f->pool);
    vd_act act = prepare_input(w, f->y, batch->n_out, c, w->m->output_norm);
    product(w, &w->m->output, &act, batch->logits);
    cap_logits(w, batch);
}

static void run_pass(void *ctx, size_t thread, size_t n_threads)
{
    const pass *p = ctx;
    worker w = {
        .pass = p,
        .f = p->f,
        .m = p->f->model,
        .kn = p->f->model->kernels,
        .n_tokens = p->batch->n_tokens,
        .thread = thread,
        .n_threads = n_threads,
        .space = &p->f->space[thread],
    };
    begin_tokens(&w);
    for (size_t i = 0; i < w.m->hp.n_layer; i++)
        run_layer(&w, i);
    if (p->batch->n_out > 0)
        finish_logits(&w);
}

void vd_forward_run(vd_forward *forward, const vd_batch *batch)
{
    pass p = {.f = forward, .batch = batch, .one_each = true};
    for (size_t t = 1; t < batch->n_tokens; t++)
        if (batch->seq[t] == batch->seq[t - 1])
            p.one_each = false;
    vd_pool_run(forward->pool, run_pass, &p);
}

/* ---- workspace -------------------------------------------------------------------------------*/

size_t vd_forward_max_tokens(const vd_forward *forward)
{
    return forward->max_tokens;
}

/* Hands out pieces of one block, or counts their bytes while `base` is NULL. */
typedef struct carver {
    unsigned char *base;
    size_t used;
    bool overflow;
} carver;

static void *carve(carver *c, size_t n, size_t size)
{
    size_t bytes, begin = c->used;
    if (!vd_mul_size(n, size, &bytes) || !vd_align_size(bytes, ALIGN, &bytes) ||
        !vd_add_size(c->used, bytes, &c->used))
        c->overflow = true;
    return c->base != NULL ? c->base + begin : NULL;
}

static void lay_out(vd_forward *f, carver *c)
{
    const vd_hparams *hp = &f->model->hp;
    size_t t = f->max_tokens, fl = sizeof(float);
    size_t q_dim = hp->n_head * hp->head_dim, kv_dim = hp->n_kv_head * hp->head_dim;
    size_t widest = VD_MAX(VD_MAX(hp->n_embd, hp->n_ff), q_dim);
    f->x = carve(c, t, hp->n_embd * fl);
    f->h = carve(c, t, hp->n_embd * fl);
    f->y = carve(c, t, hp->n_embd * fl);
    f->q = carve(c, t, q_dim * fl);
    f->attn = carve(c, t, q_dim * fl);
    f->k = carve(c, t, kv_dim * fl);
    f->v = carve(c, t, kv_dim * fl);
    f->gate = carve(c, t, hp->n_ff * fl);
    f->up = carve(c, t, hp->n_ff * fl);
    f->angles = carve(c, t, hp->rope.n_rot * fl);
    f->angles_local = carve(c, t, hp->rope_local.n_rot * fl);
    f->act = carve(c, 1, vd_act_bytes(t, widest));
    for (size_t i = 0; i < vd_pool_n_threads(f->pool); i++) {
        f->space[i].rows = carve(c, PRIVATE_MAX, hp->n_embd * fl);
        f->space[i].act = carve(c, 1, vd_act_bytes(PRIVATE_MAX, widest));
        f->space[i].scratch = carve(c, widest, fl);
    }
}

vd_status vd_forward_create(const vd_model *model, vd_kv *kv, vd_pool *pool, size_t max_tokens,
                            vd_forward **ret_forward, vd_err *err)
{
    vd_forward *f = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*f), "the workspace", &f, err);
    if (st != VD_OK)
        return st;
    f->model = model;
    f->kv = kv;
    f->pool = pool;
    f->max_tokens = max_tokens;
    st = vd_alloc_array(vd_pool_n_threads(pool), sizeof(*f->space), "thread spaces", &f->space,
                        err);
    if (st != VD_OK)
        goto out;
    carver count = {0};
    lay_out(f, &count);
    f->memory = count.overflow ? NULL : vd_alloc_aligned(count.used, ALIGN);
    if (f->memory == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a workspace of %zu tokens (%zu MiB)",
                     max_tokens, count.used >> 20);
        goto out;
    }
    carver place = {.base = f->memory};
    lay_out(f, &place);
    *ret_forward = f;
    f = NULL;
out:
    vd_forward_free(f);
    return st;
}

void vd_forward_free(vd_forward *forward)
{
    if (forward == NULL)
        return;
    vd_free(forward->memory);
    vd_free(forward->space);
    vd_free(forward);
}
