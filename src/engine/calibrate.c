/*
 * calibrate.c - see calibrate.h.
 *
 * The plan is worked through again and again until the time is up. Each line gives some sequences
 * some tokens; a sequence keeps what it has until the plan starts anew, so that later lines stand
 * deeper in the context. An encoder reads whole texts only.
 */
#include "engine/calibrate.h"

#include "base/checked.h"
#include "base/clock.h"
#include "engine/engine.h"

enum { SEQUENCES = 8, DEPTH_MAX = 1024 };

/* `n` sequences from the first-th on get n_new tokens each, `times` times. One token is an
 * answer's; more are a prompt's. */
typedef struct line {
    unsigned first, n, n_new, times;
} line;

static const line plan[] = {
    {0, 1, 1, 3},   {0, 1, 16, 1}, {1, 3, 16, 1},  {0, 4, 1, 3}, {4, 4, 16, 1},
    {0, 8, 1, 3},   {0, 1, 64, 1}, {0, 1, 1, 2},   {0, 4, 1, 2}, {0, 1, 128, 1},
    {0, 1, 200, 1}, {0, 1, 1, 3},  {1, 2, 64, 1},  {0, 8, 1, 3},
};
static const line plan_of_encoder[] = {
    {0, 1, 16, 2}, {0, 1, 64, 2}, {0, 4, 16, 2}, {0, 4, 64, 1}, {0, 1, 256, 1}, {0, 8, 64, 1},
};

typedef struct calibration {
    vd_engine *e;
    vd_kv_seq seq[SEQUENCES];
    size_t depth[SEQUENCES];
    size_t n_seqs, depth_max;
    uint64_t end_ns;
    double token_ns; /* of the largest step so far: larger ones cost no more per token */
    size_t token_of; /* its tokens; 0: none yet */
    bool told;       /* the first step reads the weights from the disk: it teaches nothing */
} calibration;

/* Room for the line's tokens, in the batch and in the cache? */
static bool fits(calibration *c, const line *l)
{
    const vd_engine_options *o = &c->e->options;
    if (l->first + l->n > c->n_seqs || (size_t)l->n * l->n_new > o->step_tokens)
        return false;
    for (unsigned i = l->first; i < l->first + l->n; i++)
        if (c->depth[i] + l->n_new > c->depth_max ||
            !vd_kv_seq_reserve(c->e->kv, &c->seq[i], c->depth[i] + l->n_new))
            return false;
    double expected = (double)((size_t)l->n * l->n_new) * c->token_ns;
    return (double)vd_now_ns() + expected <= (double)c->end_ns;
}

static void fill(calibration *c, const line *l, vd_batch *batch)
{
    vd_engine *e = c->e;
    bool encoder = e->model->hp.block.encoder;
    *batch = (vd_batch){.token = e->token, .pos = e->pos, .seq = e->seq, .out = e->out,
                        .logits = e->logits};
    for (unsigned k = 0; k < l->n; k++) {
        vd_step_share *share = &e->share[k];
        unsigned s = l->first + k;
        *share = (vd_step_share){.n_prefill = l->n_new > 1 ? l->n_new : 0,
                                 .n_decode = l->n_new == 1};
        for (unsigned i = 0; i < l->n_new; i++) {
            size_t row = batch->n_tokens++, pos = c->depth[s]++;
            e->token[row] = (int32_t)((pos * 31 + s * 97) % vd_tokenizer_n_vocab(e->tokenizer));
            e->pos[row] = (uint32_t)pos;
            e->seq[row] = &c->seq[s];
            share->n_kv_read += encoder ? l->n_new : pos + 1;
        }
        if (!encoder)
            e->out[batch->n_out++] = (uint32_t)(batch->n_tokens - 1);
    }
}

static void run(calibration *c, const line *l)
{
    vd_engine *e = c->e;
    vd_batch batch;
    fill(c, l, &batch);
    vd_step step = {.begin_ns = vd_now_ns(), .share = e->share, .n_share = l->n,
                    .model = e->observer.model};
    if (c->told && e->observer.on_begin != NULL)
        e->observer.on_begin(e->observer.ctx, &step);
    vd_forward_run(e->forward, &batch);
    step.end_ns = vd_now_ns();
    if (c->told && e->observer.on_step != NULL)
        e->observer.on_step(e->observer.ctx, &step);
    if (c->told)
        vd_pace_learn(&e->pace, l->n_new > 1 ? 0 : l->n, l->n_new > 1 ? batch.n_tokens : 0,
                      step.end_ns - step.begin_ns);
    c->told = true;
    if (batch.n_tokens >= c->token_of) {
        c->token_of = batch.n_tokens;
        c->token_ns = (double)(step.end_ns - step.begin_ns) / (double)batch.n_tokens;
    }
}

static void start_anew(calibration *c)
{
    for (size_t i = 0; i < c->n_seqs; i++) {
        vd_kv_seq_reset(c->e->kv, &c->seq[i]);
        c->depth[i] = 0;
    }
}

/* The plan once; false when no line of it had room or time. */
static bool work_through(calibration *c)
{
    bool encoder = c->e->model->hp.block.encoder, some = false;
    const line *lines = encoder ? plan_of_encoder : plan;
    size_t n = encoder ? VD_COUNT(plan_of_encoder) : VD_COUNT(plan);
    start_anew(c);
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < lines[i].times; k++) {
            if (encoder)
                start_anew(c);
            if (!fits(c, &lines[i]))
                break;
            run(c, &lines[i]);
            some = true;
        }
    return some;
}

vd_status vd_engine_calibrate(vd_engine *e, uint64_t budget_ns, vd_err *err)
{
    calibration c = {.e = e, .end_ns = vd_now_ns() + budget_ns};
    vd_status st = VD_OK;
    c.depth_max = VD_MIN(e->options.ctx_tokens, (size_t)DEPTH_MAX);
    c.n_seqs = VD_MIN(e->options.max_running, (size_t)SEQUENCES);
    for (size_t i = 0; i < c.n_seqs && st == VD_OK; i++)
        st = vd_kv_seq_init(e->kv, c.depth_max, &c.seq[i], err);
    while (st == VD_OK && vd_now_ns() < c.end_ns && work_through(&c))
        ;
    for (size_t i = 0; i < c.n_seqs; i++)
        vd_kv_seq_done(e->kv, &c.seq[i]);
    return st;
}
