/*
 * forward.h - one forward pass over a batch of tokens of many sequences.
 *
 * The threads of a pool, for small batches as many as are fastest (crew.h), run the whole pass as
 * one job and meet at barriers, five per layer or more (README.md).
 * Single-owner: one pass at a time. A pass allocates nothing.
 */
#ifndef VD_MODEL_FORWARD_H
#define VD_MODEL_FORWARD_H

#include "base/pool.h"
#include "model/kv.h"
#include "model/model.h"

typedef struct vd_forward vd_forward;

/* Where the residual stream x can be watched. */
typedef enum vd_tap_point {
    VD_TAP_EMBED, /* what enters the first layer */
    VD_TAP_ATTN,  /* attention of a layer has been added */
    VD_TAP_LAYER  /* and its feed-forward: what leaves the layer */
} vd_tap_point;

/* x[T, C] at a point; layer is 0 for VD_TAP_EMBED. Called by one thread while the others go on to
 * their next barrier; x is borrowed for the call. */
typedef void (*vd_tap_fn)(void *ctx, vd_tap_point point, size_t layer, const float *x);

/* Rows x[n, width], ld_x apart, that a product with `dense` of this pass's layers reads: with
 * experts each of them gets some rows, more than once for one weight of a large batch. Called by
 * one thread before it computes its part; the others may be computing theirs. x is borrowed for the
 * call. */
typedef void (*vd_input_fn)(void *ctx, const vd_dense *dense, const float *x, size_t n,
                            size_t width, size_t ld_x);

/* Some layers instead of the whole model. */
typedef struct vd_model_part {
    size_t first, end;     /* layers [first, end) */
    const vd_layer *layer; /* [end - first] whose products are computed instead of those of the
                              model's own, with the same shapes and norms; or NULL */
    bool embed;            /* begin with the tokens' embeddings, else with what is in x */
    float *x;              /* [T, C] what enters the first layer; then what leaves the last */
} vd_model_part;

/* T tokens; those of one sequence stand together in order of position, and all earlier positions
 * of that sequence were computed before (or stand earlier in this batch). An encoder takes whole
 * sequences, from position 0 to their end, and gives no logits. The sequences have room
 * (vd_kv_seq_reserve) and tokens lie in the vocabulary. */
typedef struct vd_batch {
    size_t n_tokens;
    const int32_t *token;          /* [T] */
    const uint32_t *pos;           /* [T] */
    const vd_kv_seq *const *seq;   /* [T] */
    size_t n_out;
    const uint32_t *out;           /* [n_out] rows of the batch whose logits are wanted */
    float *logits;                 /* [n_out, V], the caller's */
    size_t n_embed;
    const uint32_t *embed;         /* [n_embed] rows whose embeddings are wanted */
    float *embeddings;             /* [n_embed, C], the caller's: what logits are made of, or what
                                      leaves an encoder */
    vd_tap_fn tap;                 /* NULL: nobody watches */
    void *tap_ctx;
    vd_input_fn input;             /* NULL: nobody watches */
    void *input_ctx;
    const vd_model_part *part;     /* NULL: all layers. Logits are of what leaves the last one */
} vd_batch;

/* Workspace for batches of at most max_tokens, of sequences of at most ctx_tokens (LongRoPE's
 * factors depend on it). model, kv and pool are borrowed. */
VD_NODISCARD vd_status vd_forward_create(const vd_model *model, vd_kv *kv, vd_pool *pool,
                                         size_t max_tokens, size_t ctx_tokens,
                                         vd_forward **ret_forward, vd_err *err);
void vd_forward_free(vd_forward *forward);

/* Small batches may run on fewer threads than the pool has; see crew.h. */
void vd_forward_run(vd_forward *forward, const vd_batch *batch);

/* Nobody said how many threads: small batches try fewer at once, not only when others want the
 * cores. Before the first run. */
void vd_forward_explore_threads(vd_forward *forward);
/* On how many threads a batch of one token runs now. From any thread. */
size_t vd_forward_n_threads(const vd_forward *forward);

#endif
