/*
 * step_fit.h - how a step's energy grows with its batch, fitted to measurements.
 *
 *   E(B) = fixed + per_token * B + concave * sqrt(B)          joules per step of B answer tokens
 *
 * The weights are read once whoever is there (fixed), each sequence computes its token and reads
 * its own cache (per_token), and something grows slower than the batch: the power of a device that
 * fills up, the experts of a mixture that a larger batch touches anyway (concave). All three are
 * at or above zero.
 *
 * What is fitted is the figure that users see, joules per token: least squares of E(B)/B. The
 * concave term is drawn towards zero (ridge, Hoerl and Kennard 1970), since few batch sizes cannot
 * tell it from the other two; VD_STEP_FIT_RIDGE is the scatter of a measurement over the size that
 * such a term may have before the data say more: 2 % over 20 % of a step.
 *
 * The account (src/energy/account/cost.h) does not use it: it weighs a step by its time, which is
 * affine, and takes the joules from the meter. This predicts joules at batch sizes that nobody has
 * metered.
 *
 * Shares stay in closed form: see vd_step_fit_shares and docs/power-model.md, which has the figures
 * on measured models. Threads: pure functions.
 */
#ifndef VD_BENCH_STEP_FIT_H
#define VD_BENCH_STEP_FIT_H

#include <stddef.h>
#include <verdant/status.h>

#define VD_STEP_FIT_RIDGE 0.1

typedef struct vd_step_point {
    double batch;       /* mean sequences per step, > 0 */
    double j_per_token; /* > 0 */
} vd_step_point;

typedef struct vd_step_fit {
    double fixed, per_token, concave; /* joules */
} vd_step_fit;

/* Fits `n` points, in any order. VD_ERR_ARG for fewer than two different batch sizes and for values
 * that are not positive numbers. */
VD_NODISCARD vd_status vd_step_fit_solve(const vd_step_point *points, size_t n,
                                         vd_step_fit *ret_fit, vd_err *err);

/* Joules of one step of `batch` tokens; 0 for an empty one. */
double vd_step_fit_energy(const vd_step_fit *fit, double batch);

/* What each of n requests pays of a step in which it has weight[i] >= 0 tokens; the shares sum to
 * vd_step_fit_energy of the sum of weights. The fixed and the linear part are Shapley values as
 * they stand. The concave part is split in proportion to the weights: the Aumann-Shapley price of
 * a cost that depends on the sum alone (Billera, Heath and Raanan 1978), which for requests of
 * equal weight, as in every step that only decodes, is the Shapley value. A weight of 0 pays
 * nothing. */
void vd_step_fit_shares(const vd_step_fit *fit, const double *weight, size_t n, double *ret_joules);

#endif
