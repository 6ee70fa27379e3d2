/* chat.c - the body of POST /v1/chat/completions. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "serve/body.h"
#include "serve/endpoints.h"
#include "serve/params.h"
#include "serve/server.h"

enum { PROMPT_BYTES_MAX = 64 << 20 };

static const vd_field own_fields[] = {
    {"messages", VD_FIELD_READ},
    {"max_completion_tokens", VD_FIELD_READ},
    {"top_logprobs", VD_FIELD_READ},
    {"response_format", VD_FIELD_READ},
    {"modalities", VD_FIELD_READ},
    {"tools", VD_FIELD_READ},
    {"tool_choice", VD_FIELD_READ},
    {"functions", VD_FIELD_READ},
    {"function_call", VD_FIELD_READ},
    {"audio", VD_FIELD_REFUSED},
    {"web_search_options", VD_FIELD_REFUSED},
};

static const char *const roles[] = {"system", "developer", "user", "assistant"};

/* Text of a message: a string, or an array of text parts joined by newlines. *ret_text is owned. */
static vd_status read_content(vd_exchange *r, json_t *content, const char *where, char **ret_text,
                              size_t *ret_n, vd_api_error *error)
{
    static const char *const read[] = {"type", "text"};
    vd_buf text;
    vd_buf_init(&text, PROMPT_BYTES_MAX);
    vd_status st = VD_OK;
    char param[96];
    snprintf(param, sizeof(param), "%s.content", where);
    if (json_is_string(content)) {
        vd_buf_append(&text, json_string_value(content), json_string_length(content));
    } else if (!json_is_array(content)) {
        st = VD_BAD_PARAM(error, param, "invalid_type",
                          "A message's content must be a string or an array of text parts.");
        goto out;
    }
    for (size_t i = 0; i < json_array_size(content); i++) {
        json_t *part = json_array_get(content, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        json_t *words = json_object_get(part, "text");
        snprintf(param, sizeof(param), "%s.content[%zu]", where, i);
        if (type == NULL || (strcmp(type, "text") == 0 && !json_is_string(words))) {
            st = VD_BAD_PARAM(error, param, "invalid_type",
                              "A content part must be {\"type\":\"text\",\"text\":\"...\"}.");
            goto out;
        }
        if (strcmp(type, "text") != 0) {
            st = VD_BAD_PARAM(error, param, "unsupported_value",
                              "Content of type '%.40s' is not supported: the models served here "
                              "read text.", type);
            goto out;
        }
        vd_params_ignore_rest(r, "messages.content.", part, read, VD_COUNT(read));
        if (i != 0)
            vd_buf_putc(&text, '\n');
        vd_buf_append(&text, json_string_value(words), json_string_length(words));
    }
    vd_buf_reserve(&text, 1);
    *ret_n = text.n;
    *ret_text = vd_buf_take(&text);
    if (*ret_text == NULL)
        st = vd_api_fail(error, 503, "out_of_memory", NULL, "No memory for this request now.");
out:
    vd_buf_done(&text);
    return st;
}

/* What the template may see of a message: role and content, no more. */
static vd_status read_message(vd_exchange *r, json_t *message, size_t index, json_t *clean,
                              vd_api_error *error)
{
    static const char *const read[] = {"role", "content"};
    char where[64], param[96];
    snprintf(where, sizeof(where), "messages[%zu]", index);
    if (!json_is_object(message))
        return VD_BAD_PARAM(error, where, "invalid_type", "A message must be an object, not %s.",
                            vd_body_kind(message));
    const char *role = json_string_value(json_object_get(message, "role"));
    bool known = false;
    for (size_t i = 0; role != NULL && i < VD_COUNT(roles); i++)
        known |= strcmp(role, roles[i]) == 0;
    snprintf(param, sizeof(param), "%s.role", where);
    if (role == NULL)
        return VD_BAD_PARAM(error, param, "invalid_type", "A message needs a role, a string.");
    if (!known)
        return VD_BAD_PARAM(error, param, "unsupported_value",
                            "The role '%.40s' is not supported; system, developer, user and "
                            "assistant are.", role);
    static const char *const refused[] = {"tool_calls", "function_call", "audio"};
    for (size_t i = 0; i < VD_COUNT(refused); i++) {
        snprintf(param, sizeof(param), "%s.%s", where, refused[i]);
        if (vd_body_get(message, refused[i]) != NULL)
            return VD_BAD_PARAM(error, param, "unsupported_parameter",
                                "'%s' in a message is not supported.", refused[i]);
    }
    json_t *content = vd_body_get(message, "content");
    snprintf(param, sizeof(param), "%s.content", where);
    if (content == NULL)
        return VD_BAD_PARAM(error, param, "missing_required_parameter",
                            "A message needs content.");
    char *text = NULL;
    size_t n = 0;
    vd_params_ignore_rest(r, "messages.", message, read, VD_COUNT(read));
    vd_status st = read_content(r, content, where, &text, &n, error);
    if (st != VD_OK)
        return st;
    /* A template written before 2024 knows no "developer"; to it that is the system. */
    const char *shown = strcmp(role, "developer") == 0 ? "system" : role;
    json_t *one = json_pack("{s:s, s:s%}", "role", shown, "content", text, n);
    vd_free(text);
    if (one == NULL || json_array_append_new(clean, one) != 0)
        return vd_api_fail(error, 503, "out_of_memory", NULL, "No memory for this request now.");
    return VD_OK;
}

static vd_status read_messages(vd_exchange *r, json_t *body, json_t *clean, vd_api_error *error)
{
    json_t *messages = vd_body_get(body, "messages");
    if (messages == NULL)
        return VD_BAD_PARAM(error, "messages", "missing_required_parameter",
                            "'messages' is missing.");
    if (!json_is_array(messages))
        return VD_BAD_PARAM(error, "messages", "invalid_type",
                            "'messages' must be an array, not %s.", vd_body_kind(messages));
    if (json_array_size(messages) == 0)
        return VD_BAD_PARAM(error, "messages", "empty_array", "'messages' is empty.");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        vd_status st = read_message(r, json_array_get(messages, i), i, clean, error);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

/* Fields whose harmless values are taken and whose others would change the answer. */
static vd_status refuse_special(json_t *body, vd_api_error *error)
{
    static const char *const lists[] = {"tools", "functions"};
    for (size_t i = 0; i < VD_COUNT(lists); i++) {
        json_t *list = vd_body_get(body, lists[i]);
        if (list != NULL && !(json_is_array(list) && json_array_size(list) == 0))
            return VD_BAD_PARAM(error, lists[i], "unsupported_parameter",
                                "Tools are not supported by this server.");
    }
    static const char *const choices[] = {"tool_choice", "function_call"};
    for (size_t i = 0; i < VD_COUNT(choices); i++) {
        json_t *choice = vd_body_get(body, choices[i]);
        const char *word = json_string_value(choice);
        if (choice != NULL &&
            (word == NULL || (strcmp(word, "none") != 0 && strcmp(word, "auto") != 0)))
            return VD_BAD_PARAM(error, choices[i], "unsupported_parameter",
                                "Tools are not supported by this server.");
    }
    json_t *format = vd_body_get(body, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (format != NULL && type == NULL)
        return VD_BAD_PARAM(error, "response_format", "invalid_type",
                            "'response_format' must be an object with a type.");
    if (type != NULL && strcmp(type, "text") != 0)
        return VD_BAD_PARAM(error, "response_format", "unsupported_value",
                            "'response_format' of type '%.40s' is not supported; only 'text' is. "
                            "An answer that looks constrained and is not would mislead.", type);
    json_t *modalities = vd_body_get(body, "modalities");
    if (modalities != NULL &&
        (json_array_size(modalities) != 1 ||
         json_string_value(json_array_get(modalities, 0)) == NULL ||
         strcmp(json_string_value(json_array_get(modalities, 0)), "text") != 0))
        return VD_BAD_PARAM(error, "modalities", "unsupported_value",
                            "Only the modality [\"text\"] is supported.");
    return VD_OK;
}

static vd_status read_limits(vd_ask *ask, json_t *body, vd_api_error *error)
{
    int64_t max_tokens = 0, n_top = 0;
    vd_status st = vd_body_int(body, "max_tokens", 1, INT32_MAX, &max_tokens, error);
    if (st == VD_OK)
        st = vd_body_int(body, "max_completion_tokens", 1, INT32_MAX, &max_tokens, error);
    if (st == VD_OK)
        st = vd_body_bool(body, "logprobs", &ask->logprobs, error);
    if (st == VD_OK)
        st = vd_body_int(body, "top_logprobs", 0, 20, &n_top, error);
    if (st != VD_OK)
        return st;
    if (n_top > 0 && !ask->logprobs)
        return VD_BAD_PARAM(error, "top_logprobs", "invalid_value",
                            "'top_logprobs' is only taken with 'logprobs': true.");
    ask->max_tokens = (size_t)max_tokens;
    ask->n_top = (size_t)n_top;
    return VD_OK;
}

static vd_status make_prompt(vd_exchange *r, json_t *messages, vd_api_error *error)
{
    const vd_backend *b = r->backend;
    vd_err err = {0};
    vd_buf ids;
    vd_buf_init(&ids, PROMPT_BYTES_MAX);
    vd_status st = vd_alloc_array(1, sizeof(vd_prompt), "a prompt", &r->ask.prompts, &err);
    if (st == VD_OK)
        st = b->ops->encode_chat(b->self, messages, &ids, &err);
    if (st != VD_OK)
        st = vd_api_fail_from(error, &err, "messages");
    else
        st = vd_params_add_prompt(r, &ids, NULL, 0, "messages", error);
    vd_buf_done(&ids);
    return st;
}

vd_status vd_chat_read(vd_exchange *r, vd_api_error *error)
{
    json_t *body = NULL, *messages = json_array();
    r->ask.kind = VD_ASK_CHAT;
    vd_status st = vd_body_parse(vd_buf_text(&r->body), r->body.n, &body, error);
    if (st == VD_OK && messages == NULL)
        st = vd_api_fail(error, 503, "out_of_memory", NULL, "No memory for this request now.");
    if (st == VD_OK)
        st = vd_params_read(r, body, own_fields, VD_COUNT(own_fields), error);
    if (st == VD_OK)
        st = refuse_special(body, error);
    if (st == VD_OK)
        st = read_limits(&r->ask, body, error);
    if (st == VD_OK)
        st = read_messages(r, body, messages, error);
    if (st == VD_OK && r->ask.n > r->server->options.max_choices)
        st = VD_BAD_PARAM(error, "n", "integer_above_max_value",
                          "'n' must be at most %zu here.", r->server->options.max_choices);
    if (st == VD_OK)
        st = make_prompt(r, messages, error);
    json_decref(messages);
    json_decref(body);
    return st;
}
