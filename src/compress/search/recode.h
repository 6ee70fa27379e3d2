/*
 * recode.h - a tensor of the source as another type in memory, pruned before if so wanted, and how
 * far off its values are.
 */
#ifndef VD_COMPRESS_SEARCH_RECODE_H
#define VD_COMPRESS_SEARCH_RECODE_H

#include "base/pool.h"
#include "kernels/dtype.h"
#include "model/gguf.h"

typedef struct vd_recode {
    const vd_gguf_tensor *tensor;
    vd_dtype to;
    double keep;             /* share of each row that stays, by Wanda; 1: nothing goes */
    const float *weights;    /* [ceil(rows / rows_per_weights), n_cols] as for vd_encode_row, or
                                NULL: all count alike */
    size_t rows_per_weights; /* rows of the tensor that share a row of them */
    size_t row_step;         /* every so many rows; 1: all */
} vd_recode;

/* The sum of w * (x - value)^2 over the rows, in double precision. ret_rows (NULL: not wanted): all
 * the encoded rows, vd_free; with row_step 1 only. VD_ERR_FORMAT where a value is not finite or too
 * large for the type, with the tensor's name. */
VD_NODISCARD vd_status vd_recode_run(const vd_recode *recode, vd_pool *pool,
                                     unsigned char **ret_rows, double *ret_error, vd_err *err);

#endif
