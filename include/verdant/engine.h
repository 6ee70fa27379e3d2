/*
 * engine.h - answers from a model. The simple way first, the whole engine below it.
 *
 * An engine holds one model and computes for many requests at once: every step takes tokens of all
 * running sequences (iteration-level batching, Orca 2022), and sequences join and leave at every
 * step. Requests are submitted and cancelled from any thread; one thread at a time drives
 * vd_engine_step, or vd_engine_start runs a thread that does.
 */
#ifndef VERDANT_ENGINE_H
#define VERDANT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>
#include <verdant/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vd_engine vd_engine;

/* How the vectors of a text's tokens become one. */
typedef enum vd_pooling {
    VD_POOLING_MODEL, /* as the model's metadata says (ARCH.pooling_type); where that says nothing,
                         mean for an encoder and last for others */
    VD_POOLING_NONE,  /* a vector per token */
    VD_POOLING_MEAN,
    VD_POOLING_CLS,   /* that of the first token */
    VD_POOLING_LAST,  /* that of the last token */
    VD_POOLING_RANK   /* what some models say: no vector but a score of two texts. We lack it */
} vd_pooling;
/* "mean"; static. */
VD_API const char *vd_pooling_name(vd_pooling pooling);
/* "none", "mean", "cls" or "last"; false for another word. */
VD_API bool vd_pooling_parse(const char *word, vd_pooling *ret_pooling);

/* Speculative decoding: tokens are guessed and then computed in the same step as the token before
 * them, so that one reading of the weights may give several. Only what is drawn counts: a guess
 * stands where the draw, with the random number it would have had anyway, comes out the same. So
 * the text is that of plain decoding, for every way of sampling. */
typedef enum vd_speculate {
    VD_SPECULATE_OFF,
    VD_SPECULATE_LOOKUP, /* guesses what followed where the last tokens stood before, in prompt or
                           answer (prompt lookup, Saxena 2023) */
    VD_SPECULATE_MODEL  /* a second, smaller model of the same vocabulary guesses (Leviathan et al.
                           2023, Chen et al. 2023) */
} vd_speculate;
/* "off" or "lookup"; false for another word. */
VD_API bool vd_speculate_parse(const char *word, vd_speculate *ret_speculate);

/* How keys and values are kept between steps: what it costs in quality stands in
 * docs/performance.md. The last two need heads of a multiple of 32 values,
 * in a draft model too. */
typedef enum vd_kv_type {
    VD_KV_F16,
    VD_KV_BF16,
    VD_KV_F32,
    VD_KV_Q8_0, /* whole numbers of 8 bits, a scale for 32: 0.53 of F16 */
    VD_KV_Q4_0  /* of 4 bits: 0.28 of F16 */
} vd_kv_type;
/* "f16"; static. */
VD_API const char *vd_kv_type_name(vd_kv_type type);
/* "f16", "bf16", "f32", "q8_0" or "q4_0"; false for another word. */
VD_API bool vd_kv_type_parse(const char *word, vd_kv_type *ret_type);

/* {0} means the defaults. */
typedef struct vd_engine_options {
    size_t n_threads;    /* 0: one per core, and fewer for small batches where that is faster.
                            Where other processes want the cores, small batches run on fewer
                            threads than are given here while that is faster */
    size_t ctx_tokens;   /* longest sequence; 0: the model's own, at most 8,192 */
    size_t kv_tokens;    /* positions of all sequences together; 0: enough for 4 of ctx_tokens,
                            at least 16,384 */
    size_t max_running;  /* sequences computed together; 0: 32 */
    size_t max_waiting;  /* submitted and not yet running; 0: 1,024. Above: VD_ERR_BUSY */
    size_t step_tokens;  /* tokens of one step at most; 0: 512. At least max_running, and
                            draft_tokens more where tokens are guessed. An encoder's are at least
                            ctx_tokens: it reads a text at once */
    size_t step_ms;      /* what a step may take that answers some and reads prompts of others; 0:
                            50. Prompts are then read in shorter pieces, but of 32 tokens at least,
                            or up to 128 where shorter ones cost too much per token */
    vd_pooling pooling;  /* of embeddings, where a request does not say */
    vd_kv_type kv_type;  /* of the KV cache; in an encoder always F32 */
    bool exact;          /* f32 activations against decoded weights: slow, the reference */
    bool no_prefix_cache;
    vd_speculate speculate;
    size_t draft_tokens; /* guessed at most per sequence and step, 1 to 16; 0: 8. How many it is
                            follows from how often guesses were right lately and from what a token
                            more costs in a step here: none where that does not pay */
    const char *draft_path; /* of VD_SPECULATE_MODEL: the draft model's GGUF file; read by open */
    bool draft_always;   /* benches and tests: draft_tokens whether they pay or not */
} vd_engine_options;

