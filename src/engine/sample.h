/*
 * sample.h - drawing the next token from a row of logits.
 *
 * Order: bias, penalties; then greedy at temperature 0, else top-k, typical, top-p, min-p,
 * temperature, one draw. Papers: top-k Fan et al. 2018; top-p Holtzman et al. 2020; locally
 * typical Meister et al. 2023; min-p Nguyen et al. 2024; repetition penalty Keskar et al. 2019
 * (CTRL). We differ from none of them; the filters see probabilities at temperature 1.
 *
 * The draw is a race of exponential times (Gumbel-max, Maddison et al. 2014): each token has its
 * own random number, so that similar distributions give the same token more often than by one
 * number for all, whatever order the filters leave: with probability (1 - d) / (1 + d) at least,
 * where d is their total variation distance (Daliri et al. 2025). Guesses of a draft model live on
 * it.
 *
 * Draw number i of a request depends on its seed and i alone, so a request that was preempted and
 * computed again continues with the same numbers. Nothing allocates after create.
 */
#ifndef VD_ENGINE_SAMPLE_H
#define VD_ENGINE_SAMPLE_H

#include <verdant/engine.h>

typedef struct vd_sampler vd_sampler;

/* Work space for rows of n_vocab logits. Single-owner. */
VD_NODISCARD vd_status vd_sampler_create(size_t n_vocab, vd_sampler **ret_sampler, vd_err *err);
void vd_sampler_free(vd_sampler *sampler);

/* What a request's penalties count. */
typedef struct vd_token_counts {
    uint16_t *in_answer; /* [V] times each token was generated; NULL where no penalty needs it */
    uint8_t *seen;       /* [V] 1 where the token is in prompt or answer; NULL likewise */
} vd_token_counts;

/* Checks ranges: temperature 0..2 (VD_ERR_ARG names the field), penalties, probabilities, bias
 * ids within the vocabulary. */
VD_NODISCARD vd_status vd_sampling_check(const vd_sampling *sampling, size_t n_vocab, vd_err *err);

/* Changes `logits` (bias and penalties are added in place) and returns the token drawn.
 * A row in which nothing is finite (NaN weights) gives -1. */
int32_t vd_sampler_draw(vd_sampler *sampler, const vd_sampling *sampling,
                        const vd_token_counts *counts, uint64_t draw_index, float *logits);

/* log p(token) of an unmodified row, and its n_top likeliest tokens, best first, into top. */
float vd_sampler_logprob(vd_sampler *sampler, const float *logits, int32_t token, size_t n_top,
                         vd_top_token *top);

#endif
