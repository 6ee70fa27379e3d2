/* probe.c - see probe.h: the text through the model, and what it says against what it said. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/finite.h"
#include "compress/search/probe_internal.h"

enum { LOGITS_BYTES = 64 << 20 };

static float *stream_at(const vd_probe *p, size_t layer, size_t chunk)
{
    size_t n = p->calib.ctx * p->model->hp.n_embd;
    return p->stream + (layer * p->options.n_measured + chunk) * n;
}

static size_t first_scored(const vd_probe *p)
{
    return p->calib.ctx / 2;
}

static size_t scored_per_chunk(const vd_probe *p)
{
    return p->calib.ctx - 1 - first_scored(p);
}

/* ---- rows of logits ---------------------------------------------------------------------------*/

typedef struct scoring {
    vd_probe *p;
    size_t first, n;       /* scored positions, counted through all chunks */
    const int32_t *next;   /* [n] tokens that follow */
    bool is_base;
    double *kl, *nll;      /* [n_scored] */
} scoring;

static double log_sum_exp(const float *x, size_t n)
{
    float most = x[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++)
        sum += (double)expf(x[i] - most);
    return (double)most + log(sum);
}

/* The same sum over the same rounded probabilities for the source and for what is measured: where
 * nothing changes the divergence is 0. */
static double expected_log(const float *p, const float *logits, double log_z, size_t n)
{
    double sum = 0, mass = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)p[i] * ((double)logits[i] - log_z);
        mass += (double)p[i];
    }
    return sum / mass;
}

static void score_rows(void *ctx, size_t thread, size_t n_threads)
{
    const scoring *s = ctx;
    vd_probe *p = s->p;
    size_t v = p->model->hp.n_vocab;
    for (size_t i = thread; i < s->n; i += n_threads) {
        const float *logits = p->logits + i * v;
        size_t at = s->first + i;
        float *base = p->base + at * v;
        double log_z = log_sum_exp(logits, v);
        if (s->is_base) {
            for (size_t k = 0; k < v; k++)
                base[k] = expf((float)((double)logits[k] - log_z));
            p->base_sum[at] = expected_log(base, logits, log_z, v);
        }
        s->kl[at] = p->base_sum[at] - expected_log(base, logits, log_z, v);
        s->nll[at] = log_z - (double)logits[s->next[i]];
    }
}

/* The scored positions of a chunk whose last layer left x[ctx, C]. */
static void score_chunk(vd_probe *p, size_t chunk, const float *x, scoring *s)
{
    size_t n_all = scored_per_chunk(p), c = p->model->hp.n_embd, n_layer = p->model->hp.n_layer;
    for (size_t at = 0; at < n_all; at += p->step) {
        size_t n = VD_MIN(p->step, n_all - at), row = first_scored(p) + at;
        vd_model_part part = {.first = n_layer, .end = n_layer, .x = p->hidden};
        vd_batch batch = {.n_tokens = n, .token = p->calib.token + chunk * p->calib.ctx + row,
                          .pos = p->pos, .seq = p->seqs, .n_out = n, .out = p->pos,
                          .logits = p->logits, .part = &part};
        memcpy(p->hidden, x + row * c, n * c * sizeof(float));
        vd_forward_run(p->forward, &batch);
        s->first = chunk * n_all + at;
        s->n = n;
        s->next = p->calib.token + chunk * p->calib.ctx + row + 1;
        vd_pool_run(p->pool, score_rows, s);
    }
}

/* ---- passes -----------------------------------------------------------------------------------*/

typedef struct keeper {
    const vd_probe *p;
    size_t chunk;
} keeper;

static void on_tap(void *ctx, vd_tap_point point, size_t layer, const float *x)
{
    const keeper *k = ctx;
    size_t bytes = k->p->calib.ctx * k->p->model->hp.n_embd * sizeof(float);
    if (point != VD_TAP_ATTN)
        memcpy(stream_at(k->p, point == VD_TAP_EMBED ? 0 : layer + 1, k->chunk), x, bytes);
}

static vd_batch whole_chunk(const vd_probe *p, size_t chunk)
{
    return (vd_batch){.n_tokens = p->calib.ctx, .token = p->calib.token + chunk * p->calib.ctx,
                      .pos = p->pos, .seq = p->seqs};
}

/* What the output reads at all positions of a chunk. */
static void gather_output(vd_probe *p, const float *embeddings)
{
    size_t c = p->model->hp.n_embd;
    vd_probe_on_input(p, &p->model->output, embeddings, p->calib.ctx, c, c);
}

