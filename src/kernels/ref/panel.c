/* panel.c - products through bf16 panels, one value at a time. See kernels.h. */
#include <string.h>

#include "base/checked.h"
#include "kernels/ref/ref.h"

void vd_ref_round_row(const float *x, uint16_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        b[i] = vd_f32_to_bf16(x[i]);
}

/* Where row r of a panel of n_cols columns has its column c. */
static size_t panel_at(size_t n_cols, size_t r, size_t c)
{
    return r / VD_PANEL_GROUP * VD_PANEL_GROUP * n_cols + c / 2 * 2 * VD_PANEL_GROUP +
           r % VD_PANEL_GROUP * 2 + c % 2;
}

void vd_ref_panel_unpack(const vd_weight *weight, size_t n, size_t n_rows, uint16_t *panel)
{
    enum { PART = 256 }; /* columns: a multiple of every type's block */
    const unsigned char *rows = weight->rows;
    size_t n_padded = (weight->n_cols + VD_PANEL_COLS - 1) / VD_PANEL_COLS * VD_PANEL_COLS;
    size_t n_groups = (n_rows + VD_PANEL_GROUP - 1) / VD_PANEL_GROUP;
    const vd_dtype_info *info = vd_dtype_get(weight->dtype);
    float values[PART];

    memset(panel, 0, n_groups * VD_PANEL_GROUP * n_padded * sizeof *panel);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < weight->n_cols; c += PART) {
            size_t n_part = VD_MIN(weight->n_cols - c, (size_t)PART);
            vd_dtype_decode(weight->dtype,
                            rows + (n + r) * weight->row_bytes + c / info->block * info->bytes,
                            values, n_part);
            for (size_t i = 0; i < n_part; i++)
                panel[panel_at(n_padded, r, c + i)] = vd_f32_to_bf16(values[i]);
        }
}

void vd_ref_panel_product(const vd_panel *args)
{
    for (size_t t = 0; t < args->n_tokens; t++)
        for (size_t r = 0; r < args->n_rows; r++) {
            double total = 0;
            for (size_t c = 0; c < args->n_cols; c++)
                total += (double)vd_bf16_to_f32(args->a[t * args->ld_a + c]) *
                         (double)vd_bf16_to_f32(args->b[panel_at(args->n_cols, r, c)]);
            args->y[t * args->ld_y + r] = (float)total;
        }
}
