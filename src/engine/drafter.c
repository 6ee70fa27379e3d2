/* drafter.c - see drafter.h. */
#include "engine/drafter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "engine/kv_type.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

/* The drafter may be so many tokens behind a request and still guess; further behind, it reads a
 * piece of its text in each step: PIECE_MAX tokens, or, where others wait, as many as fit into
 * step_ms. */
enum { BEHIND_MAX = 2 * VD_DRAFT_MAX, PIECE_MIN = 32, PIECE_MAX = 128 };

static const double rate_of_learning = 1.0 / 8;

struct vd_drafter {
    vd_model *model;
    vd_kv *kv;
    vd_forward *forward;
    size_t n_rows;  /* of a batch at most */
    size_t n_vocab; /* of the main model */
    double size;    /* its weights in bytes over the main model's */
    double pass_ns; /* 0: not measured yet */
    double read_ns; /* of a token in a pass that reads a piece; 0: not measured yet */
    int32_t *token;        /* [n_rows] */
    uint32_t *pos;         /* [n_rows] */
    const vd_kv_seq **seq; /* [n_rows] */
    uint32_t *out;         /* [max_running] */
    vd_request **drawing;  /* [max_running] whose rows of logits they are */
    float *logits;         /* [max_running, V of the drafter] */
    float *row;            /* [n_vocab] */
};

/* ---- opening ---------------------------------------------------------------------------------*/

enum { QUOTED_MAX = 40 };

typedef struct quoted {
    char text[QUOTED_MAX * 4 + 4];
} quoted;

/* The bytes of a token for a message: any may be there, so all but printable ASCII are escaped. */
static quoted quote(const char *bytes, size_t n)
{
    quoted q = {""};
    size_t at = 0;
    for (size_t i = 0; i < VD_MIN(n, (size_t)QUOTED_MAX); i++) {
        unsigned char c = (unsigned char)bytes[i];
        const char *form = c < ' ' || c > '~' || c == '\\' ? "\\x%02x" : "%c";
        at += (size_t)snprintf(q.text + at, sizeof(q.text) - at, form, c);
    }
    if (n > QUOTED_MAX)
        (void)snprintf(q.text + at, sizeof(q.text) - at, "...");
    return q;
}

static vd_status check_vocabulary(const char *path, const vd_tokenizer *ours,
                                  const vd_tokenizer *theirs, vd_err *err)
{
    size_t n = vd_tokenizer_n_vocab(ours), n_theirs = vd_tokenizer_n_vocab(theirs);
    if (n != n_theirs)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s: the draft model's vocabulary has %zu tokens, the model's has %zu; "
                       "they must be the same", path, n_theirs, n);
    for (int32_t i = 0; (size_t)i < n; i++) {
        size_t a, b;
        const char *x = vd_tokenizer_piece(ours, i, true, &a);
        const char *y = vd_tokenizer_piece(theirs, i, true, &b);
        if (a != b || memcmp(x, y, a) != 0)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "%s: token %d of the draft model is '%s', the model's is '%s'; "
                           "their vocabularies must be the same", path, i, quote(y, b).text,
                           quote(x, a).text);
    }
    return VD_OK;
}

static vd_status open_model(vd_drafter *d, const char *path, const vd_engine *e, vd_err *err)
{
    const vd_engine_options *o = &e->options;
    vd_tokenizer *tokenizer = NULL;
    vd_status st = vd_model_open(path, o->exact ? VD_PRECISION_EXACT
                                                : vd_kernels_default_precision(e->model->kernels),
                                 e->pool, &d->model, err);
    if (st != VD_OK)
        return st; /* names the file itself */
    st = vd_tokenizer_create(d->model->gguf, &tokenizer, err);
    if (st != VD_OK) {
        vd_err_prefix(err, "%s", path);
        return st;
    }
    if (d->model->hp.block.encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s: an encoder makes no text to guess with", path);
    else
        st = check_vocabulary(path, e->tokenizer, tokenizer, err);
    vd_tokenizer_free(tokenizer);
    if (st == VD_OK && vd_tokenizer_n_vocab(e->tokenizer) > d->model->hp.n_vocab)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: its embedding has only %zu rows", path,
                     d->model->hp.n_vocab);
    if (st == VD_OK && o->ctx_tokens > vd_model_ctx_max(d->model))
        st = VD_FAIL(err, VD_ERR_ARG,
                     "%s: the draft model has positions for %zu tokens, the context is %zu: ask "
                     "for a shorter context", path, vd_model_ctx_max(d->model), o->ctx_tokens);
    return st;
}

