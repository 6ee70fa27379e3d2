/* request.c - see request.h. */
#include "engine/request.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/utf8.h"

static vd_status check(const vd_request_options *o, size_t n_vocab, size_t n_ctx, vd_err *err)
{
    if (o->n_prompt == 0)
        return VD_FAIL(err, VD_ERR_ARG, "the prompt has no tokens");
    if (o->embed && o->n_prompt > n_ctx)
        return VD_FAIL(err, VD_ERR_CONTEXT, "the text has %zu tokens, the model takes at most %zu",
                       o->n_prompt, n_ctx);
    if (!o->embed && o->n_prompt >= n_ctx)
        return VD_FAIL(err, VD_ERR_CONTEXT,
                       "the prompt has %zu tokens, the context holds %zu and an answer needs room",
                       o->n_prompt, n_ctx);
    for (size_t i = 0; i < o->n_prompt; i++)
        if (o->prompt[i] < 0 || (size_t)o->prompt[i] >= n_vocab)
            return VD_FAIL(err, VD_ERR_ARG, "prompt token %zu is %d, the vocabulary has %zu", i,
                           o->prompt[i], n_vocab);
    if (o->embed)
        return VD_OK;
    if (o->n_stop > VD_REQUEST_STOPS_MAX)
        return VD_FAIL(err, VD_ERR_ARG, "%zu stop strings, at most %d are possible", o->n_stop,
                       VD_REQUEST_STOPS_MAX);
    for (size_t i = 0; i < o->n_stop; i++) {
        size_t n = strlen(o->stop[i]);
        if (n == 0 || n > VD_TEXT_STOP_BYTES_MAX || !vd_utf8_valid(o->stop[i], n))
            return VD_FAIL(err, VD_ERR_ARG,
                           "stop string %zu has %zu bytes, expected 1 to %d of valid UTF-8", i, n,
                           VD_TEXT_STOP_BYTES_MAX);
    }
    if (o->n_top > VD_REQUEST_TOP_MAX)
        return VD_FAIL(err, VD_ERR_ARG, "%zu top logprobs, at most %d are possible", o->n_top,
                       VD_REQUEST_TOP_MAX);
    return vd_sampling_check(&o->sampling, n_vocab, err);
}

static vd_status copy_stops(vd_request *r, vd_err *err)
{
    vd_status st =
        vd_alloc_array(r->options.n_stop, sizeof(char *), "stop strings", &r->stop, err);
    for (size_t i = 0; st == VD_OK && i < r->options.n_stop; i++) {
        r->stop[i] = vd_strdup(r->options.stop[i]);
        if (r->stop[i] == NULL)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a stop string");
    }
    r->options.stop = (const char *const *)r->stop;
    return st;
}

static vd_status copy_bias(vd_request *r, vd_err *err)
{
    vd_sampling *s = &r->options.sampling;
    vd_status st = vd_alloc_array(s->n_bias, sizeof(*r->bias), "logit biases", &r->bias, err);
    if (st != VD_OK)
        return st;
    if (s->n_bias > 0)
        memcpy(r->bias, s->bias, s->n_bias * sizeof(*r->bias));
    s->bias = r->bias;
    return VD_OK;
}

static vd_status make_counts(vd_request *r, size_t n_vocab, vd_err *err)
{
    const vd_sampling *s = &r->options.sampling;
    vd_status st = VD_OK;
    if (s->frequency_penalty != 0 || s->presence_penalty != 0)
        st = vd_alloc_array(n_vocab, sizeof(uint16_t), "token counts", &r->counts.in_answer, err);
    if (st == VD_OK && s->repetition_penalty != 1)
        st = vd_alloc_array(n_vocab, sizeof(uint8_t), "token marks", &r->counts.seen, err);
    for (size_t i = 0; st == VD_OK && r->counts.seen != NULL && i < r->n_prompt; i++)
        r->counts.seen[r->token[i]] = 1;
    return st;
}

