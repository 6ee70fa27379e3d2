/*
 * embeddings.c - POST /v1/embeddings: the body, and the answer.
 *
 * Each input is a request of the engine, so that it is batched and accounted like any other; a few
 * of them are in the engine at a time (exchange.c), so that 2,048 inputs leave room for others.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/checked.h"
#include "serve/body.h"
#include "serve/endpoints.h"
#include "serve/jout.h"
#include "serve/params.h"
#include "serve/prompts.h"
#include "serve/record.h"

enum { INPUTS_MAX = 2048 }; /* OpenAI's */

static const vd_field own_fields[] = {
    {"model", VD_FIELD_READ},
    {"input", VD_FIELD_READ},
    {"encoding_format", VD_FIELD_READ},
    {"dimensions", VD_FIELD_READ},
};

/* ---- the body --------------------------------------------------------------------------------*/

static vd_status check_model(vd_exchange *r, const vd_backend_info *info, vd_api_error *error)
{
    if (info->pooling == VD_POOLING_RANK)
        return VD_BAD_PARAM(error, "model", "unsupported_value",
                            "The model '%s' scores pairs of texts (its pooling is rank) and makes "
                            "no embeddings.", r->ask.model);
    if (!info->encoder && !info->pooling_known)
        return VD_BAD_PARAM(error, "model", "unsupported_value",
                            "The model '%s' is made for text: its file names no pooling. To serve "
                            "embeddings of it all the same, set `pooling` for it in the "
                            "configuration.", r->ask.model);
    if (info->pooling == VD_POOLING_NONE)
        return VD_BAD_PARAM(error, "model", "unsupported_value",
                            "The pooling of the model '%s' is none: a vector per token. Set "
                            "`pooling` for it in the configuration.", r->ask.model);
    return VD_OK;
}

static vd_status read_format(vd_ask *ask, json_t *body, vd_api_error *error)
{
    json_t *format = vd_body_get(body, "encoding_format");
    if (format == NULL)
        return VD_OK;
    if (!json_is_string(format))
        return VD_BAD_PARAM(error, "encoding_format", "invalid_type",
                            "'encoding_format' must be a string, not %s.", vd_body_kind(format));
    ask->base64 = strcmp(json_string_value(format), "base64") == 0;
    if (!ask->base64 && strcmp(json_string_value(format), "float") != 0)
        return VD_BAD_PARAM(error, "encoding_format", "invalid_value",
                            "'encoding_format' must be 'float' or 'base64', not '%.40s'.",
                            json_string_value(format));
    return VD_OK;
}

/* A shorter vector means something only where a model was trained for it (Matryoshka, Kusupati et
 * al. 2022), and no metadata say so. */
static vd_status read_dimensions(const vd_backend_info *info, json_t *body, vd_api_error *error)
{
    int64_t n = (int64_t)info->n_embd;
    vd_status st = vd_body_int(body, "dimensions", 1, INT32_MAX, &n, error);
    if (st == VD_OK && n != (int64_t)info->n_embd)
        st = VD_BAD_PARAM(error, "dimensions", "unsupported_value",
                          "This model's vectors have %zu dimensions and cannot be shortened.",
                          info->n_embd);
    return st;
}

static vd_status read_own(vd_exchange *r, json_t *body, vd_api_error *error)
{
    vd_backend_info info = r->backend->ops->info(r->backend->self);
    size_t n = 0;
    vd_status st = check_model(r, &info, error);
    if (st == VD_OK)
        st = read_format(&r->ask, body, error);
    if (st == VD_OK)
        st = read_dimensions(&info, body, error);
    if (st == VD_OK)
        st = vd_prompts_count(body, "input", &n, error);
    if (st == VD_OK && n > INPUTS_MAX)
        st = VD_BAD_PARAM(error, "input", "array_above_max_length",
                          "'input' holds %zu texts; one request may have %d.", n, INPUTS_MAX);
    return st == VD_OK ? vd_prompts_read(r, body, "input", n, error) : st;
}

vd_status vd_embedding_read(vd_exchange *r, vd_api_error *error)
{
    json_t *body = NULL;
    r->ask.kind = VD_ASK_EMBEDDING;
    r->ask.n = r->ask.best_of = 1;
    vd_status st = vd_body_parse(vd_buf_text(&r->body), r->body.n, &body, error);
    if (st == VD_OK)
        st = vd_params_read_model(r, body, error);
    if (st == VD_OK)
        st = vd_params_sort(r, body, own_fields, VD_COUNT(own_fields), error);
    if (st == VD_OK)
        st = read_own(r, body, error);
    json_decref(body);
    return st;
}

/* ---- the answer ------------------------------------------------------------------------------*/

static void put_vector(const vd_ask *ask, const char *floats, size_t n_bytes, vd_buf *out)
{
    if (ask->base64) {
        _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the API has little-endian ones");
        vd_buf_putc(out, '"');
        vd_base64_append(out, floats, n_bytes);
        vd_buf_putc(out, '"');
        return;
    }
    vd_buf_putc(out, '[');
    for (size_t i = 0; i < n_bytes / sizeof(float); i++) {
        float value;
        memcpy(&value, floats + i * sizeof(float), sizeof(value)); /* a record is not aligned */
        if (i != 0)
            vd_buf_putc(out, ',');
        vd_jout_number(out, (double)value, 9); /* nine digits read back as the same float */
    }
    vd_buf_putc(out, ']');
}

/* The vectors come in the order in which they were done; records[i] is that of input i. */
static bool find_records(const vd_exchange *r, const vd_buf *events, vd_record *records)
{
    vd_record record;
    size_t offset = 0, n = 0;
    while (vd_record_next(events->data, events->n, &offset, &record)) {
        n += records[record.slot].text == NULL && record.n_text > 0;
        records[record.slot] = record;
    }
    return n == r->n_choices;
}

void vd_answer_embeddings(vd_exchange *r, const vd_buf *events, vd_buf *out)
{
    vd_record *records = vd_calloc(r->n_choices, sizeof(*records));
    if (records == NULL || !find_records(r, events, records)) {
        out->failed = VD_ERR_NOMEM;
        goto out;
    }
    vd_buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < r->n_choices; i++) {
        vd_buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":",
                      i != 0 ? "," : "", i);
        put_vector(&r->ask, records[i].text, records[i].n_text, out);
        vd_buf_putc(out, '}');
    }
    vd_buf_puts(out, "],\"model\":");
    vd_jout_string(out, r->ask.model, strlen(r->ask.model));
    vd_buf_puts(out, ",\"usage\":");
    vd_usage_write(r, out);
    vd_buf_putc(out, '}');
out:
    vd_free(records);
}
