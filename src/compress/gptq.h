/*
 * gptq.h - GPTQ (Frantar et al. 2022) for the block types of GGUF: the scales and minima of each
 * row are those that the encoder found for the weights as they were ("static groups"), and the
 * codes are then chosen column by column, each making up for what the ones before it left wrong
 * (obs.h). Columns come by falling size of their inputs ("act-order"), which fixed scales allow.
 *
 * Types of code books choose a point for eight columns at once, the nearest to where they have
 * arrived, each counting by its own 1 / U_jj^2 (GPTVQ, van Baalen et al. 2024).
 */
#ifndef VD_COMPRESS_GPTQ_H
#define VD_COMPRESS_GPTQ_H

#include "compress/grid.h"
#include "compress/obs.h"

/* w[n_rows, n], encoded to `rows` (row_bytes each, n / block blocks of grid) before: the codes
 * there become better ones, w what they mean. With keep_zeros weights that are zero stay so, or the
 * nearest to it that their row has. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_gptq_run(const vd_linalg *linalg, vd_pool *pool, const vd_obs *obs,
                                   const vd_grid *grid, bool keep_zeros, double *w, size_t n_rows,
                                   unsigned char *rows, size_t row_bytes, vd_err *err);

#endif
