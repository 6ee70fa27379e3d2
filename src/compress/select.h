/*
 * select.h - statistics of the magnitudes of a matrix that may be larger than memory, exactly.
 *
 * Rows are decoded one at a time by all threads, passed through a function of the caller, and
 * counted. The k-th smallest magnitude needs two passes, each with a histogram of 16 bits: the
 * magnitudes of floats sort as their bits do. Nothing depends on the number of threads.
 */
#ifndef VD_COMPRESS_SELECT_H
#define VD_COMPRESS_SELECT_H

#include <stdint.h>
#include <verdant/status.h>

#include "base/pool.h"
#include "kernels/dtype.h"

/* The rows of a tensor as a file has them; borrowed. */
typedef struct vd_rows {
    vd_dtype dtype;
    const unsigned char *data;
    size_t n_rows, n_cols, row_bytes;
} vd_rows;

/* Changes a decoded row; called by many threads at once. */
typedef void (*vd_row_fn)(const void *ctx, float *x, size_t n_cols);

typedef struct vd_scan {
    vd_pool *pool;
    float *scratch;   /* [n_threads, n_cols], the caller's */
    vd_row_fn change; /* NULL: rows as they are */
    const void *ctx;
} vd_scan;

/* The rank-th smallest |x|, rank in [1, values]. NaNs are larger than everything. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_select_magnitude(const vd_scan *scan, const vd_rows *rows, uint64_t rank,
                                           float *ret, vd_err *err);
/* The root mean square of all values. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_select_rms(const vd_scan *scan, const vd_rows *rows, double *ret,
                                     vd_err *err);
/* ret_below: how many |x| < cut; ret_equal[n_rows]: how many |x| == cut in each row. */
void vd_select_count(const vd_scan *scan, const vd_rows *rows, float cut, uint64_t *ret_below,
                     uint32_t *ret_equal);

#endif