/* All chunks as the model is. */
static vd_status compute_source(vd_probe *p, scoring *s, vd_err *err)
{
    float *embeddings = NULL;
    vd_status st = vd_alloc_array(p->calib.ctx * p->model->hp.n_embd, sizeof(float), "a chunk",
                                  &embeddings, err);
    for (size_t i = 0; st == VD_OK && i < p->calib.n_chunks; i++) {
        keeper k = {p, i};
        vd_batch batch = whole_chunk(p, i);
        batch.input = vd_probe_on_input;
        batch.input_ctx = p;
        batch.n_embed = p->calib.ctx;
        batch.embed = p->pos;
        batch.embeddings = embeddings;
        batch.tap = i < p->options.n_measured ? on_tap : NULL;
        batch.tap_ctx = &k;
        vd_forward_run(p->forward, &batch);
        gather_output(p, embeddings);
        if (i < p->options.n_measured)
            score_chunk(p, i, stream_at(p, p->model->hp.n_layer, i), s);
        if (p->options.progress != NULL &&
            !p->options.progress(p->options.ctx, i + 1, p->calib.n_chunks))
            st = VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    }
    vd_free(embeddings);
    return st;
}

static vd_status make_scoring(vd_probe *p, scoring *s, vd_err *err)
{
    *s = (scoring){.p = p};
    vd_status st = vd_alloc_array(p->n_scored, sizeof(double), "scores", &s->kl, err);
    return st == VD_OK ? vd_alloc_array(p->n_scored, sizeof(double), "scores", &s->nll, err) : st;
}

static vd_status finish_scoring(const vd_probe *p, scoring *s, double *ret_kl, double *ret_nll,
                                vd_err *err)
{
    double kl = 0, nll = 0;
    for (size_t i = 0; i < p->n_scored; i++) {
        kl += s->kl[i];
        nll += s->nll[i];
    }
    if (!isfinite(kl) || !isfinite(nll))
        return vd_finite_fail(p->model->gguf, "the model", err);
    *ret_kl = VD_MAX(kl / (double)p->n_scored, 0);
    *ret_nll = nll / (double)p->n_scored;
    return VD_OK;
}

vd_status vd_probe_measure(vd_probe *p, size_t first, vd_probe_result *ret, vd_err *err)
{
    const vd_hparams *hp = &p->model->hp;
    size_t n = p->calib.ctx * hp->n_embd;
    float *x = NULL;
    double kl = 0, nll = 0;
    scoring s;
    vd_status st = make_scoring(p, &s, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(float), "a chunk", &x, err);
    for (size_t i = 0; st == VD_OK && i < p->options.n_measured; i++) {
        memcpy(x, stream_at(p, first, i), n * sizeof(float));
        vd_model_part part = {.first = first, .end = hp->n_layer,
                              .embed = first == 0 && p->model->embed != p->own_embed, .x = x};
        vd_batch batch = whole_chunk(p, i);
        batch.part = &part;
        if (first < hp->n_layer)
            vd_forward_run(p->forward, &batch);
        score_chunk(p, i, x, &s);
    }
    if (st == VD_OK)
        st = finish_scoring(p, &s, &kl, &nll, err);
    if (st == VD_OK)
        *ret = (vd_probe_result){.kl = kl, .loss = expm1(nll - p->base_nll),
                                 .n_scored = p->n_scored};
    vd_free(x);
    vd_free(s.kl);
    vd_free(s.nll);
    return st;
}

/* ---- opening ----------------------------------------------------------------------------------*/

/* The beginning of a text may be about one thing only: chunks from all parts of it come first, for
 * the first are compared. */
static void spread_measured(vd_probe *p)
{
    size_t ctx = p->calib.ctx;
    for (size_t i = 1; i < p->options.n_measured; i++) {
        int32_t *a = p->calib.token + i * ctx;
        int32_t *b = p->calib.token + i * p->calib.n_chunks / p->options.n_measured * ctx;
        for (size_t k = 0; k < ctx; k++) {
            int32_t token = a[k];
            a[k] = b[k];
            b[k] = token;
        }
    }
}

static vd_status make_buffers(vd_probe *p, vd_err *err)
{
    const vd_hparams *hp = &p->model->hp;
    size_t ctx = p->calib.ctx, n_hidden = 0, n_stream = 0, n_logits = 0, n_base = 0;
    p->options.n_measured = VD_MIN(VD_MAX(p->options.n_measured, (size_t)1), p->calib.n_chunks);
    spread_measured(p);
    p->n_scored = p->options.n_measured * scored_per_chunk(p);
    p->step = VD_MIN(VD_MAX(LOGITS_BYTES / (hp->n_vocab * sizeof(float)), (size_t)1),
                     scored_per_chunk(p));
    if (!vd_mul_size(ctx, hp->n_embd, &n_hidden) ||
        !vd_mul_size(n_hidden, p->options.n_measured * (hp->n_layer + 1), &n_stream) ||
        !vd_mul_size(p->step, hp->n_vocab, &n_logits) ||
        !vd_mul_size(p->n_scored, hp->n_vocab, &n_base))
        return VD_FAIL(err, VD_ERR_LIMIT, "chunks of %zu tokens are too long", ctx);
    vd_status st = vd_alloc_array(n_stream, sizeof(float), "the residual stream", &p->stream, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_hidden, sizeof(float), "a chunk", &p->hidden, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_logits, sizeof(float), "logits", &p->logits, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_base, sizeof(float), "the source's answers", &p->base, err);
    if (st == VD_OK)
        st = vd_alloc_array(p->n_scored, sizeof(double), "the source's answers", &p->base_sum, err);
    if (st == VD_OK)
        st = vd_alloc_array(ctx, sizeof(*p->pos), "positions", &p->pos, err);
    if (st == VD_OK)
        st = vd_alloc_array(ctx, sizeof(*p->seqs), "positions", &p->seqs, err);
    if (st == VD_OK)
        st = vd_kv_create(hp, VD_DTYPE_F32, ctx, &p->kv, err);
    if (st == VD_OK)
        st = vd_kv_seq_init(p->kv, ctx, &p->seq, err);
    if (st == VD_OK && !vd_kv_seq_reserve(p->kv, &p->seq, ctx))
        st = VD_FAIL(err, VD_ERR_NOMEM, "no room for %zu positions", ctx);
    if (st == VD_OK)
        st = vd_forward_create(p->model, p->kv, p->pool, ctx, ctx, &p->forward, err);
    for (size_t i = 0; st == VD_OK && i < ctx; i++) {
        p->pos[i] = (uint32_t)i;
        p->seqs[i] = &p->seq;
    }
    return st;
}

