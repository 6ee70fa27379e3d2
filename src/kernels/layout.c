/* layout.c - sizes and choice of the packed layouts. See layout.h. */
#include "kernels/layout.h"

#include "base/checked.h"

const vd_layout_info vd_layout_infos[VD_LAYOUT_LIMIT] = {
    [VD_LAYOUT_Q4] = {256, 32, 0, 8},   [VD_LAYOUT_Q4M] = {256, 64, 0, 0},
    [VD_LAYOUT_Q4K] = {256, 32, 64, 0}, [VD_LAYOUT_Q5] = {320, 32, 0, 16},
    [VD_LAYOUT_Q5M] = {320, 64, 0, 0},  [VD_LAYOUT_Q5K] = {320, 32, 64, 0},
    [VD_LAYOUT_Q6K] = {384, 32, 64, 32}, [VD_LAYOUT_Q8] = {512, 32, 0, 128},
    [VD_LAYOUT_Q8H] = {512, 32, 64, 128},
    [VD_LAYOUT_Q3H] = {256, 32, 64, 8}, [VD_LAYOUT_T4] = {256, 32, 0, 128},
    [VD_LAYOUT_T4H] = {256, 32, 64, 128}, [VD_LAYOUT_F4] = {256, 32, 0, 128},
    [VD_LAYOUT_Q4H] = {256, 64, 64, 0},  [VD_LAYOUT_F16] = {1024, 0, 0, 0},
    [VD_LAYOUT_BF16] = {1024, 0, 0, 0},
};

int vd_layout_for(vd_dtype dtype, size_t n_rows, size_t n_cols)
{
    static const uint8_t layouts[VD_DTYPE_LIMIT] = {
        [VD_DTYPE_Q4_0] = VD_LAYOUT_Q4,  [VD_DTYPE_Q4_1] = VD_LAYOUT_Q4M,
        [VD_DTYPE_Q4_K] = VD_LAYOUT_Q4K, [VD_DTYPE_Q8_0] = VD_LAYOUT_Q8,
        [VD_DTYPE_Q5_0] = VD_LAYOUT_Q5,  [VD_DTYPE_Q5_1] = VD_LAYOUT_Q5M,
        [VD_DTYPE_Q5_K] = VD_LAYOUT_Q5K, [VD_DTYPE_Q6_K] = VD_LAYOUT_Q6K,
        [VD_DTYPE_TQ1_0] = VD_LAYOUT_Q4,   [VD_DTYPE_TQ2_0] = VD_LAYOUT_Q4,
        [VD_DTYPE_Q1_0] = VD_LAYOUT_Q4,    [VD_DTYPE_Q2_0] = VD_LAYOUT_Q4,
        [VD_DTYPE_IQ4_NL] = VD_LAYOUT_T4,  [VD_DTYPE_MXFP4] = VD_LAYOUT_F4,
        [VD_DTYPE_Q3_K] = VD_LAYOUT_Q3H,   [VD_DTYPE_IQ4_XS] = VD_LAYOUT_T4H,
        [VD_DTYPE_IQ3_XXS] = VD_LAYOUT_Q8H, [VD_DTYPE_IQ3_S] = VD_LAYOUT_Q8H,
        [VD_DTYPE_IQ2_XXS] = VD_LAYOUT_Q8H, [VD_DTYPE_IQ2_XS] = VD_LAYOUT_Q8H,
        [VD_DTYPE_IQ2_S] = VD_LAYOUT_Q8H,  [VD_DTYPE_IQ1_S] = VD_LAYOUT_Q8H,
        [VD_DTYPE_IQ1_M] = VD_LAYOUT_Q8H,  [VD_DTYPE_Q2_K] = VD_LAYOUT_Q4H,
        [VD_DTYPE_F16] = VD_LAYOUT_F16,    [VD_DTYPE_BF16] = VD_LAYOUT_BF16,
    };
    return n_cols % VD_BLOCK == 0 ? layouts[dtype] : VD_LAYOUT_ROWS;
}

size_t vd_layout_bytes(int layout, size_t n_rows, size_t n_cols)
{
    size_t total, cells;
    /* No row group takes more than 4 bytes per value, even where half of its one pair is unused. */
    if (!vd_align_size(n_rows, VD_GROUP, &n_rows) || !vd_mul_size(n_rows, n_cols, &cells) ||
        !vd_mul_size(cells, 4, &total))
        return SIZE_MAX;
    return n_rows / VD_GROUP * vd_layout_stride(layout, n_cols);
}