/* Opens a GGUF model. VD_ERR_UNSUPPORTED names the architecture or tensor type that we lack. */
VD_API VD_NODISCARD vd_status vd_engine_open(const char *path, const vd_engine_options *options,
                                             vd_engine **ret_engine, vd_err *err);
/* Cancels what runs (each request gets its last event), stops the thread, frees. NULL is fine. */
VD_API void vd_engine_free(vd_engine *engine);

/* ---- the simple way ---------------------------------------------------------------------------*/

/* Answers one user message through the model's chat template (or as plain text where the model has
 * none), greedily, with at most max_tokens tokens (0: 256). *ret_answer is NUL-terminated UTF-8,
 * the caller's (vd_text_free). Blocks, and drives vd_engine_step itself unless vd_engine_start ran:
 * then any number of threads may ask at once. */
VD_API VD_NODISCARD vd_status vd_engine_ask(vd_engine *engine, const char *question,
                                            size_t max_tokens, char **ret_answer, vd_err *err);

/* ---- what the model is ------------------------------------------------------------------------*/

VD_API const vd_tokenizer *vd_engine_tokenizer(const vd_engine *engine); /* borrowed */
/* The Jinja source of the model's chat template, or NULL. Borrowed. */
VD_API const char *vd_engine_chat_template(const vd_engine *engine);

typedef struct vd_engine_info {
    const char *architecture, *name, *kernels; /* borrowed */
    size_t n_layer, n_embd, n_vocab, n_params;
    size_t ctx_train, ctx_tokens, kv_tokens, n_threads;
    size_t n_threads_decode; /* those that a single answer is computed on now */
    size_t weight_bytes, kv_bytes;
    size_t draft_weight_bytes, draft_kv_bytes; /* of the draft model, besides; 0: there is none */
    bool encoder;        /* makes embeddings, no text */
    vd_pooling pooling;  /* what VD_POOLING_MODEL means here */
    bool pooling_known;  /* the options or the model's metadata say so; else it is our guess */
} vd_engine_info;
VD_API vd_engine_info vd_engine_info_get(const vd_engine *engine);

/* ---- requests ---------------------------------------------------------------------------------*/

typedef struct vd_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -100 bans, 100 forces */
} vd_logit_bias;

/* How the next token is drawn. vd_sampling_default() gives OpenAI's defaults. Order: bias,
 * penalties, then (temperature 0: greedy) top-k, typical, top-p, min-p, temperature, draw. */
typedef struct vd_sampling {
    float temperature;        /* 0: greedy */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float typical_p;          /* 1: off */
    uint32_t top_k;           /* 0: off */
    float repetition_penalty; /* 1: off; divides positive logits of tokens seen (CTRL, 2019) */
    float frequency_penalty;  /* 0: off; times the token's count in the answer */
    float presence_penalty;   /* 0: off */
    uint64_t seed;            /* same seed, same text, at the same thread count and batch */
    const vd_logit_bias *bias;
    size_t n_bias;
} vd_sampling;
VD_API vd_sampling vd_sampling_default(void);

typedef enum vd_finish {
    VD_FINISH_NONE,      /* goes on */
    VD_FINISH_STOP,      /* end token or stop string */
    VD_FINISH_LENGTH,    /* max_tokens or the context */
    VD_FINISH_CANCELLED,
    VD_FINISH_ERROR      /* see vd_event.status */
} vd_finish;

