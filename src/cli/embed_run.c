/* embed_run.c - see embed.h. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "cli/embed.h"
#include "cli/progress.h"

enum { WINDOW = 64 }; /* twice what the engine computes together */

typedef struct slot {
    struct run *run;
    bool done;
    vd_finish finish;
    vd_status status;
    float *vector; /* ours, until on_vector had it */
    size_t n;
} slot;

typedef struct run {
    vd_session *session;
    slot slots[WINDOW]; /* text i stands in slot i % WINDOW */
    size_t n_submitted, n_out;
    vd_embed_cost cost;
} run;

vd_status vd_embed_tokenize(vd_session *s, const char *what, size_t i, const char *text, size_t n,
                            vd_embed_text *ret_text, vd_err *err)
{
    const vd_tokenizer *tokenizer = vd_engine_tokenizer(s->engine);
    size_t ctx = vd_engine_info_get(s->engine).ctx_tokens;
    vd_embed_text t = {0};
    if (n == 0)
        return VD_FAIL(err, VD_ERR_ARG, "%s %zu is empty", what, i + 1);
    if (memchr(text, '\0', n) != NULL || !vd_utf8_valid(text, n))
        return VD_FAIL(err, VD_ERR_ARG, "%s %zu is no UTF-8 text", what, i + 1);
    vd_status st = vd_tokenizer_encode(tokenizer, text, n, NULL, &t.ids, &t.n_ids, err);
    if (st != VD_OK) {
        vd_err_prefix(err, "%s %zu", what, i + 1);
        return st;
    }
    if (t.n_ids == 0)
        st = VD_FAIL(err, VD_ERR_ARG, "%s %zu has no tokens in this vocabulary", what, i + 1);
    else if (t.n_ids > ctx)
        st = VD_FAIL(err, VD_ERR_CONTEXT, "%s %zu has %zu tokens, the model takes at most %zu here",
                     what, i + 1, t.n_ids, ctx);
    if (st == VD_OK)
        *ret_text = t;
    else
        vd_ids_free(t.ids);
    return st;
}

static void on_event(void *ctx, const vd_event *event)
{
    slot *s = ctx;
    vd_session *session = s->run->session;
    vd_embed_cost *cost = &s->run->cost;
    vd_energy energy;
    s->done = true;
    s->finish = event->finish;
    s->status = event->status;
    cost->n_tokens += event->usage->prompt_tokens;
    if (vd_account_leave(session->account, event->request_id, &energy, NULL) == VD_OK) {
        vd_carbon carbon = vd_session_carbon(session, &energy);
        vd_energy_add(&cost->energy, &energy);
        vd_carbon_add(&cost->carbon, &carbon);
    }
    if (event->embedding == NULL)
        return;
    s->n = event->n_embedding;
    vd_status st = vd_alloc_array(s->n, sizeof(float), "an embedding", &s->vector, NULL);
    if (st == VD_OK) {
        memcpy(s->vector, event->embedding, s->n * sizeof(float));
    } else {
        s->finish = VD_FINISH_ERROR;
        s->status = st;
    }
}

static vd_status submit_next(run *r, const vd_embed_text *text, vd_pooling pooling, bool raw,
                             vd_err *err)
{
    slot *s = &r->slots[r->n_submitted % WINDOW];
    *s = (slot){.run = r};
    const vd_request_options options = {.prompt = text->ids,
                                        .n_prompt = text->n_ids,
                                        .embed = true,
                                        .pooling = pooling,
                                        .no_normalize = raw,
                                        .on_event = on_event,
                                        .ctx = s};
    uint64_t id;
    vd_status st = vd_engine_submit(r->session->engine, &options, &id, err);
    if (st == VD_OK)
        r->n_submitted++;
    return st;
}

/* Hands on what is done, in order. */
static vd_status hand_out(run *r, vd_embed_fn on_vector, void *ctx, vd_err *err)
{
    size_t width = vd_engine_info_get(r->session->engine).n_embd;
    while (r->n_out < r->n_submitted && r->slots[r->n_out % WINDOW].done) {
        slot *s = &r->slots[r->n_out % WINDOW];
        if (s->finish != VD_FINISH_STOP)
            return VD_FAIL(err, s->status, "the embedding of text %zu failed: %s", r->n_out + 1,
                           s->status == VD_ERR_FORMAT
                               ? "it is zero or not finite; are the model's weights sound?"
                               : vd_status_message(s->status));
        vd_status st = on_vector(ctx, r->n_out, s->vector, s->n / width, width, err);
        vd_free(s->vector);
        s->vector = NULL;
        r->n_out++;
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

vd_status vd_embed_run(vd_session *session, const vd_embed_text *texts, size_t n_texts,
                       vd_pooling pooling, bool raw, vd_embed_fn on_vector, void *ctx,
                       vd_embed_cost *ret_cost, vd_err *err)
{
    vd_progress progress;
    run *r = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*r), "the texts", &r, err);
    if (st != VD_OK)
        return st;
    r->session = session;
    vd_progress_init(&progress, "embed");
    while (st == VD_OK && r->n_out < n_texts) {
        bool worked;
        while (st == VD_OK && r->n_submitted < VD_MIN(n_texts, r->n_out + WINDOW))
            st = submit_next(r, &texts[r->n_submitted], pooling, raw, err);
        if (st == VD_OK)
            st = vd_engine_step(session->engine, &worked, err);
        if (st == VD_OK)
            st = hand_out(r, on_vector, ctx, err);
        vd_progress_update(&progress, r->n_out, n_texts, NULL);
    }
    vd_progress_done(&progress);
    if (st == VD_OK)
        *ret_cost = r->cost;
    else
        vd_engine_stop(session->engine, false); /* what runs still points here */
    for (size_t i = 0; i < WINDOW; i++)
        vd_free(r->slots[i].vector);
    vd_free(r);
    return st;
}
