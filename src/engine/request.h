/*
 * request.h - one request inside the engine: what was asked, how far it is, where its KV lies.
 *
 * Created by the submitting thread, then owned by the scheduler; only `cancelled` is touched by
 * others. A waiting request holds little more than its prompt, so that a thousand may wait; all it
 * will need while running is taken once, when it starts.
 */
#ifndef VD_ENGINE_REQUEST_H
#define VD_ENGINE_REQUEST_H

#include <stdatomic.h>
#include <verdant/engine.h>

#include "engine/drafter.h"
#include "engine/lookup.h"
#include "engine/sample.h"
#include "model/kv.h"
#include "text/stream.h"

enum { VD_REQUEST_STOPS_MAX = 16, VD_REQUEST_TOP_MAX = 20, VD_DRAFT_MAX = 16 };

/* What an embedding is gathered in. */
typedef struct vd_embedding {
    size_t n;      /* values of a row: C */
    size_t n_rows; /* taken in so far */
    float *vector; /* [n], or [n_prompt, n] without pooling */
    double *sum;   /* [n] for a mean, else NULL */
} vd_embedding;

typedef struct vd_request {
    struct vd_request *prev, *next; /* in the queue that holds it */
    uint64_t id;
    vd_request_options options; /* prompt, stop and bias point into our own copies */

    /* Prompt and answer in one run: [0, n_prompt) and [n_prompt, n_tokens). */
    int32_t *token; /* [n_prompt] while waiting, [n_limit] once started */
    size_t n_tokens;
    size_t n_prompt, n_limit; /* n_limit: n_tokens never exceeds it */
    size_t n_computed;        /* positions whose K and V stand in the cache */
    size_t n_cached;          /* of the prompt, adopted instead of computed */
    size_t n_draft;           /* guesses behind token[n_tokens) that this step computes too */
    size_t n_drafted, n_taken; /* guesses computed so far, and those that were right */
    vd_lookup lookup;         /* where this step's first guess stands */
    vd_lookup_hits hits;
    vd_drafter_seq drafter;

    vd_kv_seq kv;
    vd_text_stream text; /* of an answer */
    vd_embedding embedding;
    vd_token_counts counts;
    vd_top_token top[VD_REQUEST_TOP_MAX];
    vd_logit_bias *bias;
    char **stop;

    uint64_t submitted_ns, started_ns, first_token_ns;
    vd_finish ending;        /* how it ends when its step has been told, or VD_FINISH_NONE */
    vd_status ending_status; /* of VD_FINISH_ERROR */
    bool started;
    atomic_bool cancelled;
} vd_request;

/* Copies all of `options`, checks them against the model's limits. n_ctx: longest sequence. */
VD_NODISCARD vd_status vd_request_create(const vd_request_options *options, size_t n_vocab,
                                         size_t n_ctx, vd_request **ret_request, vd_err *err);
/* Takes the memory that running needs. Once; a preempted request has it already. n_vocab: the
 * model's, of which the vocabulary may name fewer. n_embd: C. drafter: NULL where there is none. */
VD_NODISCARD vd_status vd_request_start(vd_request *request, const vd_tokenizer *tokenizer,
                                        size_t n_vocab, size_t n_embd, vd_kv *kv,
                                        vd_drafter *drafter, vd_err *err);
/* It gave its pages back and begins again. */
void vd_request_rewind(vd_request *request);
/* Its pages go back to `kv`, which may be NULL before the start. A NULL request is fine. */
void vd_request_free(vd_request *request, vd_kv *kv);

/* Appends a generated token and counts it. */
void vd_request_append(vd_request *request, int32_t token);

#endif
