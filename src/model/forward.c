/*
 * forward.c - see forward.h. The life of a token in one layer of Llama, and where the threads meet:
 *
 *   x --norm--> h --Wq,Wk,Wv--> q,k,v | --RoPE--> cache | --attention--> a | --Wo--> +x |
 *     --norm--> h --Wgate,Wup--> silu(g)*u | --Wdown--> +x |                 "|" = barrier
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "model/pass.h"

/* Between a barrier and this thread's next one nobody changes x. */
static void tap(const vd_worker *w, vd_tap_point point, size_t layer)
{
    const vd_batch *batch = w->pass->batch;
    if (batch->tap != NULL && w->thread == 0)
        batch->tap(batch->tap_ctx, point, layer, w->f->x);
}

static void run_layer(vd_worker *w, size_t index, const vd_layer *layer)
{
    vd_forward *f = w->f;
    const vd_hparams *hp = &w->m->hp;
    vd_act act = vd_pass_input(w, f->x, w->n_tokens, hp->n_embd, &layer->attn_norm,
                               VD_WIDTH_WIDE);
    const vd_dense *const qkv[] = {&layer->q, &layer->k, &layer->v};
    float *const to[] = {f->q, f->k, f->v};
    vd_pass_products(w, qkv, to, VD_COUNT(qkv), &act);
    if (hp->block.parallel)
        vd_pass_ffn_hidden(w, &layer->ffn, &act, 0);
    vd_pool_barrier(f->pool);
    vd_pass_attention(w, index);
    act = vd_pass_input(w, f->attn, w->n_tokens, layer->n_head * hp->head_dim, NULL,
                        vd_pass_width(w));
    vd_pass_product(w, &layer->o, &act, f->y);
    vd_pass_add(w, f->y, &layer->attn_out_norm, &layer->attn_sum_norm);
    tap(w, VD_TAP_ATTN, index);
    if (layer->expert != NULL) {
        vd_pass_moe(w, layer);
    } else {
        if (!hp->block.parallel) {
            act = vd_pass_input(w, f->x, w->n_tokens, hp->n_embd, &layer->ffn_norm,
                                vd_pass_width(w));
            vd_pass_ffn_hidden(w, &layer->ffn, &act, 0);
        }
        vd_pass_ffn_down(w, layer);
    }
    tap(w, VD_TAP_LAYER, index);
}

static void begin_tokens(vd_worker *w)
{
    const vd_batch *batch = w->pass->batch;
    vd_forward *f = w->f;
    const vd_model_part *part = batch->part;
    size_t c = w->m->hp.n_embd;
    for (size_t t = w->thread; t < w->n_tokens; t += w->n_threads) {
        float *x = f->x + t * c;
        bool embed = part == NULL || part->embed;
        if (embed)
            vd_model_embed(w->m, batch->token[t], batch->pos[t], x);
        else
            memcpy(x, part->x + t * c, c * sizeof(float));
        if (embed && w->m->embed_norm.weight != NULL)
            vd_pass_norm_row(w, &w->m->embed_norm, x, x, c);
        if (!w->m->hp.block.learned_positions)
            vd_rope_angles(f->rope, batch->pos[t], f->angles + t * 2 * f->rope->n_pairs);
        if (w->m->hp.window != 0)
            vd_rope_angles(f->rope_local, batch->pos[t],
                           f->angles_local + t * 2 * f->rope_local->n_pairs);
    }
    vd_pool_barrier(f->pool);
}

/* This thread's columns of the logits: scaled, then cap * tanh(x / cap), where there are such. */
static void shape_logits(const vd_worker *w, const vd_batch *batch)
{
    float scale = w->m->hp.logit_scale, cap = w->m->hp.logit_softcap;
    if (scale == 1 && cap == 0)
        return;
    size_t n_vocab = w->m->hp.n_vocab, begin, end;
    vd_pass_rows(w, n_vocab, &begin, &end);
    for (size_t i = 0; i < batch->n_out; i++)
        for (size_t n = begin; n < end; n++) {
            float *x = batch->logits + i * n_vocab + n;
            *x *= scale;
            if (cap != 0)
                *x = cap * tanhf(*x / cap);
        }
}

static void finish_embeddings(vd_worker *w)
{
    const vd_batch *batch = w->pass->batch;
    const vd_norm *norm = &w->m->output_norm;
    size_t c = w->m->hp.n_embd;
    for (size_t i = w->thread; i < batch->n_embed; i += w->n_threads) {
        const float *x = w->f->x + batch->embed[i] * c;
        float *to = batch->embeddings + i * c;
        if (norm->weight != NULL)
            vd_pass_norm_row(w, norm, x, to, c);
        else
            memcpy(to, x, c * sizeof(float));
    }
}