typedef struct vd_top_token {
    int32_t token;
    float logprob; /* natural logarithm, of the unmodified distribution at temperature 1 */
} vd_top_token;

typedef struct vd_usage {
    size_t prompt_tokens, cached_tokens, completion_tokens;
    size_t draft_tokens, draft_taken; /* guessed and computed; those of them that were right */
    uint64_t queued_ns, prefill_ns, decode_ns;
} vd_usage;

/* One token of an answer, or its end, or both. Borrowed for the call. */
typedef struct vd_event {
    uint64_t request_id;
    int32_t token;       /* -1 when this event carries none */
    const char *text;    /* what may be shown now: whole characters, no part of a stop string */
    size_t n_text;
    float logprob;
    const vd_top_token *top;
    size_t n_top;
    vd_finish finish;
    vd_status status;    /* of VD_FINISH_ERROR */
    const vd_usage *usage; /* with the last event, else NULL */
    const float *embedding; /* [n_embedding] with the last event of `embed`, if all went well;
                               without pooling, row after row */
    size_t n_embedding;
} vd_event;

/* What the status of VD_FINISH_ERROR means for an answer, in a sentence's part that a user
 * understands. Static storage. */
VD_API const char *vd_finish_message(vd_status status);

/* Called on the compute thread, in order, the last one exactly once with finish != NONE. Must not
 * block and must not call vd_engine_free. Submitting and cancelling from inside is fine. */
typedef void (*vd_event_fn)(void *ctx, const vd_event *event);

typedef struct vd_request_options {
    const int32_t *prompt; /* copied; at least one token */
    size_t n_prompt;
    size_t max_tokens;     /* 0: until the context is full */
    vd_sampling sampling;  /* bias is copied */
    const char *const *stop; /* NUL-terminated strings, copied; at most 16 */
    size_t n_stop;
    size_t n_top;          /* top_logprobs, 0..20 */
    bool want_logprobs;
    bool ignore_end;       /* benches: go on after an end token */
    uint64_t cache_salt;   /* prefixes are shared only between equal salts; 63 bits count */
    bool embed;            /* the embedding of the prompt instead of an answer; what lies between
                              n_prompt and cache_salt is not looked at then */
    vd_pooling pooling;    /* of embed */
    bool no_normalize;     /* of embed: vectors keep their length instead of 1 */
    vd_event_fn on_event;
    void *ctx;
} vd_request_options;

/* Queues a request; *ret_id is never 0. VD_ERR_CONTEXT when the prompt does not fit, VD_ERR_BUSY
 * when the queue is full, VD_ERR_CLOSED after vd_engine_stop, VD_ERR_UNSUPPORTED for text from an
 * encoder, VD_ERR_ARG, VD_ERR_NOMEM. An embedding that is zero or not finite is the model's fault:
 * it ends with VD_FINISH_ERROR and VD_ERR_FORMAT. */
VD_API VD_NODISCARD vd_status vd_engine_submit(vd_engine *engine,
                                               const vd_request_options *options, uint64_t *ret_id,
                                               vd_err *err);
/* The request ends with VD_FINISH_CANCELLED within a step. Unknown ids are ignored. */
VD_API void vd_engine_cancel(vd_engine *engine, uint64_t request_id);

/* One step; *ret_worked false when there was nothing to do. Not while the thread runs. */
VD_API VD_NODISCARD vd_status vd_engine_step(vd_engine *engine, bool *ret_worked, vd_err *err);
/* Starts and ends the compute thread. Stop lets the step end; with `drain` it finishes all
 * requests first; without, they end as cancelled. */
VD_API VD_NODISCARD vd_status vd_engine_start(vd_engine *engine, vd_err *err);
VD_API void vd_engine_stop(vd_engine *engine, bool drain);

typedef struct vd_engine_stats {
    size_t n_running, n_waiting, kv_tokens_used;
    uint64_t n_steps, n_prefill_tokens, n_decode_tokens, n_cached_tokens;
    uint64_t n_draft_tokens, n_draft_taken; /* guessed and computed; those that were right */
    uint64_t n_finished, n_cancelled, n_failed;
} vd_engine_stats;
VD_API vd_engine_stats vd_engine_stats_get(vd_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