vd_status vd_drafter_open(const char *path, const vd_engine *e, vd_drafter **ret_drafter,
                          vd_err *err)
{
    const vd_engine_options *o = &e->options;
    vd_drafter *d = NULL;
    size_t n_logits = 0;
    vd_status st = vd_alloc_array(1, sizeof(*d), "the drafter", &d, err);
    if (st != VD_OK)
        return st;
    d->n_rows = o->step_tokens;
    d->n_vocab = e->model->hp.n_vocab;
    st = open_model(d, path, e, err);
    if (st != VD_OK)
        goto out;
    d->size = (double)d->model->weight_bytes / (double)VD_MAX(e->model->weight_bytes, (size_t)1);
    st = vd_kv_create(&d->model->hp, vd_kv_type_dtype(o->kv_type), o->kv_tokens, &d->kv,
                      err);
    if (st == VD_OK)
        st = vd_forward_create(d->model, d->kv, e->pool, d->n_rows, o->ctx_tokens, &d->forward,
                               err);
    if (st != VD_OK)
        vd_err_prefix(err, "the draft model %s", path);
    if (st == VD_OK && !vd_mul_size(o->max_running, d->model->hp.n_vocab, &n_logits))
        st = VD_FAIL(err, VD_ERR_ARG, "max_running is %zu, too many for this vocabulary",
                     o->max_running);
    const struct {
        size_t n, size;
        void *to;
    } arrays[] = {
        {d->n_rows, sizeof(*d->token), &d->token},
        {d->n_rows, sizeof(*d->pos), &d->pos},
        {d->n_rows, sizeof(*d->seq), &d->seq},
        {o->max_running, sizeof(*d->out), &d->out},
        {o->max_running, sizeof(*d->drawing), &d->drawing},
        {n_logits, sizeof(float), &d->logits},
        {d->n_vocab, sizeof(float), &d->row},
    };
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(arrays); i++)
        st = vd_alloc_array(arrays[i].n, arrays[i].size, "the drafter", arrays[i].to, err);
    if (st != VD_OK)
        goto out;
    *ret_drafter = d;
    d = NULL;
out:
    vd_drafter_free(d);
    return st;
}

void vd_drafter_free(vd_drafter *d)
{
    if (d == NULL)
        return;
    vd_free(d->token);
    vd_free(d->pos);
    vd_free(d->seq);
    vd_free(d->out);
    vd_free(d->drawing);
    vd_free(d->logits);
    vd_free(d->row);
    vd_forward_free(d->forward);
    vd_kv_free(d->kv);
    vd_model_free(d->model);
    vd_free(d);
}

/* ---- a request's part ------------------------------------------------------------------------*/

vd_status vd_drafter_seq_init(vd_drafter *d, size_t n_limit, vd_drafter_seq *ret_seq, vd_err *err)
{
    vd_drafter_seq s = {.kv = d->kv, .rate = 0.7f};
    vd_status st = vd_kv_seq_init(d->kv, n_limit, &s.seq, err);
    if (st == VD_OK)
        *ret_seq = s;
    return st;
}

void vd_drafter_seq_reset(vd_drafter_seq *s)
{
    if (s->kv != NULL)
        vd_kv_seq_reset(s->kv, &s->seq);
    s->n_computed = 0;
}

void vd_drafter_seq_done(vd_drafter_seq *s)
{
    if (s->kv != NULL)
        vd_kv_seq_done(s->kv, &s->seq);
    *s = (vd_drafter_seq){0};
}

bool vd_drafter_reserve(vd_request *r, size_t n)
{
    vd_drafter_seq *s = &r->drafter;
    return r->n_tokens - s->n_computed <= BEHIND_MAX && vd_kv_seq_reserve(s->kv, &s->seq, n);
}

/* ---- guessing --------------------------------------------------------------------------------*/

/* Adds tokens [from, end) of the request to the batch. The main model's embedding may have more
 * rows than the vocabulary and than the drafter's: a token of those is read as token 0. */
static void add(vd_drafter *d, vd_request *r, size_t from, size_t end, vd_batch *batch)
{
    for (size_t pos = from; pos < end; pos++) {
        size_t row = batch->n_tokens++;
        d->token[row] = (size_t)r->token[pos] < d->model->hp.n_vocab ? r->token[pos] : 0;
        d->pos[row] = (uint32_t)pos;
        d->seq[row] = &r->drafter.seq;
    }
    r->drafter.n_computed = end;
}

/* The logits of the last row added become this request's next guess. */
static void want(vd_drafter *d, vd_request *r, vd_batch *batch)
{
    d->drawing[batch->n_out] = r;
    d->out[batch->n_out++] = (uint32_t)(batch->n_tokens - 1);
}

static void draw(vd_drafter *d, vd_engine *e, const vd_batch *batch)
{
    static const vd_token_counts none;
    size_t n_theirs = d->model->hp.n_vocab, n = VD_MIN(n_theirs, d->n_vocab);
    for (size_t i = 0; i < batch->n_out; i++) {
        vd_request *r = d->drawing[i];
        size_t at = r->drafter.n_computed;
        memcpy(d->row, d->logits + i * n_theirs, n * sizeof(float));
        for (size_t k = n; k < d->n_vocab; k++)
            d->row[k] = -INFINITY;
        int32_t token = vd_sampler_draw(e->sampler, &r->options.sampling, &none, at - r->n_prompt,
                                        d->row);
        if (token >= 0)
            r->token[at] = token;
    }
}

