/*
 * scheduler.c - who computes in the next step.
 *
 * Iteration-level batching (Orca, Yu et al. 2022): every step takes one token of each sequence
 * that is answering, then fills what is left of step_tokens with chunks of prompts (chunked
 * prefill, Sarathi-Serve, Agrawal et al. 2024), oldest first. A request starts when the cache has
 * room for its whole prompt. When no page is left for an answer, the youngest request gives its
 * pages back and is computed again later (recomputation, Kwon et al. 2023); what was already
 * shown is not shown twice, and draws are numbered, so its text does not change.
 *
 * A text whose embedding is wanted is a prompt without an answer. An encoder reads it at once,
 * since every token sees all others: it waits for a step that has room for the whole of it, and
 * the oldest finds the step empty.
 */
#include "engine/scheduler.h"

#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "engine/embed.h"
#include "engine/finish.h"

/* ---- joining ---------------------------------------------------------------------------------*/

static vd_request *take_waiting(vd_engine *e)
{
    pthread_mutex_lock(&e->lock);
    vd_request *r = e->waiting.head;
    if (r != NULL)
        vd_queue_remove(&e->waiting, r);
    e->stats.n_waiting = e->waiting.n;
    pthread_mutex_unlock(&e->lock);
    return r;
}

static void put_back(vd_engine *e, vd_request *r)
{
    pthread_mutex_lock(&e->lock);
    vd_queue_push_front(&e->waiting, r);
    e->stats.n_waiting = e->waiting.n;
    pthread_mutex_unlock(&e->lock);
}

/* Pages for everything it has tokens for. False when the cache has no room now. */
static bool find_room(vd_engine *e, vd_request *r)
{
    /* Of what is found in the cache there are no embeddings. */
    bool may_adopt = !r->options.embed || r->options.pooling == VD_POOLING_LAST;
    if (!e->options.no_prefix_cache && may_adopt && r->n_computed == 0)
        r->n_computed = vd_kv_seq_adopt(e->kv, &r->kv, r->options.cache_salt, r->token,
                                        r->n_tokens);
    if (vd_kv_seq_reserve(e->kv, &r->kv, r->n_tokens)) {
        if (r->n_tokens == r->n_prompt)
            r->n_cached = r->n_computed;
        return true;
    }
    vd_kv_seq_reset(e->kv, &r->kv);
    r->n_computed = 0;
    return false;
}

static void admit(vd_engine *e)
{
    while (e->running.n < e->options.max_running) {
        vd_request *r = take_waiting(e);
        if (r == NULL)
            return;
        if (atomic_load_explicit(&r->cancelled, memory_order_acquire)) {
            vd_finish_request(e, r, VD_FINISH_CANCELLED, VD_OK);
            continue;
        }
        vd_status st = r->started ? VD_OK
                                  : vd_request_start(r, e->tokenizer, e->model->hp.n_vocab,
                                                     e->model->hp.n_embd, e->kv, NULL);
        if (st != VD_OK) {
            vd_finish_request(e, r, VD_FINISH_ERROR, st);
            continue;
        }
        if (find_room(e, r)) {
            vd_queue_push_back(&e->running, r);
        } else if (e->running.n > 0) {
            put_back(e, r);
            return;
        } else if (r->n_tokens > r->n_prompt) { /* the whole cache is too small to go on */
            vd_finish_request(e, r, VD_FINISH_LENGTH, VD_OK);
        } else {
            vd_finish_request(e, r, VD_FINISH_ERROR, VD_ERR_CONTEXT);
        }
    }
}

static void drop_cancelled(vd_engine *e)
{
    for (vd_request *r = e->running.head, *next; r != NULL; r = next) {
        next = r->next;
        if (atomic_load_explicit(&r->cancelled, memory_order_acquire)) {
            vd_queue_remove(&e->running, r);
            vd_finish_request(e, r, VD_FINISH_CANCELLED, VD_OK);
        }
    }
}

/* Waiting requests that were cancelled leave at once, not when their turn comes. */
static void drop_cancelled_waiting(vd_engine *e)
{
    for (;;) {
        pthread_mutex_lock(&e->lock);
        vd_request *r = e->waiting.head;
        while (r != NULL && !atomic_load_explicit(&r->cancelled, memory_order_acquire))
            r = r->next;
        if (r != NULL)
            vd_queue_remove(&e->waiting, r);
        e->stats.n_waiting = e->waiting.n;
        pthread_mutex_unlock(&e->lock);
        if (r == NULL)
            return;
        vd_finish_request(e, r, VD_FINISH_CANCELLED, VD_OK);
    }
}

/* ---- the batch -------------------------------------------------------------------------------*/

static void preempt(vd_engine *e, vd_request *r)
{
    vd_queue_remove(&e->running, r);
    vd_kv_seq_reset(e->kv, &r->kv);
    vd_request_rewind(r);
    put_back(e, r);
}

/* Room for r's next token, at the cost of younger requests. False when r itself had to go. */
static bool reserve_next(vd_engine *e, vd_request *r)
{
    while (!vd_kv_seq_reserve(e->kv, &r->kv, r->n_tokens)) {
        vd_request *youngest = e->running.tail;
        if (youngest == r && e->running.n == 1) {
            vd_queue_remove(&e->running, r);
            vd_finish_request(e, r, VD_FINISH_LENGTH, VD_OK);
            return false;
        }
        preempt(e, youngest);
        if (youngest == r)
            return false;
    }
    return true;
}

