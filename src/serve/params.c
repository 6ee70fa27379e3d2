/* params.c - see params.h. Limits are those of OpenAI's API description unless said otherwise. */
#include "serve/params.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "serve/body.h"
#include "serve/server.h"

enum { STOP_BYTES_MAX = 1024 };

static const vd_field common[] = {
    {"model", VD_FIELD_READ},
    {"n", VD_FIELD_READ},
    {"stop", VD_FIELD_READ},
    {"max_tokens", VD_FIELD_READ},
    {"stream", VD_FIELD_READ},
    {"stream_options", VD_FIELD_READ},
    {"seed", VD_FIELD_READ},
    {"logprobs", VD_FIELD_READ},
    {"logit_bias", VD_FIELD_READ},
    {"temperature", VD_FIELD_READ},
    {"top_p", VD_FIELD_READ},
    {"frequency_penalty", VD_FIELD_READ},
    {"presence_penalty", VD_FIELD_READ},
    /* Ours, with the names other servers use. */
    {"top_k", VD_FIELD_READ},
    {"min_p", VD_FIELD_READ},
    {"typical_p", VD_FIELD_READ},
    {"repetition_penalty", VD_FIELD_READ},
    /* Constrained output is not implemented; unconstrained would look like it. */
    {"guided_json", VD_FIELD_REFUSED},
    {"guided_regex", VD_FIELD_REFUSED},
    {"guided_choice", VD_FIELD_REFUSED},
    {"guided_grammar", VD_FIELD_REFUSED},
    {"structured_outputs", VD_FIELD_REFUSED},
    {"grammar", VD_FIELD_REFUSED},
    {"json_schema", VD_FIELD_REFUSED},
};

static const vd_field *find_field(const vd_field *fields, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

/* A name from a stranger goes into a header: letters, digits, "_-." only, and not too long. */
static bool is_header_safe(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n;
}

/* Is this one of the names in "a, b, c"? */
static bool is_listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ',' || at[n] == 0))
            return true;
    return false;
}

void vd_params_ignore(vd_exchange *r, const char *inside, const char *name)
{
    char whole[128];
    size_t used = strlen(r->ignored);
    snprintf(whole, sizeof(whole), "%s%s", inside,
             is_header_safe(name) ? name : "(unprintable)");
    if (!is_listed(r->ignored, whole) && used + strlen(whole) + 3 <= sizeof(r->ignored))
        snprintf(r->ignored + used, sizeof(r->ignored) - used, used != 0 ? ", %s" : "%s", whole);
}

void vd_params_ignore_rest(vd_exchange *r, const char *inside, json_t *object,
                           const char *const *known, size_t n_known)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) {
        bool found = json_is_null(value);
        for (size_t i = 0; i < n_known; i++)
            found |= strcmp(name, known[i]) == 0;
        if (!found)
            vd_params_ignore(r, inside, name);
    }
}

/* Each field is looked for among `own`, then among `more`. */
static vd_status sort_fields(vd_exchange *r, json_t *body, const vd_field *own, size_t n_own,
                             const vd_field *more, size_t n_more, vd_api_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(body, name, value) {
        if (json_is_null(value))
            continue;
        const vd_field *field = find_field(own, n_own, name);
        if (field == NULL)
            field = find_field(more, n_more, name);
        if (field == NULL)
            vd_params_ignore(r, "", name);
        else if (field->use == VD_FIELD_REFUSED)
            return VD_BAD_PARAM(error, name, "unsupported_parameter",
                                "'%s' is not supported by this server, and leaving it out would "
                                "change the answer.", name);
    }
    return VD_OK;
}

vd_status vd_params_sort(vd_exchange *r, json_t *body, const vd_field *fields, size_t n,
                         vd_api_error *error)
{
    return sort_fields(r, body, fields, n, NULL, 0, error);
}

vd_status vd_params_read_model(vd_exchange *r, json_t *body, vd_api_error *error)
{
    json_t *model = vd_body_get(body, "model");
    if (model == NULL)
        return VD_BAD_PARAM(error, "model", "missing_required_parameter", "'model' is missing.");
    if (!json_is_string(model))
        return VD_BAD_PARAM(error, "model", "invalid_type", "'model' must be a string, not %s.",
                            vd_body_kind(model));
    const vd_model_entry *entry = vd_server_model(r->server, json_string_value(model));
    if (entry == NULL)
        return vd_api_fail(error, 404, "model_not_found", "model",
                           "There is no model '%s' here; GET /v1/models lists those there are.",
                           json_string_value(model));
    r->ask.model = vd_strdup(entry->name);
    if (r->ask.model == NULL)
        return vd_api_fail(error, 503, "out_of_memory", NULL, "No memory for this request now.");
    r->backend = &entry->backend;
    r->model = (size_t)(entry - r->server->models);
    return VD_OK;
}

