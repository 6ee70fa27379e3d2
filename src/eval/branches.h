/*
 * branches.h - log-probabilities of many ways to go on from the same beginning.
 *
 *   fork:   what the branches share  ─┬─ branch 0 ...
 *           (n_shared tokens)         ├─ branch 1 ...
 *                                     └─ branch 2 ...
 *
 * The shared tokens are computed once, in whole pages of the KV cache that all branches read (see
 * model/kv.h); what is left of them and the branches follow, many sequences in one pass. Forks that
 * begin alike (the same examples before every question) share those pages too.
 */
#ifndef VD_EVAL_BRANCHES_H
#define VD_EVAL_BRANCHES_H

#include "eval/scorer.h"

enum { VD_FORK_BRANCHES_MAX = 64 };

typedef struct vd_branch {
    const int32_t *tokens; /* [n], from the beginning of the fork on; borrowed */
    size_t n;              /* more than the fork's n_shared */
    double log_prob;       /* set: nats, of tokens n_shared .. n-1 given those before each */
} vd_branch;

typedef struct vd_fork {
    vd_branch *branch; /* [n_branches] */
    size_t n_branches; /* at most VD_FORK_BRANCHES_MAX */
    size_t n_shared;   /* at least 1; the branches' first n_shared tokens are equal */
} vd_fork;

/* Called when the first n_done forks are computed. A status other than VD_OK ends the run. */
typedef vd_status (*vd_forks_fn)(void *ctx, size_t n_done, vd_err *err);

/* Sets log_prob of every branch; not finite where the model is broken. Memory: KV pages for 2048
 * tokens or the longest fork, and up to 256 rows of logits. */
VD_NODISCARD vd_status vd_forks_run(vd_scorer *scorer, vd_fork *forks, size_t n,
                                    vd_forks_fn on_done, void *ctx, vd_err *err);

#endif
