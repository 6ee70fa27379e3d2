/* scorer.c - see scorer.h. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "engine/kv_type.h"
#include "eval/scorer_internal.h"
#include "text/tokenizer.h"

enum { OUT_BYTES_MAX = 64 << 20 }; /* of logits */

size_t vd_scorer_rows_max(const vd_scorer *s)
{
    size_t row_bytes = s->model->hp.n_vocab * sizeof(float);
    return VD_MAX((size_t)1, VD_MIN((size_t)VD_SCORER_STEP_TOKENS, OUT_BYTES_MAX / row_bytes));
}

static vd_status make_buffers(vd_scorer *s, size_t max_tokens, vd_err *err)
{
    size_t n_vocab = s->model->hp.n_vocab, n_logits;
    s->step = vd_scorer_rows_max(s);
    if (!vd_mul_size(s->step, n_vocab, &n_logits))
        return VD_FAIL(err, VD_ERR_LIMIT, "the vocabulary is too large");
    vd_status st = vd_alloc_array(n_logits, sizeof(float), "logits", &s->logits, err);
    if (st == VD_OK)
        st = vd_alloc_array(s->step, sizeof(*s->pos), "positions", &s->pos, err);
    if (st == VD_OK)
        st = vd_alloc_array(s->step, sizeof(*s->out), "positions", &s->out, err);
    if (st == VD_OK)
        st = vd_alloc_array(s->step, sizeof(*s->seqs), "positions", &s->seqs, err);
    if (st == VD_OK)
        st = vd_kv_create(&s->model->hp, s->kv_dtype, max_tokens, &s->kv, err);
    if (st == VD_OK)
        st = vd_kv_seq_init(s->kv, max_tokens, &s->seq, err);
    if (st == VD_OK)
        st = vd_forward_create(s->model, s->kv, s->pool, s->step, max_tokens, &s->forward,
                               err);
    for (size_t i = 0; st == VD_OK && i < s->step; i++)
        s->seqs[i] = &s->seq;
    return st;
}

vd_status vd_scorer_open(const char *path, const vd_scorer_options *options,
                         vd_scorer **ret_scorer, vd_err *err)
{
    vd_scorer *s = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*s), "the scorer", &s, err);
    if (st != VD_OK)
        return st;
    vd_precision precision = options->exact ? VD_PRECISION_EXACT
                                            : vd_kernels_default_precision(vd_kernels_get());
    st = vd_pool_create(options->n_threads, &s->pool, err);
    if (st == VD_OK)
        st = vd_model_open(path, precision, s->pool, &s->model, err);
    if (st == VD_OK)
        st = vd_tokenizer_create(s->model->gguf, &s->tokenizer, err);
    if (st == VD_OK && s->model->hp.block.encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED,
                     "%s: %s is an encoder: it makes embeddings, no logits", path,
                     s->model->arch->name);
    if (st == VD_OK && options->max_tokens > vd_model_ctx_max(s->model))
        st = VD_FAIL(err, VD_ERR_CONTEXT, "%s: %zu tokens at once; the model has positions for %zu",
                     path, options->max_tokens, vd_model_ctx_max(s->model));
    s->kv_dtype = vd_kv_type_dtype(options->kv_type);
    if (st == VD_OK && options->max_tokens > 0)
        st = make_buffers(s, options->max_tokens, err);
    if (st == VD_OK) {
        *ret_scorer = s;
        s = NULL;
    }
    vd_scorer_free(s);
    return st;
}

void vd_scorer_free(vd_scorer *s)
{
    if (s == NULL)
        return;
    vd_forward_free(s->forward);
    if (s->kv != NULL)
        vd_kv_seq_done(s->kv, &s->seq);
    vd_kv_free(s->kv);
    vd_free(s->logits);
    vd_free(s->pos);
    vd_free(s->out);
    vd_free(s->seqs);
    vd_tokenizer_free(s->tokenizer);
    vd_model_free(s->model);
    vd_pool_free(s->pool);
    vd_free(s);
}

bool vd_scorer_is_file(const vd_scorer *s, const char *path)
{
    return vd_gguf_is_file(s->model->gguf, path);
}

const vd_tokenizer *vd_scorer_tokenizer(const vd_scorer *s)
{
    return s->tokenizer;
}

size_t vd_scorer_n_vocab(const vd_scorer *s)
{
    return s->model->hp.n_vocab;
}

size_t vd_scorer_ctx_train(const vd_scorer *s)
{
    return s->model->hp.ctx_train;
}

vd_status vd_scorer_check_tokens(const vd_scorer *s, const int32_t *tokens, size_t n, vd_err *err)
{
    size_t n_vocab = s->model->hp.n_vocab;
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (size_t)tokens[i] >= n_vocab)
            return VD_FAIL(err, VD_ERR_ARG, "token %zu is %d, the vocabulary has %zu", i,
                           tokens[i], n_vocab);
    return VD_OK;
}

vd_status vd_scorer_run(vd_scorer *s, const int32_t *tokens, size_t n, size_t first,
                        vd_scorer_fn on_row, void *ctx, vd_err *err)
{
    size_t n_vocab = s->model->hp.n_vocab;
    vd_status st = vd_scorer_check_tokens(s, tokens, n, err);
    if (st != VD_OK)
        return st;
    if (s->kv != NULL)
        vd_kv_seq_reset(s->kv, &s->seq);
    if (s->kv == NULL || !vd_kv_seq_reserve(s->kv, &s->seq, n))
        return VD_FAIL(err, VD_ERR_CONTEXT, "a chunk of %zu tokens is longer than was opened for",
                       n);
    for (size_t begin = 0; st == VD_OK && begin < n; begin += s->step) {
        vd_batch batch = {.n_tokens = VD_MIN(s->step, n - begin), .token = tokens + begin,
                          .pos = s->pos, .seq = s->seqs, .out = s->out, .logits = s->logits};
        for (size_t i = 0; i < batch.n_tokens; i++) {
            s->pos[i] = (uint32_t)(begin + i);
            if (begin + i >= first)
                s->out[batch.n_out++] = (uint32_t)i;
        }
        vd_forward_run(s->forward, &batch);
        for (size_t i = 0; st == VD_OK && i < batch.n_out; i++)
            st = on_row(ctx, begin + s->out[i], s->logits + i * n_vocab, err);
    }
    return st;
}
