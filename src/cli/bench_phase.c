/* bench_phase.c - see bench_phase.h. */
#include "cli/bench_phase.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"

enum { SHORT_PROMPT = 16, PIECE_TOKENS = 32 /* a step reads that much while somebody writes */ };

/* Decode begins behind so many tokens. */
static size_t context_of(const vd_bench_shape *s)
{
    return s->prefill || s->depth > 0 ? s->depth : SHORT_PROMPT;
}

/* Sequences whose prompt was read first write on while the others still read. */
static size_t steps_before(const vd_bench_shape *s)
{
    return (s->batch > 1 ? s->batch * context_of(s) / PIECE_TOKENS : 0) + 2;
}

void vd_bench_room(const vd_bench_shape *s, vd_engine_options *options)
{
    size_t longest = context_of(s) + s->n + 2 + (s->prefill ? 0 : steps_before(s));
    size_t kv = (longest + 16) * s->batch;
    if (s->depth > 0)
        kv *= 2; /* what is kept from the measurement before */
    options->ctx_tokens = VD_MAX(options->ctx_tokens, longest);
    options->kv_tokens = VD_MAX(options->kv_tokens, kv);
    options->max_running = VD_MAX(options->max_running, s->batch);
}

static void on_event(void *ctx, const vd_event *event)
{
    vd_bench_seq *seq = ctx;
    vd_bench_phase *p = seq->phase;
    if (event->token >= 0) {
        p->n_first += seq->n_tokens++ == 0;
        p->n_tokens++;
    }
    if (event->finish == VD_FINISH_NONE)
        return;
    p->n_alive--;
    if (event->usage != NULL)
        p->n_cached += event->usage->cached_tokens;
    if (event->finish == VD_FINISH_ERROR)
        p->failed = event->status;
}

/* The first `n_before` tokens are `before`'s, the rest are `seed`'s. */
static vd_status submit(vd_engine *engine, uint64_t before, size_t n_before, uint64_t seed,
                        vd_request_options *options, uint64_t *ret_id, vd_err *err)
{
    size_t n_vocab = vd_engine_info_get(engine).n_vocab;
    int32_t *prompt = NULL;
    uint64_t x = before;
    vd_status st = vd_alloc_array(options->n_prompt, sizeof(*prompt), "a prompt", &prompt, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < options->n_prompt; i++) {
        if (i == n_before)
            x = seed;
        x = x * 6364136223846793005u + 1442695040888963407u;
        prompt[i] = (int32_t)((x >> 33) % n_vocab);
    }
    options->prompt = prompt;
    options->sampling = vd_sampling_default();
    options->sampling.temperature = 0;
    options->ignore_end = true;
    st = vd_engine_submit(engine, options, ret_id, err);
    options->prompt = NULL; /* the engine has copied it */
    vd_free(prompt);
    return st;
}

vd_status vd_bench_submit(vd_engine *engine, uint64_t seed, vd_request_options *options,
                          vd_err *err)
{
    uint64_t id;
    return submit(engine, 0, 0, seed, options, &id, err);
}

static vd_status submit_all(vd_bench_phase *p, const vd_bench_shape *s, size_t n_prompt,
                            size_t n_answer, uint64_t salt, vd_err *err)
{
    vd_status st = VD_OK;
    p->n_first = p->n_tokens = p->n_cached = 0;
    for (size_t i = 0; st == VD_OK && i < s->batch; i++) {
        vd_request_options options = {.n_prompt = n_prompt, .max_tokens = n_answer,
                                      .on_event = on_event, .ctx = &p->seq[i]};
        uint64_t seed = salt * VD_BENCH_BATCH_MAX + i;
        p->seq[i] = (vd_bench_seq){.phase = p};
        st = submit(p->engine, i + 1, s->depth, seed * 0x9e3779b97f4a7c15u + 1, &options,
                    &p->seq[i].id, err);
        if (st == VD_OK)
            p->n_alive++;
    }
    return st;
}

/* Steps until `n_first` sequences have their first token and `n_tokens` have come in all, or nobody
 * is left. */
static vd_status step_until(vd_bench_phase *p, size_t n_first, size_t n_tokens, vd_err *err)
{
    vd_status st = VD_OK;
    while (st == VD_OK && p->n_alive > 0 && (p->n_first < n_first || p->n_tokens < n_tokens)) {
        bool worked = false;
        st = vd_engine_step(p->engine, &worked, err);
    }
    if (st == VD_OK && p->failed != VD_OK)
        st = VD_FAIL(err, p->failed, "a request failed: %s", vd_finish_message(p->failed));
    return st;
}

static vd_status end_all(vd_bench_phase *p, const vd_bench_shape *s, vd_err *err)
{
    for (size_t i = 0; i < s->batch; i++)
        vd_engine_cancel(p->engine, p->seq[i].id);
    return step_until(p, SIZE_MAX, SIZE_MAX, err);
}

/* Fills the cache with the context, for a prompt that follows it. */
static vd_status read_context(vd_bench_phase *p, const vd_bench_shape *s, vd_err *err)
{
    vd_status st = submit_all(p, s, s->depth, 1, 0, err);
    return st == VD_OK ? step_until(p, SIZE_MAX, SIZE_MAX, err) : st;
}

static vd_status prefill(vd_bench_phase *p, const vd_bench_shape *s, uint64_t salt,
                         vd_bench_speed *speed, vd_err *err)
{
    vd_status st = s->depth > 0 ? read_context(p, s, err) : VD_OK;
    if (st == VD_OK)
        st = submit_all(p, s, s->depth + s->n, 1, salt, err);
    vd_meter_read(p->meter, &speed->from);
    if (st == VD_OK)
        st = step_until(p, SIZE_MAX, SIZE_MAX, err);
    vd_meter_read(p->meter, &speed->to);
    if (st != VD_OK)
        return st;
    speed->tokens = (s->depth + s->n) * s->batch - p->n_cached;
    if (speed->tokens > (s->n + SHORT_PROMPT) * s->batch) /* a page may be computed again */
        return VD_FAIL(err, VD_ERR_NOMEM, "the cache did not keep %zu tokens of context",
                       s->depth * s->batch);
    return VD_OK;
}

static vd_status decode(vd_bench_phase *p, const vd_bench_shape *s, uint64_t salt,
                        vd_bench_speed *speed, vd_err *err)
{
    size_t context = context_of(s);
    uint64_t begin_ns = vd_now_ns();
    vd_status st = submit_all(p, s, context, s->n + 1 + steps_before(s), salt, err);
    if (st == VD_OK)
        st = step_until(p, s->batch, 0, err);
    vd_meter_read(p->meter, &speed->from);
    speed->context_ns = vd_now_ns() - begin_ns;
    size_t before = p->n_tokens;
    if (st == VD_OK)
        st = step_until(p, s->batch, before + s->n * s->batch, err);
    vd_meter_read(p->meter, &speed->to);
    speed->tokens = p->n_tokens - before;
    if (st == VD_OK)
        st = end_all(p, s, err);
    speed->context_tokens = context * s->batch - p->n_cached;
    return st;
}

vd_status vd_bench_phase_run(vd_bench_phase *p, const vd_bench_shape *s, uint64_t salt,
                             vd_bench_speed *ret_speed, vd_err *err)
{
    vd_bench_speed speed = {0};
    vd_status st = s->prefill ? prefill(p, s, salt, &speed, err) : decode(p, s, salt, &speed, err);
    if (st == VD_OK)
        *ret_speed = speed;
    return st;
}
