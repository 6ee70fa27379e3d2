/* submit.c - requests in and out of the engine, and the thread that steps it. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "engine/embed.h"
#include "engine/scheduler.h"

vd_status vd_engine_submit(vd_engine *e, const vd_request_options *options, uint64_t *ret_id,
                           vd_err *err)
{
    vd_request *r = NULL;
    vd_request_options asked = *options;
    vd_status st = vd_embed_check(e, &asked, err);
    if (st == VD_OK)
        st = vd_request_create(&asked, e->model->hp.n_vocab, e->options.ctx_tokens, &r, err);
    if (st != VD_OK)
        return st;
    pthread_mutex_lock(&e->lock);
    if (e->closed) {
        st = VD_FAIL(err, VD_ERR_CLOSED, "the engine is shutting down");
    } else if (e->waiting.n >= e->options.max_waiting ||
               e->n_by_id >= e->options.max_waiting + e->options.max_running) {
        st = VD_FAIL(err, VD_ERR_BUSY, "%zu requests wait already, the limit is %zu", e->waiting.n,
                     e->options.max_waiting);
    } else if (e->observer.on_accept != NULL) {
        st = e->observer.on_accept(e->observer.ctx, e->next_id, err);
    }
    if (st == VD_OK) {
        r->id = e->next_id++;
        *ret_id = r->id;
        e->by_id[e->n_by_id++] = r;
        vd_queue_push_back(&e->waiting, r);
        e->stats.n_waiting = e->waiting.n;
        r = NULL; /* the scheduler's from here on: it may already be done when we unlock */
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    vd_request_free(r, NULL);
    return st;
}

void vd_engine_cancel(vd_engine *e, uint64_t request_id)
{
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < e->n_by_id; i++)
        if (e->by_id[i]->id == request_id)
            atomic_store_explicit(&e->by_id[i]->cancelled, true, memory_order_release);
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

static void cancel_all(vd_engine *e)
{
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < e->n_by_id; i++)
        atomic_store_explicit(&e->by_id[i]->cancelled, true, memory_order_release);
    pthread_mutex_unlock(&e->lock);
}

vd_status vd_engine_step(vd_engine *e, bool *ret_worked, vd_err *err)
{
    pthread_mutex_lock(&e->lock);
    bool has_thread = e->has_thread;
    pthread_mutex_unlock(&e->lock);
    if (has_thread)
        return VD_FAIL(err, VD_ERR_BUSY, "the engine's own thread is stepping it");
    *ret_worked = vd_scheduler_step(e);
    return VD_OK;
}

/* Sleeps until there is something to do. False when the thread shall end. */
static bool wait_for_work(vd_engine *e)
{
    pthread_mutex_lock(&e->lock);
    while (!e->stopping && e->n_by_id == 0)
        pthread_cond_wait(&e->wake, &e->lock);
    bool go_on = !(e->stopping && (!e->draining || e->n_by_id == 0));
    pthread_mutex_unlock(&e->lock);
    return go_on;
}

static void *engine_main(void *arg)
{
    vd_engine *e = arg;
    while (wait_for_work(e))
        vd_scheduler_step(e);
    return NULL;
}

vd_status vd_engine_start(vd_engine *e, vd_err *err)
{
    vd_status st = VD_OK;
    pthread_mutex_lock(&e->lock);
    if (e->has_thread || e->closed)
        st = VD_FAIL(err, VD_ERR_BUSY, "the engine is running or closed already");
    else if (pthread_create(&e->thread, NULL, engine_main, e) != 0)
        st = VD_FAIL(err, VD_ERR_NOMEM, "cannot start the engine's thread");
    else
        e->has_thread = true;
    pthread_mutex_unlock(&e->lock);
    return st;
}

void vd_engine_stop(vd_engine *e, bool drain)
{
    pthread_mutex_lock(&e->lock);
    e->closed = e->stopping = true;
    e->draining = drain;
    bool has_thread = e->has_thread;
    e->has_thread = false;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);
    if (has_thread)
        pthread_join(e->thread, NULL);
    if (!drain)
        cancel_all(e);
    /* Without a thread, or without draining, what is left ends here: cancelled or computed. */
    while (vd_scheduler_step(e))
        ;
}

vd_engine_stats vd_engine_stats_get(vd_engine *e)
{
    pthread_mutex_lock(&e->lock);
    vd_engine_stats stats = e->stats;
    pthread_mutex_unlock(&e->lock);
    return stats;
}
