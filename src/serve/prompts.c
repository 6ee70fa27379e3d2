/* prompts.c - see prompts.h. */
#include "serve/prompts.h"

#include "base/alloc.h"
#include "serve/body.h"
#include "serve/params.h"

enum { PROMPT_BYTES_MAX = 64 << 20 };

static vd_status add_text(vd_exchange *r, const char *field, const char *text, size_t n,
                          vd_api_error *error)
{
    vd_err err = {0};
    vd_buf ids;
    if (n == 0 && r->ask.kind == VD_ASK_EMBEDDING)
        return VD_BAD_PARAM(error, field, "invalid_value", "Input %zu is an empty string.",
                            r->ask.n_prompts);
    vd_buf_init(&ids, PROMPT_BYTES_MAX);
    vd_status st = r->backend->ops->encode(r->backend->self, text, n, &ids, &err);
    if (st != VD_OK)
        st = vd_api_fail_from(error, &err, field);
    else
        st = vd_params_add_prompt(r, &ids, text, n, field, error);
    vd_buf_done(&ids);
    return st;
}

static vd_status add_tokens(vd_exchange *r, const char *field, json_t *array, vd_api_error *error)
{
    vd_buf ids, text;
    vd_buf_init(&ids, PROMPT_BYTES_MAX);
    vd_buf_init(&text, PROMPT_BYTES_MAX);
    size_t n_vocab = r->backend->ops->info(r->backend->self).n_vocab;
    vd_status st = VD_OK;
    for (size_t i = 0; i < json_array_size(array); i++) {
        int64_t id;
        if (!vd_body_whole(json_array_get(array, i), &id) || id < 0 || (uint64_t)id >= n_vocab) {
            st = VD_BAD_PARAM(error, field, "invalid_value",
                              "The %s's token %zu is no id of this model: 0 to %zu.", field, i,
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
        st = vd_params_add_prompt(r, &ids, vd_buf_text(&text), text.n, field, error);
out:
    vd_buf_done(&ids);
    vd_buf_done(&text);
    return st;
}

static vd_status add_one(vd_exchange *r, const char *field, json_t *prompt, vd_api_error *error)
{
    if (json_is_string(prompt))
        return add_text(r, field, json_string_value(prompt), json_string_length(prompt), error);
    if (json_is_array(prompt))
        return add_tokens(r, field, prompt, error);
    return VD_BAD_PARAM(error, field, "invalid_type",
                        "'%s' must be a string, an array of strings, an array of token ids or "
                        "an array of such arrays.", field);
}

/* A list of texts, not of the token ids of one. */
static bool is_many(json_t *value)
{
    return json_is_array(value) && !json_is_number(json_array_get(value, 0));
}

vd_status vd_prompts_count(json_t *body, const char *field, size_t *ret_n, vd_api_error *error)
{
    json_t *value = vd_body_get(body, field);
    if (value == NULL)
        return VD_BAD_PARAM(error, field, "missing_required_parameter", "'%s' is missing.", field);
    size_t n = is_many(value) ? json_array_size(value) : 1;
    if (n == 0)
        return VD_BAD_PARAM(error, field, "empty_array", "'%s' is empty.", field);
    *ret_n = n;
    return VD_OK;
}

vd_status vd_prompts_read(vd_exchange *r, json_t *body, const char *field, size_t n,
                          vd_api_error *error)
{
    json_t *value = vd_body_get(body, field);
    bool many = is_many(value);
    vd_err err;
    if (vd_alloc_array(n, sizeof(vd_prompt), "prompts", &r->ask.prompts, &err) != VD_OK)
        return vd_api_fail_from(error, &err, NULL);
    for (size_t i = 0; i < n; i++) {
        vd_status st = add_one(r, field, many ? json_array_get(value, i) : value, error);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}
