/* completions.c - the body of POST /v1/completions. */
#include "base/checked.h"
#include "serve/body.h"
#include "serve/endpoints.h"
#include "serve/params.h"
#include "serve/prompts.h"
#include "serve/server.h"

enum { MAX_TOKENS_DEFAULT = 16 };

static const vd_field own_fields[] = {
    {"prompt", VD_FIELD_READ},
    {"best_of", VD_FIELD_READ},
    {"echo", VD_FIELD_READ},
    {"suffix", VD_FIELD_READ},
};

static vd_status read_prompts(vd_exchange *r, json_t *body, vd_api_error *error)
{
    size_t n = 0, n_choices, max = r->server->options.max_choices;
    vd_status st = vd_prompts_count(body, "prompt", &n, error);
    if (st != VD_OK)
        return st;
    if (!vd_mul_size(n, r->ask.best_of, &n_choices) || n_choices > max)
        return VD_BAD_PARAM(error, n > max ? "prompt" : "n", "integer_above_max_value",
                            "%zu prompts with %zu answers each are more than the %zu answers "
                            "that one request may ask for.", n, r->ask.best_of, max);
    return vd_prompts_read(r, body, "prompt", n, error);
}

static vd_status read_best_of(vd_ask *ask, json_t *body, vd_api_error *error)
{
    int64_t best_of = (int64_t)ask->n;
    vd_status st = vd_body_int(body, "best_of", 1, 20, &best_of, error);
    if (st != VD_OK)
        return st;
    if ((size_t)best_of < ask->n)
        return VD_BAD_PARAM(error, "best_of", "invalid_value", "'best_of' must be at least 'n'.");
    if ((size_t)best_of > ask->n && ask->stream)
        return VD_BAD_PARAM(error, "best_of", "invalid_value",
                            "'best_of' above 'n' cannot be streamed.");
    ask->best_of = (size_t)best_of;
    return VD_OK;
}

static vd_status read_own(vd_exchange *r, json_t *body, vd_api_error *error)
{
    vd_ask *ask = &r->ask;
    int64_t max_tokens = MAX_TOKENS_DEFAULT, logprobs = 0;
    vd_status st = vd_body_int(body, "max_tokens", 1, INT32_MAX, &max_tokens, error);
    if (st == VD_OK)
        st = vd_body_int(body, "logprobs", 0, 5, &logprobs, error);
    if (st == VD_OK)
        st = vd_body_bool(body, "echo", &ask->echo, error);
    if (st == VD_OK)
        st = read_best_of(ask, body, error);
    if (st != VD_OK)
        return st;
    ask->max_tokens = (size_t)max_tokens;
    ask->logprobs = vd_body_get(body, "logprobs") != NULL;
    ask->n_top = (size_t)logprobs;
    if (ask->echo && ask->logprobs)
        return VD_BAD_PARAM(error, "logprobs", "unsupported_value",
                            "'logprobs' together with 'echo' is not supported: the log "
                            "probabilities of the prompt are not computed.");
    json_t *suffix = vd_body_get(body, "suffix");
    if (suffix != NULL && !(json_is_string(suffix) && json_string_length(suffix) == 0))
        return VD_BAD_PARAM(error, "suffix", "unsupported_parameter",
                            "'suffix' is not supported by this server.");
    return VD_OK;
}

vd_status vd_completion_read(vd_exchange *r, vd_api_error *error)
{
    json_t *body = NULL;
    r->ask.kind = VD_ASK_COMPLETION;
    vd_status st = vd_body_parse(vd_buf_text(&r->body), r->body.n, &body, error);
    if (st == VD_OK)
        st = vd_params_read(r, body, own_fields, VD_COUNT(own_fields), error);
    if (st == VD_OK)
        st = read_own(r, body, error);
    if (st == VD_OK)
        st = read_prompts(r, body, error);
    json_decref(body);
    return st;
}
