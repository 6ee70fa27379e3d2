/*
 * draft.h - speculative decoding: which tokens a step guesses, and which of them were right.
 *
 *   text ... x        the step computes x g1 g2 g3 (guesses), with logits for all four
 *            │ row 0 draws y1: equal to g1? then row 1 stands behind the true text
 *            │ row 1 draws y2: equal to g2? ...      the first difference ends it
 *
 * Leviathan et al. 2023 and Chen et al. 2023 accept a guess with a chance made of two
 * distributions and else draw from what is left. We draw each token just as without guesses, with
 * the same random number and the penalties at that place, and look whether the guess was that
 * token. The answer is then that of plain decoding, token by token, and not only in distribution;
 * it cannot depend on how many tokens were guessed, by whom, or on who shared the step
 * (drafter-invariant speculation, Daliri et al. 2025). A guess x made without chance is right with
 * probability p(x) either way.
 *
 * How many: one more drafted token costs one more row in the step, `slope` of pace.h. It is worth
 * its place while
 *
 *   chance / slope  >  expected / ns       (expected: the tokens the step gives; ns: what it takes)
 *
 * that is, while it gives tokens faster than the step without it. Where many sequences answer, each
 * reading of the weights serves many tokens already, ns per token nears the slope, and no guess is
 * worth it.
 */
#ifndef VD_ENGINE_DRAFT_H
#define VD_ENGINE_DRAFT_H

#include "engine/engine.h"

/* The answers of the step that is being built. */
typedef struct vd_draft_plan {
    size_t n_rows;   /* tokens */
    size_t n_free;   /* drafts that may still be added */
    size_t n_passes; /* of a draft model */
    double expected; /* tokens that it will give */
} vd_draft_plan;

/* Guesses for a request that has one token to compute: r->n_draft of them stand behind
 * token[n_tokens) and have room in the cache. */
void vd_draft_make(vd_engine *engine, vd_request *request, vd_draft_plan *plan);

/* After the pass: draws from the request's rows as far as its guesses were right; events, counters
 * and the share (taken guesses count as decoded) follow. A request that ends by it is marked. */
void vd_draft_settle(vd_engine *engine, const vd_sampled *sampled);

#endif