static bool run_pass(vd_drafter *d, vd_engine *e, vd_batch *batch)
{
    if (batch->n_tokens == 0)
        return false;
    vd_forward_run(d->forward, batch);
    draw(d, e, batch);
    return true;
}

static vd_batch empty_batch(vd_drafter *d)
{
    return (vd_batch){
        .token = d->token, .pos = d->pos, .seq = d->seq, .out = d->out, .logits = d->logits};
}

/* Tokens of a text that a step may read. */
static size_t piece(const vd_drafter *d, const vd_engine *e)
{
    if (e->n_answer <= 1)
        return PIECE_MAX;
    double left = (double)e->options.step_ms * 1e6 - vd_pace_answers_ns(&e->pace, e->n_answer);
    double n = d->read_ns > 0 ? left / d->read_ns : 0;
    return n >= PIECE_MAX ? PIECE_MAX : n > PIECE_MIN ? (size_t)n : PIECE_MIN;
}

/* What the drafter has not read yet: of those with guesses all, of one other a piece. */
static void catch_up(vd_drafter *d, vd_engine *e, vd_batch *batch)
{
    for (size_t i = 0; i < e->n_sampled; i++) {
        vd_request *r = e->sampled[i].request;
        size_t from = r->drafter.n_computed;
        if (r->n_draft == 0)
            continue;
        size_t end = VD_MIN(r->n_tokens, from + (d->n_rows - batch->n_tokens));
        add(d, r, from, end, batch);
        if (end == r->n_tokens)
            want(d, r, batch);
        /* else its guesses stay what they are, the last token repeated; the next step goes on */
    }
    for (vd_request *r = e->running.head; r != NULL; r = r->next) {
        size_t from = r->drafter.n_computed;
        bool answers = r->drafter.kv != NULL && r->n_tokens > r->n_prompt && r->n_draft == 0;
        if (!answers || !r->drafter.wanted || r->n_tokens - from <= BEHIND_MAX)
            continue;
        size_t end = VD_MIN(r->n_tokens, from + VD_MIN(d->n_rows - batch->n_tokens, piece(d, e)));
        if (vd_kv_seq_reserve(r->drafter.kv, &r->drafter.seq, end))
            add(d, r, from, end, batch);
        return;
    }
}

/* Of n things that took the time since from_ns. One that took twice as long as others counts as
 * twice. */
static void learn(double *mean_ns, uint64_t from_ns, size_t n)
{
    double ns = (double)(vd_now_ns() - from_ns) / (double)n;
    if (*mean_ns > 0)
        *mean_ns += (VD_MIN(ns, 2 * *mean_ns) - *mean_ns) * rate_of_learning;
    else
        *mean_ns = ns;
}

void vd_drafter_run(vd_drafter *d, vd_engine *e)
{
    vd_batch batch = empty_batch(d);
    for (size_t i = 0; i < e->n_sampled; i++) {
        vd_request *r = e->sampled[i].request;
        for (size_t k = 0; k < r->n_draft; k++)
            r->token[r->n_tokens + k] = r->token[r->n_tokens - 1];
    }
    catch_up(d, e, &batch);
    size_t n_drawing = batch.n_out;
    uint64_t from = vd_now_ns();
    bool more = run_pass(d, e, &batch);
    if (batch.n_tokens >= PIECE_MIN)
        learn(&d->read_ns, from, batch.n_tokens);
    from = vd_now_ns();
    size_t n_passes = 0;
    for (size_t k = 1; more && n_drawing > 0; k++) {
        batch = empty_batch(d);
        size_t n = 0;
        for (size_t i = 0; i < n_drawing; i++) {
            vd_request *r = d->drawing[i];
            if (r->n_draft <= k)
                continue;
            add(d, r, r->n_tokens + k - 1, r->n_tokens + k, &batch);
            n++;
            want(d, r, &batch);
        }
        n_drawing = n;
        more = run_pass(d, e, &batch);
        n_passes += more;
    }
    if (n_passes > 0)
        learn(&d->pass_ns, from, n_passes);
}

double vd_drafter_pass_ns(const vd_drafter *d, double main_ns)
{
    return d->pass_ns > 0 ? d->pass_ns : d->size * main_ns;
}

size_t vd_drafter_weight_bytes(const vd_drafter *d)
{
    return d->model->weight_bytes;
}

size_t vd_drafter_kv_bytes(const vd_drafter *d)
{
    return vd_kv_bytes(d->kv);
}