vd_status vd_request_create(const vd_request_options *options, size_t n_vocab, size_t n_ctx,
                            vd_request **ret_request, vd_err *err)
{
    vd_status st = check(options, n_vocab, n_ctx, err);
    if (st != VD_OK)
        return st;
    vd_request *r = NULL;
    st = vd_alloc_array(1, sizeof(*r), "a request", &r, err);
    if (st != VD_OK)
        return st;
    r->options = *options;
    if (options->embed)
        r->options = (vd_request_options){.prompt = options->prompt,
                                          .n_prompt = options->n_prompt,
                                          .cache_salt = options->cache_salt,
                                          .embed = true,
                                          .pooling = options->pooling,
                                          .no_normalize = options->no_normalize,
                                          .on_event = options->on_event,
                                          .ctx = options->ctx};
    r->n_prompt = r->n_tokens = options->n_prompt;
    r->hits = vd_lookup_hits_default();
    r->n_limit = options->embed ? r->n_prompt : n_ctx;
    size_t limit;
    if (!options->embed && options->max_tokens != 0 &&
        vd_add_size(r->n_prompt, options->max_tokens, &limit))
        r->n_limit = VD_MIN(limit, n_ctx);
    st = vd_alloc_array(r->n_prompt, sizeof(int32_t), "a prompt", &r->token, err);
    if (st != VD_OK)
        goto out;
    memcpy(r->token, options->prompt, r->n_prompt * sizeof(int32_t));
    r->options.prompt = NULL; /* the caller's, not ours to read later */
    st = copy_stops(r, err);
    if (st == VD_OK)
        st = copy_bias(r, err);
    if (st != VD_OK)
        goto out;
    r->submitted_ns = vd_now_ns();
    *ret_request = r;
    r = NULL;
out:
    vd_request_free(r, NULL);
    return st;
}

static vd_status make_embedding(vd_request *r, size_t n_embd, vd_err *err)
{
    vd_embedding *x = &r->embedding;
    size_t n_rows = r->options.pooling == VD_POOLING_NONE ? r->n_prompt : 1, n;
    if (!vd_mul_size(n_rows, n_embd, &n))
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu embeddings", n_rows);
    x->n = n_embd;
    vd_status st = vd_alloc_array(n, sizeof(float), "an embedding", &x->vector, err);
    if (st == VD_OK && r->options.pooling == VD_POOLING_MEAN)
        st = vd_alloc_array(n_embd, sizeof(double), "an embedding", &x->sum, err);
    return st;
}

vd_status vd_request_start(vd_request *r, const vd_tokenizer *tokenizer, size_t n_vocab,
                           size_t n_embd, vd_kv *kv, vd_drafter *drafter, vd_err *err)
{
    int32_t *token = vd_realloc(r->token, r->n_limit * sizeof(int32_t));
    if (token == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu tokens", r->n_limit);
    r->token = token;
    vd_status st = vd_kv_seq_init(kv, r->n_limit, &r->kv, err);
    if (st == VD_OK && r->options.embed)
        st = make_embedding(r, n_embd, err);
    else if (st == VD_OK)
        st = make_counts(r, n_vocab, err);
    if (st == VD_OK && !r->options.embed && drafter != NULL)
        st = vd_drafter_seq_init(drafter, r->n_limit, &r->drafter, err);
    if (st == VD_OK && !r->options.embed)
        st = vd_text_stream_init(&r->text, tokenizer, r->options.stop, r->options.n_stop, err);
    if (st == VD_OK) {
        r->started_ns = vd_now_ns();
        r->started = true;
    }
    return st;
}

void vd_request_rewind(vd_request *request)
{
    vd_embedding *x = &request->embedding;
    request->n_computed = request->n_draft = 0;
    request->lookup = (vd_lookup){0};
    vd_drafter_seq_reset(&request->drafter);
    x->n_rows = 0;
    if (x->sum != NULL)
        memset(x->sum, 0, x->n * sizeof(double));
}

void vd_request_free(vd_request *request, vd_kv *kv)
{
    if (request == NULL)
        return;
    vd_drafter_seq_done(&request->drafter);
    vd_kv_seq_done(kv, &request->kv); /* kv may be NULL while the request holds no table */
    if (request->started && !request->options.embed)
        vd_text_stream_done(&request->text);
    vd_free(request->embedding.vector);
    vd_free(request->embedding.sum);
    for (size_t i = 0; request->stop != NULL && i < request->options.n_stop; i++)
        vd_free(request->stop[i]);
    vd_free(request->stop);
    vd_free(request->bias);
    vd_free(request->counts.in_answer);
    vd_free(request->counts.seen);
    vd_free(request->token);
    vd_free(request);
}

void vd_request_append(vd_request *request, int32_t token)
{
    request->token[request->n_tokens++] = token;
    if (request->counts.in_answer != NULL && request->counts.in_answer[token] < UINT16_MAX)
        request->counts.in_answer[token]++;
    if (request->counts.seen != NULL)
        request->counts.seen[token] = 1;
}
