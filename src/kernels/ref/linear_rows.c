/* linear_rows.c - an exact product: each row is decoded once and met with every token. */
#include "kernels/ref/ref.h"

void vd_ref_linear_rows(const vd_weight *weight, const vd_act *act, float *y, size_t ld_y,
                        size_t begin, size_t end, float *scratch)
{
    const unsigned char *rows = weight->rows;
    for (size_t n = begin; n < end; n++) {
        vd_dtype_decode(weight->dtype, rows + n * weight->row_bytes, scratch, weight->n_cols);
        for (size_t t = 0; t < act->n_rows; t++) {
            const float *x = act->x + t * act->ld_x;
            double total = 0;
            for (size_t i = 0; i < weight->n_cols; i++)
                total += (double)x[i] * (double)scratch[i];
            y[t * ld_y + n] = (float)total;
        }
    }
}
