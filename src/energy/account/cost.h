/*
 * cost.h - what a step's time is made of, learned while the engine runs. Inside src/energy only.
 *
 *   step time = F + a_p * prefill tokens + a_d * decode tokens + a_kv * (token, position) pairs
 *
 * One fit per model; rejected draft tokens are decode tokens that gave no text.
 *
 * Least squares of relative errors with slow forgetting, coefficients kept at or above zero, drawn
 * towards start values as long as the steps seen cannot tell two of them apart (a service that
 * always decodes eight sequences never learns F alone). The laws of the account hold whatever the
 * coefficients are; they only decide how fair a share is. Allocates nothing. Single-owner.
 */
#ifndef VD_ENERGY_COST_H
#define VD_ENERGY_COST_H

#include <stdint.h>

#include "energy/account/account.h"

enum { VD_COST_N = 4, VD_COST_KINDS = 6 };

typedef struct vd_cost_fit {
    double normal[VD_COST_N][VD_COST_N], right[VD_COST_N]; /* of the normal equations */
    double x[VD_COST_N];                                   /* ms per scaled feature */
    double scale; /* of the start values; 0 before the first step */
    double miss;  /* mean square of (time - expected) / expected, before the step was learned */
    /* The mean itself by kind of step, and how many recent steps each stands for: what remains when
     * the noise has averaged out is what four coefficients cannot say. */
    double bias[VD_COST_KINDS], weight[VD_COST_KINDS];
    uint64_t n_seen;
} vd_cost_fit;

void vd_cost_init(vd_cost_fit *fit);
void vd_cost_learn(vd_cost_fit *fit, const vd_step *step);
vd_step_cost vd_cost_get(const vd_cost_fit *fit);
/* Root mean square of how far steps were from what the fit expected of them, relative; 0 until 20
 * steps were seen. */
double vd_cost_miss(const vd_cost_fit *fit);
/* How far kinds of steps (with or without prompts; one, few or many requests) are from it on the
 * average, relative, root mean square over kinds by how often they came; 0 until 20 steps. */
double vd_cost_bias(const vd_cost_fit *fit);

uint64_t vd_cost_step_ns(const vd_step *step); /* at least 1 */
/* What these coefficients expect the whole step to take. From sums of counts, not of products, and
 * so the same whatever the order of the shares. */
double vd_cost_expected_ns(const vd_step_cost *cost, const vd_step *step);
/* The i-th request's part of the step's time, by phase: its Shapley value, an equal part of what is
 * there whoever runs and its own marginal cost, in units of the whole. The parts of all add up to
 * 1. `expected_ns` is that of the step. */
void vd_cost_part(const vd_step_cost *cost, double expected_ns, const vd_step *step, size_t i,
                  double *ret_prefill, double *ret_decode);

#endif