/* What of these tokens the request wants when the pass is done: logits or embeddings. */
static void want_outputs(vd_engine *e, vd_request *r, size_t first_row, size_t n, vd_batch *batch)
{
    size_t pos = r->n_computed - n;
    bool complete = r->n_computed == r->n_tokens;
    for (size_t i = 0; r->options.embed && i < n; i++) {
        if (vd_embed_wants(r, pos + i)) {
            e->embedded[batch->n_embed] = r;
            e->embed[batch->n_embed++] = (uint32_t)(first_row + i);
        }
    }
    if (complete && r->options.embed) {
        e->pooled[e->n_pooled++] = r;
    } else if (complete) { /* the last one's logits give the next token */
        e->sampled[batch->n_out] = r;
        e->out[batch->n_out++] = (uint32_t)(first_row + n - 1);
    }
}

/* Adds the request's next n tokens to the batch. */
static void add_tokens(vd_engine *e, vd_request *r, size_t n, vd_batch *batch, size_t *n_share)
{
    vd_step_share *share = &e->share[(*n_share)++];
    size_t first_row = batch->n_tokens;
    bool encoder = e->model->hp.block.encoder;
    *share = (vd_step_share){.request_id = r->id};
    for (size_t i = 0; i < n; i++) {
        size_t row = batch->n_tokens++, pos = r->n_computed + i;
        e->token[row] = r->token[pos];
        e->pos[row] = (uint32_t)pos;
        e->seq[row] = &r->kv;
        share->n_kv_read += encoder ? n : pos + 1;
        if (pos < r->n_prompt)
            share->n_prefill++;
        else
            share->n_decode++;
    }
    r->n_computed += n;
    want_outputs(e, r, first_row, n, batch);
}

/* Answering requests first, one token each; then prompts. Returns the number of shares. */
static size_t build_batch(vd_engine *e, vd_batch *batch)
{
    size_t n_share = 0;
    e->n_pooled = 0;
    *batch = (vd_batch){.token = e->token, .pos = e->pos, .seq = e->seq, .out = e->out,
                        .logits = e->logits, .embed = e->embed, .embeddings = e->embeddings};
    for (vd_request *r = e->running.head; r != NULL; r = r->next) {
        if (r->n_tokens - r->n_computed != 1)
            continue;
        if (!reserve_next(e, r)) /* may send away those behind r, so r->next is read after */
            break;               /* r was the youngest; nobody stands behind it */
        add_tokens(e, r, 1, batch, &n_share);
    }
    for (vd_request *r = e->running.head; r != NULL; r = r->next) {
        size_t n_left = r->n_tokens - r->n_computed;
        size_t n_free = e->options.step_tokens - batch->n_tokens;
        if (e->model->hp.block.encoder && n_left > n_free)
            continue;
        if (n_left > 0 && n_free > 0 && n_share < e->options.max_running)
            add_tokens(e, r, VD_MIN(n_left, n_free), batch, &n_share);
    }
    return n_share;
}

/* ---- a step ----------------------------------------------------------------------------------*/

static void count_step(vd_engine *e, const vd_batch *batch, const vd_step *step)
{
    pthread_mutex_lock(&e->lock);
    e->stats.n_steps++;
    for (size_t i = 0; i < step->n_share; i++) {
        e->stats.n_prefill_tokens += step->share[i].n_prefill;
        e->stats.n_decode_tokens += step->share[i].n_decode;
    }
    e->stats.n_running = e->running.n;
    e->stats.kv_tokens_used = vd_kv_tokens_used(e->kv);
    pthread_mutex_unlock(&e->lock);
}

bool vd_scheduler_step(vd_engine *e)
{
    vd_batch batch;
    drop_cancelled(e);
    drop_cancelled_waiting(e);
    admit(e);
    size_t n_share = build_batch(e, &batch);
    if (batch.n_tokens == 0) {
        pthread_mutex_lock(&e->lock);
        bool waits = e->waiting.n > 0;
        e->stats.n_running = e->running.n;
        pthread_mutex_unlock(&e->lock);
        return waits;
    }
    vd_step step = {.begin_ns = vd_now_ns(), .share = e->share, .n_share = n_share,
                    .model = e->observer.model};
    if (e->observer.on_begin != NULL)
        e->observer.on_begin(e->observer.ctx, &step);
    vd_forward_run(e->forward, &batch);
    step.end_ns = vd_now_ns();
    if (!e->options.no_prefix_cache)
        for (vd_request *r = e->running.head; r != NULL; r = r->next)
            vd_kv_seq_publish(e->kv, &r->kv, r->options.cache_salt, r->token, r->n_computed);
    if (e->observer.on_step != NULL)
        e->observer.on_step(e->observer.ctx, &step);
    count_step(e, &batch, &step);
    size_t n_vocab = e->model->hp.n_vocab, n_embd = e->model->hp.n_embd;
    for (size_t i = 0; i < batch.n_embed; i++)
        vd_embed_add(e->embedded[i], e->embeddings + i * n_embd);
    for (size_t i = 0; i < e->n_pooled; i++)
        vd_embed_finish(e, e->pooled[i]);
    for (size_t i = 0; i < batch.n_out; i++)
        vd_finish_token(e, e->sampled[i], e->logits + i * n_vocab);
    return true;
}
