/* answer.c - see answer.h: chunks of a stream, and whole answers. */
#include "serve/answer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "serve/jout.h"
#include "serve/logprobs.h"
#include "serve/record.h"
#include "serve/exchange.h"

enum { TEXT_MAX = 64 << 20 };

void vd_ask_done(vd_ask *ask)
{
    vd_free(ask->bias);
    vd_free(ask->model);
    for (size_t i = 0; i < ask->n_stop; i++)
        vd_free(ask->stop[i]);
    for (size_t i = 0; i < ask->n_prompts; i++) {
        vd_free(ask->prompts[i].ids);
        vd_free(ask->prompts[i].text);
    }
    vd_free(ask->prompts);
    *ask = (vd_ask){0};
}

void vd_choice_text_init(vd_choice_text *text)
{
    *text = (vd_choice_text){0};
    vd_buf_init(&text->text, TEXT_MAX);
    vd_buf_init(&text->entries, TEXT_MAX);
}

void vd_choice_text_done(vd_choice_text *text)
{
    vd_buf_done(&text->text);
    vd_buf_done(&text->entries);
}

static const char *finish_word(vd_finish finish)
{
    return finish == VD_FINISH_LENGTH ? "length" : "stop";
}

/* {"id":...,"system_fingerprint":...,"choices":[ */
static void put_head(vd_exchange *r, const char *object, vd_buf *out)
{
    const vd_ask *ask = &r->ask;
    vd_backend_info info = r->backend->ops->info(r->backend->self);
    vd_buf_printf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", ask->id,
                  object, (long long)ask->created_s);
    vd_jout_string(out, ask->model, strlen(ask->model));
    vd_buf_printf(out, ",\"system_fingerprint\":\"%s\",\"choices\":[", info.fingerprint);
}

static const char *chunk_object(const vd_ask *ask)
{
    return ask->kind == VD_ASK_CHAT ? "chat.completion.chunk" : "text_completion";
}

static size_t shown_index(const vd_ask *ask, const vd_choice *c)
{
    return c->prompt * ask->n + c->slot % ask->best_of;
}

/* The log probabilities of the tokens in `entries` whose text was shown, or null. Those of a token
 * that may be a part of a stop string wait until it turns out to be none. An answer that ends by
 * its length ends with all of its tokens. */
static void put_logprobs(vd_exchange *r, vd_choice *c, vd_finish finish, vd_buf *out)
{
    const vd_ask *ask = &r->ask;
    vd_choice_text *t = &c->text;
    vd_char_count after;
    size_t n_shown = finish == VD_FINISH_LENGTH ? SIZE_MAX : t->n_shown;
    const char *records = vd_buf_text(&t->entries);
    size_t n = vd_logprobs_shown(r->backend, records, t->entries.n, n_shown, &t->before, &after);
    if (n == 0)
        vd_buf_puts(out, "null");
    else if (ask->kind == VD_ASK_CHAT)
        vd_logprobs_chat(r->backend, records, n, ask->n_top, out);
    else
        vd_logprobs_legacy(r->backend, records, n, ask->n_top, &t->before, out);
    vd_buf_drop_front(&t->entries, n);
    t->before = after;
}

/* Notes that this choice's last chunk is written; true when it was the last of all. */
static bool end_choice(vd_exchange *r, vd_choice *c)
{
    size_t n_ended = 0;
    c->text.ended = true;
    for (size_t i = 0; i < r->n_choices; i++)
        n_ended += r->choices[i].text.ended;
    return n_ended == r->n_choices;
}

/* One event of the stream. */
enum chunk { CHUNK_ROLE, CHUNK_TEXT, CHUNK_END };

