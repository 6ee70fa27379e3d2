/* scorer_internal.h - what scorer.c and branches.c share. */
#ifndef VD_EVAL_SCORER_INTERNAL_H
#define VD_EVAL_SCORER_INTERNAL_H

#include "eval/scorer.h"
#include "model/forward.h"

enum { VD_SCORER_STEP_TOKENS = 256 }; /* of one pass */

struct vd_scorer {
    vd_pool *pool;
    vd_model *model;
    vd_tokenizer *tokenizer;
    vd_dtype kv_dtype;
    /* for vd_scorer_run, NULL when opened for no tokens: */
    vd_kv *kv;
    vd_kv_seq seq;
    vd_forward *forward;
    size_t step;            /* tokens per pass */
    float *logits;          /* [step, V] */
    uint32_t *pos, *out;    /* [step] */
    const vd_kv_seq **seqs; /* [step] */
};

/* How many rows of logits we keep at once: VD_SCORER_STEP_TOKENS or what fits the memory for it. */
size_t vd_scorer_rows_max(const vd_scorer *scorer);
VD_NODISCARD vd_status vd_scorer_check_tokens(const vd_scorer *scorer, const int32_t *tokens,
                                              size_t n, vd_err *err);

#endif
