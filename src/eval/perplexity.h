/*
 * perplexity.h - perplexity and divergence, counted as llama.cpp counts them so that figures
 * compare: the text is tokenized once with special tokens and cut into consecutive chunks of `ctx`
 * tokens; where the vocabulary adds BOS it overwrites the first token of every chunk; scored are
 * the tokens at positions ctx/2+1 .. ctx-1 of each chunk.
 */
#ifndef VD_EVAL_PERPLEXITY_H
#define VD_EVAL_PERPLEXITY_H

#include "eval/scorer.h"

typedef struct vd_perplexity {
    double ppl, ppl_stderr; /* stderr by the delta method, as llama.cpp states it */
    size_t n_tokens, n_chunks;
    /* against a base model, where one is given: */
    double base_ppl;
    double kl_mean, kl_stderr; /* nats, D(base || model), over the scored positions */
    double kl_99;              /* 99 of 100 positions diverge less */
    double top1_agreement, top1_stderr; /* share of positions with the same likeliest token */
} vd_perplexity;

typedef void (*vd_progress_fn)(void *ctx, size_t done, size_t total, double ppl_so_far);

/* n_chunks 0: all of the text. base NULL: no divergence. VD_ERR_ARG where the text is shorter than
 * two chunks' worth of tokens or ctx is odd or below 4. */
VD_NODISCARD vd_status vd_perplexity_run(vd_scorer *scorer, vd_scorer *base, const char *text,
                                         size_t n, size_t ctx, size_t n_chunks,
                                         vd_progress_fn on_chunk, void *progress_ctx,
                                         vd_perplexity *ret, vd_err *err);

#endif
