/*
 * effect.c - see effect.h. The effect on the output: perplexity with a layer left out, greedily (as
 * Kim et al. 2024, Shortened LLaMA, do in one go). What a chunk is in front of the layer that is
 * tried is kept, so that a round costs half of what it would from the start each time.
 */
#include "compress/structured/effect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/walk_internal.h"
#include "eval/row.h"

typedef struct trial {
    vd_cut_session *s;
    vd_walk *walk;
    const bool *gone;
    size_t n_chunks, n_out; /* rows of a chunk that predict a token */
    uint32_t *out;          /* [n_out] */
    float *logits;          /* [n_out, V] */
    float *x, *ahead;       /* [ctx, C] */
    double *loss;           /* [n_layer] without each, in nats, summed */
    size_t done, total;
} trial;

/* Layers [first, end) that are not gone, but `skip`; logits behind the last of them. */
static void run_layers(trial *t, size_t chunk, size_t first, size_t end, size_t skip, float *x,
                       bool predicts)
{
    vd_walk *w = t->walk;
    size_t last = end;
    for (size_t i = first; i < end; i++)
        if (!t->gone[i] && i != skip)
            last = i;
    for (size_t i = first; i < end && last < end; i++) {
        if (t->gone[i] || i == skip)
            continue;
        bool now = predicts && i == last;
        vd_model_part part = {.first = i, .end = i + 1, .x = x};
        vd_batch batch = {.n_tokens = w->calib.ctx, .token = w->calib.token + chunk * w->calib.ctx,
                          .pos = w->pos, .seq = w->seqs, .part = &part,
                          .n_out = now ? t->n_out : 0, .out = t->out, .logits = t->logits};
        vd_forward_run(w->forward, &batch);
    }
}

static double loss_of(const trial *t, size_t chunk)
{
    const vd_walk *w = t->walk;
    size_t n_vocab = w->model->hp.n_vocab;
    double sum = 0;
    for (size_t i = 0; i < t->n_out; i++) {
        const float *row = t->logits + i * n_vocab;
        size_t next = (size_t)w->calib.token[chunk * w->calib.ctx + t->out[i] + 1];
        sum += vd_row_log_sum_exp(row, n_vocab) - (double)row[next];
    }
    return sum;
}

static vd_status tell(trial *t, vd_err *err)
{
    const vd_structured_options *o = t->s->options;
    static const char note[] = "layers, one left out";
    t->done++;
    if (o->progress != NULL &&
        !o->progress(o->ctx, t->done, t->total, (vd_str){note, sizeof(note) - 1}))
        return VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    return VD_OK;
}

static vd_status try_chunk(trial *t, size_t chunk, vd_err *err)
{
    vd_walk *w = t->walk;
    size_t n = w->model->hp.n_layer, n_values = w->calib.ctx * w->model->hp.n_embd;
    memcpy(t->x, w->x + chunk * n_values, n_values * sizeof(float));
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        if (t->gone[i])
            continue;
        memcpy(t->ahead, t->x, n_values * sizeof(float));
        size_t from = i;
        bool more = false;
        for (size_t k = i + 1; k < n; k++)
            more = more || !t->gone[k];
        if (!more) { /* nothing behind it: the logits of what is in front */
            memcpy(t->ahead, w->x + chunk * n_values, n_values * sizeof(float));
            from = 0;
        }
        run_layers(t, chunk, from, n, i, t->ahead, true);
        t->loss[i] += loss_of(t, chunk);
        if (more)
            run_layers(t, chunk, i, i + 1, SIZE_MAX, t->x, false);
        st = tell(t, err);
    }
    return st;
}

static vd_status take(trial *t, vd_err *err)
{
    const vd_walk *w = t->walk;
    size_t ctx = w->calib.ctx, n_logits, n_values = ctx * w->model->hp.n_embd;
    t->n_chunks = VD_MIN(w->calib.n_chunks, (size_t)VD_EFFECT_CHUNKS);
    t->n_out = ctx - 1 - ctx / 2;
    if (!vd_mul_size(t->n_out, w->model->hp.n_vocab, &n_logits))
        return VD_FAIL(err, VD_ERR_LIMIT, "chunks of %zu tokens are too long", ctx);
    vd_status st = vd_alloc_array(t->n_out, sizeof(*t->out), "rows", &t->out, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_logits, sizeof(float), "logits", &t->logits, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(float), "a chunk", &t->x, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(float), "a chunk", &t->ahead, err);
    if (st == VD_OK)
        st = vd_alloc_array(w->model->hp.n_layer, sizeof(double), "layers", &t->loss, err);
    for (size_t i = 0; st == VD_OK && i < t->n_out; i++)
        t->out[i] = (uint32_t)(ctx / 2 + i);
    return st;
}

vd_status vd_effect_choose(vd_cut_session *s, size_t n_gone, bool *gone, vd_err *err)
{
    trial t = {.s = s, .gone = gone};
    size_t n = s->plan.n_layer;
    vd_status st = vd_session_walk(s, (vd_session_ear){.gram = false}, &t.walk, err);
    if (st == VD_OK)
        st = take(&t, err);
    for (size_t k = 0; k < n_gone; k++)
        t.total += (n - k) * t.n_chunks;
    for (size_t k = 0; st == VD_OK && k < n_gone; k++) {
        size_t best = SIZE_MAX;
        memset(t.loss, 0, n * sizeof(*t.loss));
        for (size_t i = 0; st == VD_OK && i < t.n_chunks; i++)
            st = try_chunk(&t, i, err);
        for (size_t i = 0; st == VD_OK && i < n; i++)
            if (!gone[i] && isfinite(t.loss[i]) && (best == SIZE_MAX || t.loss[i] < t.loss[best]))
                best = i;
        if (st == VD_OK && best == SIZE_MAX)
            st = VD_FAIL(err, VD_ERR_FORMAT, "the model computes what is no number");
        if (st == VD_OK)
            gone[best] = true;
    }
    vd_walk_free(t.walk);
    vd_free(t.out);
    vd_free(t.logits);
    vd_free(t.x);
    vd_free(t.ahead);
    vd_free(t.loss);
    return st;
}
