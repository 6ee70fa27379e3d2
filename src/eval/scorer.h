/*
 * scorer.h - logits of every position of a text, chunk by chunk: what perplexity, divergence and
 * tasks are computed from. One sequence, no scheduler.
 *
 * Single-owner. Rows of logits are handed out while they are computed, so memory stays bounded by
 * a few rows of the vocabulary, whatever the context.
 */
#ifndef VD_EVAL_SCORER_H
#define VD_EVAL_SCORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/engine.h>
#include <verdant/status.h>
#include <verdant/tokenizer.h>

typedef struct vd_scorer vd_scorer;

typedef struct vd_scorer_options {
    size_t n_threads;  /* 0: one per core */
    size_t max_tokens; /* longest chunk of vd_scorer_run; 0 where it is never called */
    bool exact;        /* f32 activations; default: what the machine is fastest at */
    vd_kv_type kv_type;
} vd_scorer_options;

VD_NODISCARD vd_status vd_scorer_open(const char *path, const vd_scorer_options *options,
                                      vd_scorer **ret_scorer, vd_err *err);
void vd_scorer_free(vd_scorer *scorer);

/* True where `path` leads to the model's file or to a shard of it. */
bool vd_scorer_is_file(const vd_scorer *scorer, const char *path);
const vd_tokenizer *vd_scorer_tokenizer(const vd_scorer *scorer);
size_t vd_scorer_n_vocab(const vd_scorer *scorer);
size_t vd_scorer_ctx_train(const vd_scorer *scorer);

/* logits[V] of position `pos`, borrowed for the call. A status other than VD_OK ends the run. */
typedef vd_status (*vd_scorer_fn)(void *ctx, size_t pos, const float *logits, vd_err *err);

/* Computes tokens[0..n) as one fresh sequence and calls on_row for positions first .. n-1. */
VD_NODISCARD vd_status vd_scorer_run(vd_scorer *scorer, const int32_t *tokens, size_t n,
                                     size_t first, vd_scorer_fn on_row, void *ctx, vd_err *err);

#endif
