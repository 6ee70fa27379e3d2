/*
 * drift.h - weights for inputs that are no longer what they were: the layers before a matrix have
 * been compressed, and what it reads has drifted.
 *
 * With X' the inputs in the model as it was and X those of now, the weights that come nearest to
 * X' W^T on X are W C H^-1, C = X'^T X and H = X^T X. Going there in full follows the noise of the
 * text too: part of the way is better (docs/compression.md). Whoever then prunes or rounds those
 * weights by H does so for the old outputs, for
 * |X w - X' w'|^2 = (w - w*) H (w - w*)^T + what does not depend on w.
 * GPTAQ (Li et al. 2025) puts the same term into GPTQ's sweep, in full.
 */
#ifndef VD_COMPRESS_DRIFT_H
#define VD_COMPRESS_DRIFT_H

#include "compress/obs.h"

/* w[n_rows, n] += strength * w (C - H) (H + damping)^-1. obs: of these inputs, columns in their own
 * order and of size one; gram: H, both triangles, as vd_obs_init leaves it; cross: C.
 * VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_drift_correct(const vd_linalg *linalg, const vd_obs *obs,
                                        const double *gram, const double *cross, double strength,
                                        double *w, size_t n_rows, vd_err *err);

#endif
