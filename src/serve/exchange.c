/* exchange.c - the life of a request apart from HTTP: references, submission, the engine's events,
 * cancelling. See exchange.h for phases, owners and lock order. */
#include "serve/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "serve/books.h"
#include "serve/record.h"
#include "serve/server.h"

enum {
    WHOLE_EVENTS_MAX = 64 << 20, /* events of an answer that is not streamed */
    WINDOW_DEFAULT = 32
};

static void submit_more(vd_exchange *r);

vd_exchange *vd_exchange_create(vd_server *server, struct MHD_Connection *connection)
{
    vd_exchange *r = vd_calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->server = server;
    r->connection = connection;
    r->fd = -1;
    r->begin_ns = vd_now_ns();
    atomic_init(&r->n_refs, 1);
    pthread_mutex_init(&r->lock, NULL);
    vd_buf_init(&r->body, server->options.body_bytes_max);
    vd_buf_init(&r->out, SIZE_MAX / 2);
    vd_buf_init(&r->reply, SIZE_MAX / 2);
    vd_buf_init(&r->events, server->options.stream_bytes_max);
    uint64_t random[2] = {0};
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random[0] = vd_now_ns(); /* an id, no secret */
    snprintf(r->id, sizeof(r->id), "req_%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    atomic_fetch_add(&server->n_requests, 1);
    return r;
}

void vd_exchange_ref(vd_exchange *r)
{
    atomic_fetch_add_explicit(&r->n_refs, 1, memory_order_relaxed);
}

void vd_exchange_unref(vd_exchange *r)
{
    if (r == NULL || atomic_fetch_sub_explicit(&r->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    vd_server *server = r->server;
    for (size_t i = 0; i < r->n_choices; i++)
        vd_choice_text_done(&r->choices[i].text);
    vd_free(r->choices);
    vd_ask_done(&r->ask);
    atomic_fetch_sub(&server->bodies_bytes, r->body.capacity);
    vd_buf_done(&r->body);
    vd_buf_done(&r->out);
    vd_buf_done(&r->reply);
    vd_buf_done(&r->events);
    vd_free(r->url);
    json_decref(r->query);
    pthread_mutex_destroy(&r->lock);
    if (r->admitted)
        atomic_fetch_sub(&server->n_running, 1);
    vd_free(r);
    /* Last: vd_server_stop waits for it before it frees what was used above. */
    atomic_fetch_sub(&server->n_requests, 1);
}

void vd_exchange_wake(vd_exchange *r)
{
    if (r->suspended && r->connection != NULL) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
    }
}

void vd_exchange_fail(vd_exchange *r, const vd_api_error *error)
{
    pthread_mutex_lock(&r->lock);
    if (r->phase != VD_PHASE_READY && r->phase != VD_PHASE_STREAM) {
        r->error = *error;
        r->phase = VD_PHASE_READY;
    }
    vd_exchange_wake(r);
    pthread_mutex_unlock(&r->lock);
}

void vd_choice_judge(const vd_choice *c, vd_api_error *error)
{
    vd_err err = {.status = c->finish == VD_FINISH_ERROR ? c->status : VD_ERR_CANCELLED};
    /* What the engine takes for bad data was made by the model, not by the client. */
    if (err.status != VD_ERR_CANCELLED && err.status != VD_ERR_NOMEM &&
        err.status != VD_ERR_CONTEXT)
        err.status = VD_ERR_IO;
    snprintf(err.message, sizeof(err.message), "%s", vd_finish_message(c->status));
    vd_api_fail_from(error, &err, NULL);
}

/* The answer cannot be 200 any more: the first choice that failed decides, or that was not even
 * begun when the request was cancelled. Under the lock. */
static void judge_ended(vd_exchange *r)
{
    if (r->overflow) {
        vd_api_fail(&r->error, 503, "out_of_memory", NULL,
                    "The answer is larger than the server can hold.");
        return;
    }
    for (size_t i = 0; i < r->n_choices; i++) {
        const vd_choice *c = &r->choices[i];
        if (c->finish == VD_FINISH_STOP || c->finish == VD_FINISH_LENGTH)
            continue;
        vd_choice_judge(c, &r->error);
        return;
    }
}

/* One open part less; the last one makes the answer ready. Under the lock. */
static void close_one(vd_exchange *r)
{
    if (--r->n_open == 0) {
        r->end_ns = vd_now_ns();
        vd_books_answer(r->server->options.books, r);
    }
    if (r->n_open == 0 && r->phase == VD_PHASE_RUN) {
        judge_ended(r);
        r->phase = VD_PHASE_READY;
    }
    if (r->n_open == 0 || r->phase == VD_PHASE_STREAM)
        vd_exchange_wake(r);
}

/* What ended is counted here, so that cancelled and abandoned work is counted too. */
static void end_choice(vd_exchange *r, vd_choice *c, const vd_event *event, const vd_spent *spent)
{
    vd_metrics *m = &r->server->metrics;
    c->done = true;
    c->finish = event->finish;
    c->status = event->status;
    if (event->usage != NULL) {
        c->usage = *event->usage;
        atomic_fetch_add_explicit(&m->prompt_tokens, c->usage.prompt_tokens, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->cached_tokens, c->usage.cached_tokens, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->completion_tokens, c->usage.completion_tokens,
                                  memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&m->finished[event->finish], 1, memory_order_relaxed);
    if (spent != NULL && spent->energy.method != NULL) {
        vd_energy_add(&r->spent.energy, &spent->energy);
        vd_carbon_add(&r->spent.carbon, &spent->carbon);
        vd_metrics_spent(m, r->model, spent);
        r->n_spent++;
        vd_books_choice(r->server->options.books, c, spent);
    }
}

/* The engine's compute thread. */
static void on_event(void *ctx, const vd_event *event, const vd_spent *spent)
{
    vd_choice *c = ctx;
    vd_exchange *r = c->request;
    bool cancel = false;
    pthread_mutex_lock(&r->lock);
    c->id = event->request_id;
    if (!r->gone && !r->overflow) {
        vd_record_push(&r->events, c->slot, event);
        if (r->events.failed != VD_OK) {
            r->overflow = cancel = true;
            atomic_fetch_add_explicit(&r->server->metrics.slow_readers, 1, memory_order_relaxed);
        }
    }
    bool last = event->finish != VD_FINISH_NONE;
    if (last && r->window != 0) {
        end_choice(r, c, event, spent);
        r->n_inside--;
        pthread_mutex_unlock(&r->lock);
        submit_more(r); /* before this one closes: the request is not done until all were inside */
        pthread_mutex_lock(&r->lock);
        close_one(r);
    } else if (last) {
        end_choice(r, c, event, spent);
        close_one(r);
    } else if (r->phase == VD_PHASE_STREAM) {
        vd_exchange_wake(r);
    }
    pthread_mutex_unlock(&r->lock);
    if (cancel)
        vd_exchange_cancel(r);
    if (last)
        vd_exchange_unref(r);
}

static vd_status submit_choice(vd_exchange *r, vd_choice *c, vd_err *err)
{
    const vd_ask *ask = &r->ask;
    vd_request_options options = {
        .prompt = ask->prompts[c->prompt].ids,
        .n_prompt = ask->prompts[c->prompt].n_ids,
        .max_tokens = ask->max_tokens,
        .sampling = ask->sampling,
        .stop = (const char *const *)ask->stop,
        .n_stop = ask->n_stop,
        .n_top = ask->n_top,
        .want_logprobs = ask->logprobs || ask->best_of > ask->n,
    };
    if (ask->kind == VD_ASK_EMBEDDING)
        options = (vd_request_options){
            .prompt = options.prompt, .n_prompt = options.n_prompt, .embed = true};
    options.sampling.seed = c->seed;
    options.sampling.bias = ask->bias;
    uint64_t id = 0;
    vd_exchange_ref(r);
    pthread_mutex_lock(&r->lock);
    c->begin_ns = vd_now_ns();
    r->n_open++;
    pthread_mutex_unlock(&r->lock);
    vd_status st = r->backend->ops->submit(r->backend->self, &options, on_event, c, &id, err);
    pthread_mutex_lock(&r->lock);
    if (st == VD_OK) {
        c->submitted = true;
        c->id = id;
    } else {
        c->done = true;
        r->n_open--; /* the worker's own part keeps it above 0 */
    }
    pthread_mutex_unlock(&r->lock);
    if (st != VD_OK)
        vd_exchange_unref(r);
    return st;
}

/* Answers of a request differ from each other, and the first is that of n = 1. */
static uint64_t choice_seed(uint64_t seed, size_t k)
{
    return k == 0 ? seed : (seed ^ (k * 0x9e3779b97f4a7c15ull)) * 0xbf58476d1ce4e5b9ull + k;
}

static vd_status make_choices(vd_exchange *r, vd_err *err)
{
    size_t n = r->ask.n_prompts * r->ask.best_of;
    vd_choice *choices;
    vd_status st = vd_alloc_array(n, sizeof(vd_choice), "choices", &choices, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        vd_choice *c = &choices[i];
        c->request = r;
        c->slot = (uint32_t)i;
        c->prompt = (uint32_t)(i / r->ask.best_of);
        c->seed = choice_seed(r->ask.sampling.seed, i % r->ask.best_of);
        vd_choice_text_init(&c->text);
    }
    vd_ledger *ledger = vd_books_ledger(r->server->options.books);
    r->book = ledger != NULL ? vd_ledger_next_answer(ledger) : 0;
    pthread_mutex_lock(&r->lock);
    r->choices = choices;
    r->n_choices = n;
    r->n_open = 1;
    if (!r->ask.stream)
        r->events.limit = WHOLE_EVENTS_MAX;
    if (r->ask.kind == VD_ASK_EMBEDDING) {
        size_t max = r->backend->ops->info(r->backend->self).max_running;
        r->window = max != 0 ? max : WINDOW_DEFAULT;
    }
    pthread_mutex_unlock(&r->lock);
    return VD_OK;
}

/* The engine did not take a choice: the request fails, and those that it took are cancelled. */
static void fail_submit(vd_exchange *r, const vd_err *err)
{
    static const char *const fields[] = {
        [VD_ASK_CHAT] = "messages", [VD_ASK_COMPLETION] = "prompt", [VD_ASK_EMBEDDING] = "input"};
    vd_api_error error;
    vd_api_fail_from(&error, err, err->status == VD_ERR_CONTEXT ? fields[r->ask.kind] : NULL);
    if (error.http >= 500)
        vd_log(VD_LOG_WARN, "serve", "submit failed id=%s status=%s message=\"%s\"", r->id,
               vd_status_name(err->status), err->message);
    vd_exchange_fail(r, &error);
    vd_exchange_cancel(r);
}

static bool is_unwanted(vd_exchange *r)
{
    pthread_mutex_lock(&r->lock);
    bool unwanted = r->gone || r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return unwanted;
}

/* The next embedding to submit, or NULL: all are taken, the window is full, nobody wants them any
 * more, or another thread is at it. */
static vd_choice *take_next(vd_exchange *r, bool again)
{
    vd_choice *next = NULL;
    pthread_mutex_lock(&r->lock);
    if (again || !r->submitting) {
        bool wanted = !r->gone && !r->cancelled && !r->overflow;
        if (wanted && r->n_taken < r->n_choices && r->n_inside < r->window) {
            next = &r->choices[r->n_taken++];
            r->n_inside++;
        }
        r->submitting = next != NULL;
    }
    pthread_mutex_unlock(&r->lock);
    return next;
}

/* A full engine refused the last one taken: it waits for the end of another. False: there is no
 * other to wait for. */
static bool put_back(vd_exchange *r)
{
    pthread_mutex_lock(&r->lock);
    bool others = --r->n_inside > 0;
    if (others)
        r->choices[--r->n_taken].done = false;
    r->submitting = false;
    pthread_mutex_unlock(&r->lock);
    return others;
}

/* Fills the window of embeddings. On the worker, and on the compute thread when one has ended. */
static void submit_more(vd_exchange *r)
{
    vd_err err = {0};
    vd_choice *next = take_next(r, false);
    for (; next != NULL; next = take_next(r, true)) {
        vd_status st = submit_choice(r, next, &err);
        if (st == VD_OK) {
            if (is_unwanted(r)) /* since it was taken: nobody else knows its number */
                vd_exchange_cancel(r);
            continue;
        }
        if (!put_back(r) || st != VD_ERR_BUSY)
            fail_submit(r, &err);
        return;
    }
}

void vd_exchange_submit(vd_exchange *r)
{
    vd_err err = {0};
    vd_status st = make_choices(r, &err);
    if (st == VD_OK && r->window != 0)
        submit_more(r);
    for (size_t i = 0; i < r->n_choices && r->window == 0 && st == VD_OK; i++)
        st = submit_choice(r, &r->choices[i], &err);
    if (st != VD_OK)
        fail_submit(r, &err);
    pthread_mutex_lock(&r->lock);
    bool cancel = r->gone || r->cancelled; /* while some were not submitted yet */
    if (r->phase == VD_PHASE_WORK)
        r->phase = r->ask.stream ? VD_PHASE_STREAM : VD_PHASE_RUN;
    if (r->n_choices != 0)
        close_one(r);
    pthread_mutex_unlock(&r->lock);
    if (cancel)
        vd_exchange_cancel(r);
}

void vd_exchange_cancel(vd_exchange *r)
{
    pthread_mutex_lock(&r->lock);
    r->cancelled = true;
    for (size_t i = 0; i < r->n_choices; i++) {
        vd_choice *c = &r->choices[i];
        if (c->done || c->id == 0)
            continue;
        uint64_t id = c->id;
        pthread_mutex_unlock(&r->lock); /* never under it: see exchange.h */
        r->backend->ops->cancel(r->backend->self, id);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
}

void vd_exchange_gone(vd_exchange *r)
{
    pthread_mutex_lock(&r->lock);
    bool first = !r->gone;
    r->gone = true;
    if (first && r->n_open > 0)
        atomic_fetch_add_explicit(&r->server->metrics.left_clients, 1, memory_order_relaxed);
    vd_buf_done(&r->events);
    vd_exchange_wake(r);
    pthread_mutex_unlock(&r->lock);
    if (first)
        vd_exchange_cancel(r);
}
