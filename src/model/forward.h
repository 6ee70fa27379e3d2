/*
 * forward.h - one forward pass over a batch of tokens of many sequences.
 *
 * All threads of a pool run the whole pass as one job and meet at barriers, five per layer.
 * Single-owner: one pass at a time. A pass allocates nothing.
 */
#ifndef VD_MODEL_FORWARD_H
#define VD_MODEL_FORWARD_H

#include "base/pool.h"
#include "model/kv.h"
#include "model/model.h"

typedef struct vd_forward vd_forward;

/* T tokens; those of one sequence stand together in order of position, and all earlier positions
 * of that sequence were computed before (or stand earlier in this batch). The sequences have room
 * (vd_kv_seq_reserve) and tokens lie in the vocabulary. */
typedef struct vd_batch {
    size_t n_tokens;
    const int32_t *token;          /* [T] */
    const uint32_t *pos;           /* [T] */
    const vd_kv_seq *const *seq;   /* [T] */
    size_t n_out;
    const uint32_t *out;           /* [n_out] rows of the batch whose logits are wanted */
    float *logits;                 /* [n_out, V], the caller's */
} vd_batch;

/* Workspace for batches of at most max_tokens, of sequences of at most ctx_tokens (LongRoPE's
 * factors depend on it). model, kv and pool are borrowed. */
VD_NODISCARD vd_status vd_forward_create(const vd_model *model, vd_kv *kv, vd_pool *pool,
                                         size_t max_tokens, size_t ctx_tokens,
                                         vd_forward **ret_forward, vd_err *err);
void vd_forward_free(vd_forward *forward);
size_t vd_forward_max_tokens(const vd_forward *forward);

void vd_forward_run(vd_forward *forward, const vd_batch *batch);

#endif
