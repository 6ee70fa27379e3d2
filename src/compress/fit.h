/*
 * fit.h - the weights that are left, where it is known which, so that the output changes least:
 * for each row w the least of (w - w0) H (w - w0)^T over all w that are zero where they must be.
 *
 * The sweep of SparseGPT makes up for a weight that goes by those behind it alone; this by all that
 * are left. Conjugate gradients, preconditioned by H's diagonal, from the sweep's weights on (Meng
 * et al. 2024, ALPS, section 3.3, do so behind their own choice). In double precision.
 */
#ifndef VD_COMPRESS_FIT_H
#define VD_COMPRESS_FIT_H

#include "compress/linalg.h"

/* h[n, n] symmetric, positive on the diagonal; `add` is put on its diagonal. w0[n_rows, n]: what
 * the weights were. w[n_rows, n]: where to begin, and the result; what is 0 in it stays 0.
 * VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_fit_masked(const vd_linalg *linalg, const double *h, double add,
                                     const float *w0, double *w, size_t n_rows, size_t n,
                                     size_t n_steps, vd_err *err);

#endif
