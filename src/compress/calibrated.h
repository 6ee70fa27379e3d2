/*
 * calibrated.h - pruning that looks at what a matrix reads: Wanda (Sun et al. 2024, A Simple and
 * Effective Pruning Approach for Large Language Models), SparseGPT (Frantar and Alistarh 2023), and
 * Wanda's choice with what is left fitted by least squares.
 */
#ifndef VD_COMPRESS_CALIBRATED_H
#define VD_COMPRESS_CALIBRATED_H

#include "compress/gptq.h"
#include "compress/walk.h"

/* Whether a method needs a calibration text, and whether all of X^T X. */
bool vd_prune_is_calibrated(vd_prune_method method);
bool vd_prune_needs_gram(vd_prune_method method);

/* Wanda's choice in a row of a matrix: how much each weight says. */
typedef struct vd_wanda_score {
    double score; /* |w| times the norm of what it multiplies */
    size_t column;
} vd_wanda_score;

/* score[n] by rising score, of equal ones by column. norm[n] of the inputs; NULL: all alike. */
void vd_wanda_rank(const float *w, const double *norm, size_t n, vd_wanda_score *score);

/* What was made of the inputs of one layer: factors, shared by the matrices that read the same. */
typedef struct vd_calibrated {
    const vd_linalg *linalg; /* borrowed; NULL where no gram is needed */
    vd_pool *pool;           /* borrowed */
    struct {
        const vd_moments *of;
        size_t order_group;
        vd_obs obs;
    } known[8];
    size_t n_known;
    /* Of all that were made, for the report: the most damping, and how many could not be inverted
     * with any. */
    double damping_most;
    size_t n_made, n_diagonal;
} vd_calibrated;

void vd_calibrated_forget(vd_calibrated *calibrated); /* at the end of a layer */

/* w[n_rows, n] for inputs that have drifted (drift.h), `strength` of the way; zeros stay, and all
 * of it where the moments have no cross. VD_ERR_NOMEM, VD_ERR_FORMAT. */
VD_NODISCARD vd_status vd_calibrated_correct(vd_calibrated *calibrated, double strength,
                                             vd_moments *moments, float *w, size_t n_rows,
                                             vd_err *err);

/* w[n_rows, moments->n] pruned in place. Inputs of which nothing is known (an expert that no token
 * chose) leave magnitudes alone to go by, and where there is no gram, Wanda stands in for what
 * needs it. VD_ERR_NOMEM, VD_ERR_FORMAT. */
VD_NODISCARD vd_status vd_calibrated_prune(vd_calibrated *calibrated, const vd_prune *prune,
                                           vd_moments *moments, float *w, size_t n_rows,
                                           vd_err *err);
/* GPTQ: w[n_rows, moments->n], encoded to `rows` before, becomes what the better codes mean that
 * are put there. scale[n]: w is of inputs divided by it, the same for all that read these moments;
 * NULL: as they are. The moments have a gram of some tokens. VD_ERR_NOMEM, VD_ERR_FORMAT. */
VD_NODISCARD vd_status vd_calibrated_round(vd_calibrated *calibrated, const vd_grid *grid,
                                           bool keep_zeros, vd_moments *moments,
                                           const float *scale, float *w, size_t n_rows,
                                           unsigned char *rows, size_t row_bytes, vd_err *err);

#endif
