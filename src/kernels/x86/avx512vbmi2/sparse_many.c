/* sparse_many.c - sparse weights and some tokens: many.inc with blocks by VPEXPANDB. */
#include "kernels/x86/x86.h"

#include "kernels/x86/avx512vbmi2/expand.inc"

#include "kernels/x86/avx512/many.inc"

void vd_avx512vbmi2_sparse_many(const void *packed, size_t n_cols, const vd_act *act, float *y,
                                size_t ld_y, size_t begin, size_t end)
{
    if (act->q_low != NULL)
        all_tiles(VD_LAYOUT_Q8, true, true, packed, n_cols, act, y, ld_y, begin, end);
    else
        all_tiles(VD_LAYOUT_Q8, true, false, packed, n_cols, act, y, ld_y, begin, end);
}
