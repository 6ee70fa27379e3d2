/*
 * answer.h - from the events of the engine to the JSON of an answer.
 *
 * The compute thread only packs each event into a few bytes (record.h). The thread that serves the
 * connection unpacks them and writes JSON, so that decoding never waits for it.
 */
#ifndef VD_SERVE_ANSWER_H
#define VD_SERVE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/engine.h>

#include "base/buf.h"
#include "serve/backend.h"
#include "serve/logprobs.h"

struct vd_exchange;
struct vd_choice;

typedef enum vd_ask_kind { VD_ASK_CHAT, VD_ASK_COMPLETION, VD_ASK_EMBEDDING } vd_ask_kind;

typedef struct vd_prompt {
    int32_t *ids; /* owned */
    size_t n_ids;
    char *text; /* owned; for echo, else NULL */
    size_t n_text;
} vd_prompt;

enum { VD_STOP_MAX = 4, VD_BIAS_MAX = 1024 };

/* A request body, understood. */
typedef struct vd_ask {
    vd_ask_kind kind;
    bool stream, include_usage, echo, logprobs;
    bool base64; /* of embeddings */
    size_t n, best_of; /* choices shown and computed per prompt */
    size_t n_top;
    size_t max_tokens; /* 0: until the context is full */
    bool has_seed;
    vd_sampling sampling;
    vd_logit_bias *bias; /* owned */
    char *stop[VD_STOP_MAX]; /* owned */
    size_t n_stop;
    vd_prompt *prompts; /* owned */
    size_t n_prompts;
    char *model;  /* owned; as the client named it */
    char id[40];  /* "chatcmpl-..." */
    int64_t created_s;
} vd_ask;
void vd_ask_done(vd_ask *ask);

/* What a choice has said so far. */
typedef struct vd_choice_text {
    vd_buf text;    /* not streamed: the whole answer */
    vd_buf entries; /* records of tokens whose log probabilities are still to be written */
    vd_char_count before; /* characters of the tokens before those in `entries` */
    size_t n_shown;       /* characters shown; tokens that begin behind them are not */
    double logprob_sum; /* for best_of */
    bool ended;         /* its last chunk is written */
} vd_choice_text;
void vd_choice_text_init(vd_choice_text *text);
void vd_choice_text_done(vd_choice_text *text);

/* Streamed: chunks for all records in `events`, then the tail: usage, if it was asked for, and
 * [DONE]. Where it was not, the last chunk that ends a choice carries it. */
void vd_answer_stream_begin(struct vd_exchange *request, vd_buf *out);
void vd_answer_stream(struct vd_exchange *request, const vd_buf *events, vd_buf *out);
void vd_answer_stream_end(struct vd_exchange *request, vd_buf *out);
/* Not streamed: the whole object. All choices have ended. */
void vd_answer_whole(struct vd_exchange *request, const vd_buf *events, vd_buf *out);

/* The same for embeddings (embeddings.c): a vector per choice, which is a prompt here. */
void vd_answer_embeddings(struct vd_exchange *request, const vd_buf *events, vd_buf *out);

/* Tokens over all choices: a prompt is counted once, however many answers it gets. */
typedef struct vd_usage_count {
    size_t prompt, cached, completion;
} vd_usage_count;
vd_usage_count vd_usage_sum(const struct vd_exchange *request);
/* {"prompt_tokens":...,"energy":{...}} over all choices. */
void vd_usage_write(struct vd_exchange *request, vd_buf *out);
/* ": energy {...}", a comment of a stream, which clients that do not know it skip. */
void vd_usage_comment(struct vd_exchange *request, vd_buf *out);

#endif