static vd_status read_stop(vd_ask *ask, json_t *body, vd_api_error *error)
{
    json_t *stop = vd_body_get(body, "stop");
    if (stop == NULL)
        return VD_OK;
    if (!json_is_string(stop) && !json_is_array(stop))
        return VD_BAD_PARAM(error, "stop", "invalid_type",
                            "'stop' must be a string or an array of strings, not %s.",
                            vd_body_kind(stop));
    size_t n = json_is_array(stop) ? json_array_size(stop) : 1;
    if (n > VD_STOP_MAX)
        return VD_BAD_PARAM(error, "stop", "array_above_max_length",
                            "'stop' has %zu strings; at most %d are taken.", n, VD_STOP_MAX);
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_is_array(stop) ? json_array_get(stop, i) : stop;
        if (!json_is_string(one))
            return VD_BAD_PARAM(error, "stop", "invalid_type", "'stop' holds %s; only strings "
                                "are taken.", vd_body_kind(one));
        size_t length = json_string_length(one);
        if (length == 0 || length > STOP_BYTES_MAX)
            return VD_BAD_PARAM(error, "stop", "invalid_value",
                                "A stop string has %zu bytes; 1 to %d are taken.", length,
                                STOP_BYTES_MAX);
        ask->stop[i] = vd_strndup(json_string_value(one), length);
        if (ask->stop[i] == NULL)
            return vd_api_fail(error, 503, "out_of_memory", NULL,
                               "No memory for this request now.");
        ask->n_stop = i + 1;
    }
    return VD_OK;
}

/* A token id written as a string of decimal digits. */
static bool parse_id(const char *text, size_t limit, int32_t *ret_id)
{
    size_t id = 0, n = strlen(text);
    if (n == 0 || n > 9)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        id = id * 10 + (size_t)(text[i] - '0');
    }
    *ret_id = (int32_t)id;
    return id < limit;
}

static vd_status read_bias(vd_exchange *r, json_t *body, vd_api_error *error)
{
    json_t *map = vd_body_get(body, "logit_bias");
    if (map == NULL)
        return VD_OK;
    if (!json_is_object(map))
        return VD_BAD_PARAM(error, "logit_bias", "invalid_type",
                            "'logit_bias' must be an object, not %s.", vd_body_kind(map));
    if (json_object_size(map) > VD_BIAS_MAX)
        return VD_BAD_PARAM(error, "logit_bias", "object_above_max_properties",
                            "'logit_bias' has %zu entries; at most %d are taken.",
                            json_object_size(map), VD_BIAS_MAX);
    vd_err err;
    if (vd_alloc_array(json_object_size(map), sizeof(vd_logit_bias), "logit bias", &r->ask.bias,
                       &err) != VD_OK)
        return vd_api_fail_from(error, &err, NULL);
    size_t n_vocab = r->backend->ops->info(r->backend->self).n_vocab;
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value) {
        vd_logit_bias *bias = &r->ask.bias[r->ask.sampling.n_bias];
        double number = json_number_value(value);
        if (!parse_id(name, n_vocab, &bias->token))
            return VD_BAD_PARAM(error, "logit_bias", "invalid_value",
                                "'logit_bias' names token '%.32s'; ids of this model are 0 to %zu.",
                                name, n_vocab - 1);
        if (!json_is_number(value) || !(number >= -100 && number <= 100))
            return VD_BAD_PARAM(error, "logit_bias", "invalid_value",
                                "The bias of token %s must be a number from -100 to 100.", name);
        bias->bias = (float)number;
        r->ask.sampling.n_bias++;
    }
    return VD_OK;
}

static vd_status read_sampling(vd_exchange *r, json_t *body, vd_api_error *error)
{
    vd_sampling *s = &r->ask.sampling;
    *s = vd_sampling_default();
    const struct {
        const char *name;
        double min, max;
        float *value;
    } floats[] = {
        {"temperature", 0, 2, &s->temperature},
        {"top_p", 0, 1, &s->top_p},
        {"min_p", 0, 1, &s->min_p},
        {"typical_p", 0, 1, &s->typical_p},
        {"repetition_penalty", 0.01, 10, &s->repetition_penalty},
        {"frequency_penalty", -2, 2, &s->frequency_penalty},
        {"presence_penalty", -2, 2, &s->presence_penalty},
    };
    for (size_t i = 0; i < VD_COUNT(floats); i++) {
        vd_status st = vd_body_float(body, floats[i].name, floats[i].min, floats[i].max,
                                     floats[i].value, error);
        if (st != VD_OK)
            return st;
    }
    int64_t top_k = s->top_k, seed = 0;
    vd_status st = vd_body_int(body, "top_k", -1, INT32_MAX, &top_k, error);
    if (st != VD_OK)
        return st;
    s->top_k = top_k < 0 ? 0 : (uint32_t)top_k; /* -1 is "off" elsewhere */
    st = vd_body_int(body, "seed", INT64_MIN, INT64_MAX, &seed, error);
    if (st != VD_OK)
        return st;
    r->ask.has_seed = vd_body_get(body, "seed") != NULL;
    s->seed = (uint64_t)seed;
    if (!r->ask.has_seed && getrandom(&s->seed, sizeof(s->seed), 0) != (ssize_t)sizeof(s->seed))
        s->seed = vd_now_ns();
    return read_bias(r, body, error);
}