static void put_chunk(vd_exchange *r, vd_choice *c, enum chunk kind, const char *text, size_t n,
                      vd_finish finish, vd_buf *out)
{
    vd_buf_puts(out, "data: ");
    put_head(r, chunk_object(&r->ask), out);
    vd_buf_printf(out, "{\"index\":%zu,", shown_index(&r->ask, c));
    if (r->ask.kind == VD_ASK_COMPLETION) {
        vd_buf_puts(out, "\"text\":");
        vd_jout_string(out, text, n);
    } else if (kind == CHUNK_END) {
        vd_buf_puts(out, "\"delta\":{}");
    } else {
        vd_buf_puts(out, kind == CHUNK_ROLE ? "\"delta\":{\"role\":\"assistant\",\"content\":"
                                            : "\"delta\":{\"content\":");
        vd_jout_string(out, text, n);
        vd_buf_putc(out, '}');
    }
    vd_buf_puts(out, ",\"logprobs\":");
    if (kind == CHUNK_TEXT)
        put_logprobs(r, c, finish, out);
    else
        vd_buf_puts(out, "null");
    if (kind == CHUNK_END)
        vd_buf_printf(out, ",\"finish_reason\":\"%s\"}]", finish_word(finish));
    else
        vd_buf_puts(out, ",\"finish_reason\":null}]");
    if (r->ask.include_usage) {
        vd_buf_puts(out, ",\"usage\":null");
    } else if (kind == CHUNK_END && end_choice(r, c)) {
        vd_buf_puts(out, ",\"usage\":");
        vd_usage_write(r, out);
    }
    vd_buf_puts(out, "}\n\n");
}

void vd_answer_stream_begin(vd_exchange *r, vd_buf *out)
{
    for (size_t i = 0; i < r->n_choices; i++) {
        vd_choice *c = &r->choices[i];
        const vd_prompt *prompt = &r->ask.prompts[c->prompt];
        if (r->ask.kind == VD_ASK_CHAT) {
            put_chunk(r, c, CHUNK_ROLE, "", 0, VD_FINISH_NONE, out);
        } else if (r->ask.echo && prompt->n_text > 0) {
            put_chunk(r, c, CHUNK_ROLE, prompt->text, prompt->n_text, VD_FINISH_NONE, out);
        }
    }
}

/* Remembers the token of a record and how much text was shown. */
static void keep_entry(vd_exchange *r, vd_choice *c, const vd_record *record)
{
    vd_choice_text *t = &c->text;
    bool ends = record->finish == VD_FINISH_STOP && record->token >= 0 &&
                r->backend->ops->is_end(r->backend->self, record->token);
    if (record->token >= 0 && !ends) {
        t->logprob_sum += record->logprob;
        if (r->ask.logprobs)
            vd_buf_append(&t->entries, record->bytes, record->n_bytes);
    }
    t->n_shown += vd_count_chars(record->text, record->n_text);
}

static void put_stream_error(vd_exchange *r, const vd_choice *c, vd_buf *out)
{
    vd_api_error error;
    if (r->overflow)
        vd_api_fail(&error, 500, "slow_reader", NULL,
                    "The client read too slowly; the answer was cut.");
    else
        vd_choice_judge(c, &error);
    vd_buf_puts(out, "data: ");
    vd_api_error_write(&error, out);
    vd_buf_puts(out, "\n\n");
}

void vd_answer_stream(vd_exchange *r, const vd_buf *events, vd_buf *out)
{
    vd_record record;
    size_t offset = 0;
    while (vd_record_next(events->data, events->n, &offset, &record)) {
        vd_choice *c = &r->choices[record.slot];
        keep_entry(r, c, &record);
        if (record.n_text > 0 || (record.finish == VD_FINISH_LENGTH && c->text.entries.n > 0))
            put_chunk(r, c, CHUNK_TEXT, record.text, record.n_text, record.finish, out);
        if (record.finish == VD_FINISH_STOP || record.finish == VD_FINISH_LENGTH)
            put_chunk(r, c, CHUNK_END, "", 0, record.finish, out);
        else if (record.finish != VD_FINISH_NONE)
            put_stream_error(r, c, out);
    }
}

