/* completions.c - the body of POST /v1/completions. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "serve/body.h"
#include "serve/endpoints.h"
#include "serve/params.h"
#include "serve/server.h"

enum { PROMPT_BYTES_MAX = 64 << 20, MAX_TOKENS_DEFAULT = 16 };

static const vd_field own_fields[] = {
    {"prompt", VD_FIELD_READ},
    {"best_of", VD_FIELD_READ},
    {"echo", VD_FIELD_READ},
    {"suffix", VD_FIELD_READ},
};

static vd_status add_text(vd_exchange *r, const char *text, size_t n, vd_api_error *error)
{
    vd_err err = {0};
    vd_buf ids;
    vd_buf_init(&ids, PROMPT_BYTES_MAX);
    vd_status st = r->backend->ops->encode(r->backend->self, text, n, &ids, &err);
    if (st != VD_OK)
        st = vd_api_fail_from(error, &err, "prompt");
    else
        st = vd_params_add_prompt(r, &ids, text, n, "prompt", error);
    vd_buf_done(&ids);
    return st;
}

static vd_status add_tokens(vd_exchange *r, json_t *array, vd_api_error *error)
{
    vd_buf ids, text;
    vd_buf_init(&ids, PROMPT_BYTES_MAX);
    vd_buf_init(&text, PROMPT_BYTES_MAX);
    size_t n_vocab = r->backend->ops->info(r->backend->self).n_vocab;
    vd_status st = VD_OK;
    for (size_t i = 0; i < json_array_size(array); i++) {
        int64_t id;
        if (!vd_body_whole(json_array_get(array, i), &id) || id < 0 || (uint64_t)id >= n_vocab) {
            st = VD_BAD_PARAM(error, "prompt", "invalid_value",
                              "The prompt's token %zu is no id of this model: 0 to %zu.", i,
                              n_vocab - 1);
            goto out;
        }
        int32_t token = (int32_t)id;
        vd_buf_append(&ids, &token, sizeof(token));
        if (r->ask.echo) {
            size_t n;
            const char *piece = r->backend->ops->piece(r->backend->self, token, false, &n);
            vd_buf_append(&text, piece, n);
        }
    }
    if (ids.failed != VD_OK || text.failed != VD_OK)
        st = vd_api_fail(error, 503, "out_of_memory", NULL, "No memory for this request now.");
    else
        st = vd_params_add_prompt(r, &ids, vd_buf_text(&text), text.n, "prompt", error);
out:
    vd_buf_done(&ids);
    vd_buf_done(&text);
    return st;
}

static vd_status add_one(vd_exchange *r, json_t *prompt, vd_api_error *error)
{
    if (json_is_string(prompt))
        return add_text(r, json_string_value(prompt), json_string_length(prompt), error);
    if (json_is_array(prompt))
        return add_tokens(r, prompt, error);
    return VD_BAD_PARAM(error, "prompt", "invalid_type",
                        "'prompt' must be a string, an array of strings, an array of token ids or "
                        "an array of such arrays.");
}

/* A string, strings, tokens, arrays of tokens, or strings and arrays of tokens mixed. */
static vd_status read_prompts(vd_exchange *r, json_t *body, vd_api_error *error)
{
    json_t *prompt = vd_body_get(body, "prompt");
    if (prompt == NULL)
        return VD_BAD_PARAM(error, "prompt", "missing_required_parameter", "'prompt' is missing.");
    bool many = json_is_array(prompt) && !json_is_number(json_array_get(prompt, 0));
    size_t n = many ? json_array_size(prompt) : 1, n_choices;
    size_t max = r->server->options.max_choices;
    if (n == 0)
        return VD_BAD_PARAM(error, "prompt", "empty_array", "'prompt' is empty.");
    if (!vd_mul_size(n, r->ask.best_of, &n_choices) || n_choices > max)
        return VD_BAD_PARAM(error, n > max ? "prompt" : "n", "integer_above_max_value",
                            "%zu prompts with %zu answers each are more than the %zu answers "
                            "that one request may ask for.", n, r->ask.best_of, max);
    vd_err err;
    if (vd_alloc_array(n, sizeof(vd_prompt), "prompts", &r->ask.prompts, &err) != VD_OK)
        return vd_api_fail_from(error, &err, NULL);
    for (size_t i = 0; i < n; i++) {
        vd_status st = add_one(r, many ? json_array_get(prompt, i) : prompt, error);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
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