static vd_status read_stream(vd_exchange *r, json_t *body, vd_api_error *error)
{
    static const char *const known[] = {"include_usage"};
    vd_ask *ask = &r->ask;
    vd_status st = vd_body_bool(body, "stream", &ask->stream, error);
    if (st != VD_OK)
        return st;
    json_t *options = vd_body_get(body, "stream_options");
    if (options == NULL)
        return VD_OK;
    if (!json_is_object(options))
        return VD_BAD_PARAM(error, "stream_options", "invalid_type",
                            "'stream_options' must be an object, not %s.", vd_body_kind(options));
    if (!ask->stream)
        return VD_BAD_PARAM(error, "stream_options", "invalid_value",
                            "'stream_options' is only taken with 'stream': true.");
    vd_params_ignore_rest(r, "stream_options.", options, known, VD_COUNT(known));
    return vd_body_bool(options, "include_usage", &ask->include_usage, error);
}

static void make_id(vd_ask *ask, const char *prefix)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    unsigned char random[24] = {0};
    (void)!getrandom(random, sizeof(random), 0); /* a name, no secret */
    size_t n = (size_t)snprintf(ask->id, sizeof(ask->id), "%s", prefix);
    for (size_t i = 0; i < sizeof(random); i++)
        ask->id[n + i] = letters[random[i] % (sizeof(letters) - 1)];
    ask->id[n + sizeof(random)] = 0;
}

vd_status vd_params_read(vd_exchange *r, json_t *body, const vd_field *own, size_t n_own,
                         vd_api_error *error)
{
    int64_t n = 1;
    vd_status st = vd_params_read_model(r, body, error);
    if (st == VD_OK && r->backend->ops->info(r->backend->self).encoder)
        st = VD_BAD_PARAM(error, "model", "unsupported_value",
                          "The model '%s' is an encoder: it makes embeddings (/v1/embeddings), no "
                          "text.", r->ask.model);
    if (st == VD_OK)
        st = sort_fields(r, body, own, n_own, common, VD_COUNT(common), error);
    if (st == VD_OK)
        st = read_stream(r, body, error);
    if (st == VD_OK)
        st = vd_body_int(body, "n", 1, 128, &n, error);
    if (st == VD_OK)
        st = read_stop(&r->ask, body, error);
    if (st == VD_OK)
        st = read_sampling(r, body, error);
    r->ask.n = r->ask.best_of = (size_t)n;
    r->ask.created_s = (int64_t)(vd_wall_ns() / 1000000000u);
    make_id(&r->ask, r->ask.kind == VD_ASK_CHAT ? "chatcmpl-" : "cmpl-");
    return st;
}

vd_status vd_params_add_prompt(vd_exchange *r, vd_buf *ids, const char *text, size_t n_text,
                               const char *param, vd_api_error *error)
{
    vd_ask *ask = &r->ask;
    vd_prompt *prompt = &ask->prompts[ask->n_prompts];
    size_t n = ids->n / sizeof(int32_t);
    size_t ctx = r->backend->ops->info(r->backend->self).ctx_tokens;
    if (n == 0 && ask->kind == VD_ASK_EMBEDDING)
        return VD_BAD_PARAM(error, param, "invalid_value", "Input %zu has no tokens.",
                            ask->n_prompts);
    if (n == 0)
        return VD_BAD_PARAM(error, param, "invalid_value", "The prompt has no tokens.");
    if (ask->kind == VD_ASK_EMBEDDING && n > ctx)
        return VD_BAD_PARAM(error, param, "context_length_exceeded",
                            "Input %zu has %zu tokens; this model takes at most %zu.",
                            ask->n_prompts, n, ctx);
    if (ask->kind != VD_ASK_EMBEDDING && n >= ctx)
        return VD_BAD_PARAM(error, param, "context_length_exceeded",
                            "The prompt has %zu tokens; this model's context of %zu tokens must "
                            "hold it and at least one token of answer.", n, ctx);
    if (ask->echo) {
        prompt->text = vd_strndup(text, n_text);
        prompt->n_text = n_text;
    }
    prompt->ids = (int32_t *)vd_buf_take(ids);
    prompt->n_ids = n;
    ask->n_prompts++;
    if (prompt->ids == NULL || (ask->echo && prompt->text == NULL))
        return vd_api_fail(error, 503, "out_of_memory", NULL, "No memory for this request now.");
    return VD_OK;
}