void vd_answer_stream_end(vd_exchange *r, vd_buf *out)
{
    if (r->overflow)
        put_stream_error(r, &r->choices[0], out);
    if (!r->ask.include_usage)
        vd_usage_comment(r, out);
    if (r->ask.include_usage) {
        vd_buf_puts(out, "data: ");
        put_head(r, chunk_object(&r->ask), out);
        vd_buf_puts(out, "],\"usage\":");
        vd_usage_write(r, out);
        vd_buf_puts(out, "}\n\n");
    }
    vd_buf_puts(out, "data: [DONE]\n\n");
}

static void put_whole_choice(vd_exchange *r, vd_choice *c, size_t index, vd_buf *out)
{
    const vd_ask *ask = &r->ask;
    const vd_prompt *prompt = &ask->prompts[c->prompt];
    vd_choice_text *t = &c->text;
    vd_buf_printf(out, "{\"index\":%zu,", index);
    if (ask->kind == VD_ASK_CHAT) {
        vd_buf_puts(out, "\"message\":{\"role\":\"assistant\",\"content\":");
        vd_jout_string(out, vd_buf_text(&t->text), t->text.n);
        vd_buf_puts(out, ",\"refusal\":null}");
    } else {
        vd_buf all;
        vd_buf_init(&all, TEXT_MAX);
        if (ask->echo)
            vd_buf_append(&all, prompt->text, prompt->n_text);
        vd_buf_append(&all, vd_buf_text(&t->text), t->text.n);
        vd_buf_puts(out, "\"text\":");
        vd_jout_string(out, vd_buf_text(&all), all.n);
        if (all.failed != VD_OK)
            out->failed = all.failed;
        vd_buf_done(&all);
    }
    vd_buf_puts(out, ",\"logprobs\":");
    put_logprobs(r, c, c->finish, out);
    vd_buf_printf(out, ",\"finish_reason\":\"%s\"}", finish_word(c->finish));
}

/* best_of: of a prompt's choices not yet shown, the one with the best mean log probability. */
static vd_choice *best_left(vd_exchange *r, size_t prompt, const bool *shown)
{
    vd_choice *best = NULL;
    double best_score = 0;
    for (size_t k = 0; k < r->ask.best_of; k++) {
        vd_choice *c = &r->choices[prompt * r->ask.best_of + k];
        size_t n = c->usage.completion_tokens;
        double score = c->text.logprob_sum / (double)(n != 0 ? n : 1);
        if (shown[c->slot] || (best != NULL && score <= best_score))
            continue;
        best = c;
        best_score = score;
    }
    return best;
}

static void put_whole_choices(vd_exchange *r, bool *shown, vd_buf *out)
{
    const vd_ask *ask = &r->ask;
    for (size_t i = 0; i < ask->n_prompts * ask->n; i++) {
        vd_choice *c = ask->best_of > ask->n ? best_left(r, i / ask->n, shown) : &r->choices[i];
        shown[c->slot] = true;
        if (i != 0)
            vd_buf_putc(out, ',');
        put_whole_choice(r, c, i, out);
    }
}

void vd_answer_whole(vd_exchange *r, const vd_buf *events, vd_buf *out)
{
    if (r->ask.kind == VD_ASK_EMBEDDING) {
        vd_answer_embeddings(r, events, out);
        return;
    }
    vd_record record;
    size_t offset = 0;
    while (vd_record_next(events->data, events->n, &offset, &record)) {
        vd_choice *c = &r->choices[record.slot];
        keep_entry(r, c, &record);
        vd_buf_append(&c->text.text, record.text, record.n_text);
        if (c->text.text.failed != VD_OK)
            out->failed = c->text.text.failed;
    }
    bool *shown = vd_calloc(r->n_choices, sizeof(bool));
    if (shown == NULL) {
        out->failed = VD_ERR_NOMEM;
        return;
    }
    put_head(r, r->ask.kind == VD_ASK_CHAT ? "chat.completion" : "text_completion", out);
    put_whole_choices(r, shown, out);
    vd_buf_puts(out, "],\"usage\":");
    vd_usage_write(r, out);
    vd_buf_putc(out, '}');
    vd_free(shown);
}
