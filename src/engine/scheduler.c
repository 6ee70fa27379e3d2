/*
 * scheduler.c - who computes in the next step.
 *
 * Iteration-level batching (Orca, Yu et al. 2022): every step takes one token of each sequence
 * that is answering, then fills what is left of step_tokens with chunks of prompts (chunked
 * prefill, Sarathi-Serve, Agrawal et al. 2024), oldest first. While somebody answers, those chunks
 * are only so long that the step is expected to take step_ms: Sarathi's token budget, but by times
 * measured here (pace.h) and not by a profile made before.
 *
 * A request starts when the cache has room for its whole prompt. When no page is left for an
 * answer, the youngest request gives its pages back and is computed again later (recomputation,
 * Kwon et al. 2023); what was already shown is not shown twice, and draws are numbered, so its text
 * does not change.
 *
 * A text whose embedding is wanted is a prompt without an answer. An encoder reads it at once,
 * since every token sees all others: it waits for a step that has room for the whole of it, and
 * the oldest finds the step empty.
 */
#include "engine/scheduler.h"

#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "engine/batch.h"
#include "engine/draft.h"
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

void vd_scheduler_put_back(vd_engine *e, vd_request *r)
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
                                                     e->model->hp.n_embd, e->kv, e->drafter, NULL);
        if (st != VD_OK) {
            vd_finish_request(e, r, VD_FINISH_ERROR, st);
            continue;
        }
        if (find_room(e, r)) {
            vd_queue_push_back(&e->running, r);
        } else if (e->running.n > 0) {
            vd_scheduler_put_back(e, r);
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

/* ---- a step ----------------------------------------------------------------------------------*/

static void count_step(vd_engine *e, const vd_step *step)
{
    pthread_mutex_lock(&e->lock);
    e->stats.n_steps++;
    for (size_t i = 0; i < step->n_share; i++) {
        e->stats.n_prefill_tokens += step->share[i].n_prefill;
        e->stats.n_decode_tokens += step->share[i].n_decode;
    }
    for (size_t i = 0; i < e->n_sampled; i++) {
        const vd_sampled *s = &e->sampled[i];
        e->stats.n_draft_tokens += s->n_out - 1;
        e->stats.n_draft_taken += s->n_out - 1 - s->share->n_rejected;
    }
    e->stats.n_running = e->running.n;
    e->stats.kv_tokens_used = vd_kv_tokens_used(e->kv);
    pthread_mutex_unlock(&e->lock);
}

/* The next tokens of who answers, and their events but for the last. */
static void settle(vd_engine *e)
{
    for (size_t i = 0; i < e->n_sampled; i++)
        vd_draft_settle(e, &e->sampled[i]);
    if (!e->options.no_prefix_cache)
        for (vd_request *r = e->running.head; r != NULL; r = r->next)
            vd_kv_seq_publish(e->kv, &r->kv, r->options.cache_salt, r->token, r->n_computed);
}

/* Embeddings, and the last events of the answers that are complete. */
static void finish(vd_engine *e, const vd_batch *batch)
{
    size_t n_embd = e->model->hp.n_embd;
    for (size_t i = 0; i < batch->n_embed; i++)
        vd_embed_add(e->embedded[i], e->embeddings + i * n_embd);
    for (size_t i = 0; i < e->n_pooled; i++)
        vd_embed_finish(e, e->pooled[i]);
    for (size_t i = 0; i < e->n_sampled; i++)
        vd_finish_ended(e, e->sampled[i].request);
}

bool vd_scheduler_step(vd_engine *e)
{
    vd_batch batch;
    drop_cancelled(e);
    drop_cancelled_waiting(e);
    admit(e);
    size_t n_share = vd_batch_build(e, &batch);
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
    if (e->drafter != NULL)
        vd_drafter_run(e->drafter, e);
    vd_batch_take_drafts(e);
    uint64_t pass_ns = vd_now_ns();
    vd_forward_run(e->forward, &batch);
    step.end_ns = vd_now_ns();
    vd_pace_learn(&e->pace, e->n_answer, batch.n_tokens - e->n_answer,
                  step.end_ns - pass_ns);
    settle(e);
    if (e->observer.on_step != NULL)
        e->observer.on_step(e->observer.ctx, &step);
    count_step(e, &step);
    finish(e, &batch);
    return true;
}
