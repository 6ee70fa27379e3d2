/* linear_packed_evex.c - linear_packed.c of this folder in the EVEX encoding, so that processors
 * with AVX-512 and without AVX-VNNI can test it. Built for vd_check alone. */
#include "kernels/x86/x86.h"

#include <immintrin.h>

static inline __m256i dpbusd(__m256i sum, __m256i q, __m256i x)
{
    return _mm256_dpbusd_epi32(sum, q, x);
}

#include "kernels/x86/avxvnni/product.inc"

void vd_avxvnni_evex_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                                   const vd_act *act, float *y, size_t ld_y, size_t begin,
                                   size_t end)
{
    by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}
