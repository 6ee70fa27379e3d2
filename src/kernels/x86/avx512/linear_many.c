/* linear_many.c - dense packed weights and many tokens, see many.inc. */
#include "kernels/sparse.h"
#include "kernels/x86/x86.h"

#include "kernels/x86/avx512/packed.inc"

/* This level has no sparse weights: never called. */
INLINE const uint8_t *load_sparse(const uint8_t *stream, __m512i w[8], scales *s)
{
    return stream;
}

#include "kernels/x86/avx512/many.inc"

INLINE void tiles(int layout, bool wide, const uint8_t *packed, size_t n_cols, const vd_act *act,
                  float *y, size_t ld_y, size_t begin, size_t end)
{
    all_tiles(layout, false, wide, packed, n_cols, act, y, ld_y, begin, end);
}

#include "kernels/common/linear_packed.inc"

void vd_avx512_linear_many(int layout, const void *packed, size_t n_cols, const vd_act *act,
                           float *y, size_t ld_y, size_t begin, size_t end)
{
    by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}
