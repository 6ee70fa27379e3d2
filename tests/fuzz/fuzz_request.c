/*
 * fuzz_request.c - libFuzzer target for the bodies of the three POST endpoints.
 *
 *   'c' chat completion, 'e' embeddings, any other byte: text completion | the body
 *
 * A body is refused with a status, words and JSON to say them in, or becomes an ask in which every
 * number is one that the engine takes. The model is the machine of tests/unit/serve/fake.h.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "serve/endpoints.h"
#include "serve/server.h"
#include "unit/serve/fake.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CTX_TOKENS = 256, CHOICES_MAX = 16 };

static vd_server server;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool within(float value, float min, float max)
{
    return isfinite(value) && value >= min && value <= max;
}

static void check_error(const vd_api_error *error)
{
    require(error->http >= 400 && error->http < 600 && error->message[0] != '\0');
    vd_buf out;
    vd_buf_init(&out, 1 << 16);
    vd_api_error_write(error, &out);
    json_t *value = NULL;
    require(vd_json_parse(vd_buf_text(&out), out.n, &value, NULL) == VD_OK);
    const char *words = json_string_value(json_object_get(json_object_get(value, "error"),
                                                          "message"));
    require(words != NULL && strcmp(words, error->message) == 0);
    json_decref(value);
    vd_buf_done(&out);
}

static void check_sampling(const vd_sampling *s)
{
    require(within(s->temperature, 0, 2) && within(s->top_p, 0, 1) && within(s->min_p, 0, 1));
    require(within(s->typical_p, 0, 1) && within(s->frequency_penalty, -2, 2) &&
            within(s->presence_penalty, -2, 2));
    require(isfinite(s->repetition_penalty) && s->repetition_penalty > 0);
}

static void check_ask(const vd_ask *ask, size_t n_vocab)
{
    bool embeds = ask->kind == VD_ASK_EMBEDDING;
    require(ask->model != NULL && strcmp(ask->model, "fake") == 0);
    require(ask->n >= 1 && ask->best_of >= ask->n && ask->n_prompts >= 1);
    require(embeds || (ask->n_prompts * ask->best_of <= CHOICES_MAX && ask->id[0] != '\0'));
    require(!embeds || (ask->n_prompts <= 2048 && ask->n == 1 && ask->best_of == 1));
    require(ask->n_stop <= VD_STOP_MAX && ask->n_top <= 20);
    for (size_t i = 0; i < ask->n_stop; i++)
        require(ask->stop[i] != NULL && ask->stop[i][0] != '\0');
    for (size_t i = 0; i < ask->n_prompts; i++) {
        const vd_prompt *prompt = &ask->prompts[i];
        require(prompt->n_ids > 0 && prompt->n_ids < CTX_TOKENS + (embeds ? 1 : 0));
        for (size_t k = 0; k < prompt->n_ids; k++)
            require(prompt->ids[k] >= 0 && (size_t)prompt->ids[k] < n_vocab);
        require(ask->echo == (prompt->text != NULL));
    }
    if (!embeds)
        check_sampling(&ask->sampling);
    for (size_t i = 0; i < ask->sampling.n_bias; i++)
        require(ask->bias[i].token >= 0 &&
                (size_t)ask->bias[i].token < n_vocab &&
                within(ask->bias[i].bias, -100, 100));
}

/* A server without sockets or threads: what reading a body needs of one. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    vd_json_init();
    const vd_fake_options options = {.ctx_tokens = CTX_TOKENS, .embeds = true};
    vd_backend backend = vd_fake_backend(vd_fake_create(&options));
    server.options.body_bytes_max = 1 << 20;
    server.options.stream_bytes_max = 1 << 16;
    server.options.max_choices = CHOICES_MAX;
    require(vd_server_add_model(&server, "fake", &backend, NULL) == VD_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    vd_exchange *request = vd_exchange_create(&server, NULL);
    vd_api_error error = {0};
    require(request != NULL);
    vd_buf_append(&request->body, data + 1, size - 1);
    vd_status st = data[0] == 'c'   ? vd_chat_read(request, &error)
                   : data[0] == 'e' ? vd_embedding_read(request, &error)
                                    : vd_completion_read(request, &error);
    require((st == VD_OK) == (error.http == 0));
    if (st != VD_OK)
        check_error(&error);
    else
        check_ask(&request->ask, request->backend->ops->info(request->backend->self).n_vocab);
    for (const char *c = request->ignored; *c != '\0'; c++)
        require(*c >= ' ' && *c <= '~'); /* it becomes a header */
    vd_exchange_unref(request);
    return 0;
}
