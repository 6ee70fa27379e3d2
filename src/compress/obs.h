/*
 * obs.h - weights changed one column after the other so that the layer's output changes least:
 * optimal brain surgery (Hassibi and Stork 1992) in the form of SparseGPT (Frantar and Alistarh
 * 2023) for pruning and GPTQ (Frantar et al. 2022) for rounding.
 *
 * For outputs Y = X W^T the error of a changed W is weighted by the Gram matrix X^T X of the
 * layer's inputs. A column is settled (set to zero, rounded), and what is then wrong is made up for
 * by the columns behind it, by the inverse's Cholesky factor. All in double precision.
 */
#ifndef VD_COMPRESS_OBS_H
#define VD_COMPRESS_OBS_H

#include "base/pool.h"
#include "compress/cut.h"
#include "compress/linalg.h"

/* What is known of the inputs of a product: made ready once, used by all weights that read them. */
typedef struct vd_obs {
    size_t n;            /* columns */
    double *upper;       /* [n, n] U with U^T U = (H + damping)^-1 */
    bool *dead;          /* [n] inputs that were always zero */
    size_t *order;       /* [n] which column comes when; NULL: as they lie */
    double damping;      /* that was added, in means of H's diagonal */
    bool diagonal;       /* H could not be inverted with any damping: its diagonal alone was used */
} vd_obs;

/* gram[n, n]: the lower triangle of X^T X; the upper one is made its mirror. Damping begins with
 * `damping` times the mean of the diagonal (0.01 in the papers) and grows tenfold while the
 * factorization fails. order_group: columns come by falling size of their inputs (GPTQ's
 * "act-order"), so many neighbours together, of which n is a multiple; 0: as they lie. scale[n]:
 * the inputs are taken divided by it; NULL: as they are.
 * VD_ERR_FORMAT where a value is not finite, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_obs_init(const vd_linalg *linalg, double *gram, size_t n, double damping,
                                   size_t order_group, const float *scale, vd_obs *ret_obs,
                                   vd_err *err);
void vd_obs_done(vd_obs *obs);

enum { VD_OBS_GROUP_MAX = 8 };

/* What a column of a row becomes that has arrived at w, or `group` neighbours: ret[group] of
 * w[group], where an error e in the i-th costs weight[i] e^2. Called by many threads, once for
 * each, of one row by one thread. Where a weight goes, w is 0. */
typedef void (*vd_settle_fn)(void *ctx, size_t row, size_t column, const double *w,
                             const double *weight, double *ret);

typedef struct vd_obs_options {
    vd_prune prune;      /* method NONE: nothing is pruned */
    const bool *mask;    /* [n_rows, n] chosen before: true goes. NULL: chosen on the way, by
                            w^2 / U_jj^2, blocks of columns at a time, or by groups where prune.m
                            (then not with an obs by size) */
    vd_settle_fn settle; /* NULL: what stays stays as it is, what goes is 0 */
    void *settle_ctx;
    size_t group;        /* columns that are settled together: in a block all of them, and by size
                            neighbours; 0: 1 */
    size_t block;        /* columns; 0: 128 */
} vd_obs_options;

/* w[n_rows, n], changed in place. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_obs_run(const vd_linalg *linalg, vd_pool *pool, const vd_obs *obs,
                                  const vd_obs_options *options, double *w, size_t n_rows,
                                  vd_err *err);

#endif