static vd_status check(const vd_probe *p, vd_err *err)
{
    const vd_model *m = p->model;
    if (p->calib.ctx > vd_model_ctx_max(m))
        return VD_FAIL(err, VD_ERR_CONTEXT, "chunks of %zu tokens; the model has positions for %zu",
                       p->calib.ctx, vd_model_ctx_max(m));
    for (size_t i = 0; i < p->calib.n_chunks * p->calib.ctx; i++)
        if (p->calib.token[i] < 0 || (size_t)p->calib.token[i] >= m->hp.n_vocab)
            return VD_FAIL(err, VD_ERR_FORMAT, "the vocabulary has a token %d, the embedding has "
                           "%zu rows", p->calib.token[i], m->hp.n_vocab);
    return VD_OK;
}

vd_status vd_probe_open(const char *path, const vd_probe_options *options, vd_pool *pool,
                        vd_probe **ret_probe, vd_err *err)
{
    vd_probe *p = NULL;
    scoring s = {0};
    double kl;
    vd_status st = vd_alloc_array(1, sizeof(*p), "the probe", &p, err);
    if (st != VD_OK)
        return st;
    p->options = *options;
    p->pool = pool;
    st = vd_model_open(path, VD_PRECISION_EXACT, pool, &p->model, err);
    if (st == VD_OK && p->model->hp.block.encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s is an encoder; a search needs a model that "
                     "writes text", p->model->arch->name);
    if (st == VD_OK)
        st = vd_calib_read(p->model->gguf, &options->calib, &p->calib, err);
    if (st == VD_OK)
        st = check(p, err);
    if (st == VD_OK)
        st = vd_probe_list(p, err);
    if (st == VD_OK)
        st = make_buffers(p, err);
    if (st == VD_OK)
        st = make_scoring(p, &s, err);
    s.is_base = true;
    if (st == VD_OK)
        st = compute_source(p, &s, err);
    if (st == VD_OK)
        st = vd_probe_average(p, err);
    if (st == VD_OK)
        st = finish_scoring(p, &s, &kl, &p->base_nll, err);
    vd_free(s.kl);
    vd_free(s.nll);
    if (st == VD_OK) {
        *ret_probe = p;
        p = NULL;
    }
    vd_probe_free(p);
    return st;
}

void vd_probe_free(vd_probe *p)
{
    if (p == NULL)
        return;
    if (p->model != NULL)
        vd_probe_unlist(p);
    vd_forward_free(p->forward);
    if (p->kv != NULL)
        vd_kv_seq_done(p->kv, &p->seq);
    vd_kv_free(p->kv);
    vd_free(p->seqs);
    vd_free(p->pos);
    vd_free(p->stream);
    vd_free(p->hidden);
    vd_free(p->logits);
    vd_free(p->base);
    vd_free(p->base_sum);
    vd_calib_done(&p->calib);
    vd_model_free(p->model);
    vd_free(p);
}

const vd_gguf *vd_probe_gguf(const vd_probe *p)
{
    return p->model->gguf;
}

const int32_t *vd_probe_tokens(const vd_probe *p, size_t *ret_n)
{
    *ret_n = p->calib.n_chunks * p->calib.ctx;
    return p->calib.token;
}

double vd_probe_ppl(const vd_probe *p)
{
    return exp(p->base_nll);
}

size_t vd_probe_n_scored(const vd_probe *p)
{
    return p->n_scored;
}

vd_status vd_probe_save_squares(const vd_probe *p, const char *path, vd_err *err)
{
    vd_imatrix_text text = {p->options.calib.path, p->calib.n_chunks, p->calib.ctx};
    return vd_imatrix_write(p->imatrix, path, &text, err);
}