/* The rows that are wanted are gathered in y; the output product reads their normalized form. */
static void finish_logits(vd_worker *w)
{
    const vd_batch *batch = w->pass->batch;
    vd_forward *f = w->f;
    size_t c = w->m->hp.n_embd;
    for (size_t i = w->thread; i < batch->n_out; i += w->n_threads)
        memcpy(f->y + i * c, f->x + batch->out[i] * c, c * sizeof(float));
    vd_pool_barrier(f->pool);
    vd_act act = vd_pass_input(w, f->y, batch->n_out, c, &w->m->output_norm, VD_WIDTH_WIDE);
    vd_pass_product(w, &w->m->output, &act, batch->logits);
    shape_logits(w, batch);
}

static void keep_rows(const vd_worker *w, float *x)
{
    size_t c = w->m->hp.n_embd;
    for (size_t t = w->thread; t < w->n_tokens; t += w->n_threads)
        memcpy(x + t * c, w->f->x + t * c, c * sizeof(float));
}

static void run_pass(void *ctx, size_t thread, size_t n_threads)
{
    const vd_pass *p = ctx;
    vd_worker w = {
        .pass = p,
        .f = p->f,
        .m = p->f->model,
        .kn = p->f->model->kernels,
        .n_tokens = p->batch->n_tokens,
        .thread = thread,
        .n_threads = n_threads,
        .space = &p->f->space[thread],
    };
    const vd_model_part all = {.end = w.m->hp.n_layer, .embed = true};
    const vd_model_part *part = p->batch->part != NULL ? p->batch->part : &all;
    begin_tokens(&w);
    if (part->embed)
        tap(&w, VD_TAP_EMBED, 0);
    for (size_t i = part->first; i < part->end; i++)
        run_layer(&w, i, part->layer != NULL ? &part->layer[i - part->first] : &w.m->layer[i]);
    if (part->x != NULL)
        keep_rows(&w, part->x);
    finish_embeddings(&w);
    if (p->batch->n_out > 0)
        finish_logits(&w);
}

/* How far each token sees: to itself, or in an encoder to the end of its sequence. */
static void set_n_kv(vd_forward *f, const vd_batch *batch)
{
    bool encoder = f->model->hp.block.encoder;
    for (size_t t = batch->n_tokens; t-- > 0;) {
        bool last = t + 1 == batch->n_tokens || batch->seq[t] != batch->seq[t + 1];
        f->n_kv[t] = last || !encoder ? batch->pos[t] + 1 : f->n_kv[t + 1];
    }
}

static vd_crew *crew_of(vd_forward *f, size_t n_tokens)
{
    for (size_t i = 0; i < VD_PASS_CREWS; i++)
        if (n_tokens <= (size_t)1 << i)
            return &f->crew[i];
    return NULL;
}

void vd_forward_run(vd_forward *forward, const vd_batch *batch)
{
    vd_pool *pool = forward->pool;
    vd_pass p = {.f = forward, .batch = batch, .one_each = true};
    for (size_t t = 1; t < batch->n_tokens; t++)
        if (batch->seq[t] == batch->seq[t - 1])
            p.one_each = false;
    set_n_kv(forward, batch);
    vd_crew *crew = crew_of(forward, batch->n_tokens);
    if (crew == NULL) {
        vd_pool_run(pool, run_pass, &p);
        return;
    }
    uint64_t begin_ns = vd_now_ns();
    unsigned n_long = vd_pool_n_long_waits(pool);
    vd_pool_use(pool, vd_crew_size(crew));
    vd_pool_run(pool, run_pass, &p);
    vd_pool_use(pool, vd_pool_n_threads(pool));
    vd_crew_note(crew, vd_now_ns() - begin_ns, vd_pool_n_long_waits(pool) - n_long);
    atomic_store_explicit(&forward->n_threads, forward->crew[0].n_use, memory_order_relaxed);
}

void vd_forward_explore_threads(vd_forward *forward)
{
    for (size_t i = 0; i < VD_PASS_CREWS; i++)
        vd_crew_init(&forward->crew[i], vd_pool_n_threads(forward->pool), true);
}

size_t vd_forward_n_threads(const vd_forward *forward)
{
    return atomic_load_explicit(&forward->n_threads, memory_order_relaxed);
}
