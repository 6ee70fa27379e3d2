/* linear_packed.c - the level "avxvnni": AVX2 with AVX-VNNI, the VEX encoding of vpdpbusd. */
#include "kernels/x86/x86.h"

#include <immintrin.h>

static inline __m256i dpbusd(__m256i sum, __m256i q, __m256i x)
{
    return _mm256_dpbusd_avx_epi32(sum, q, x);
}

#include "kernels/x86/avxvnni/product.inc"

static void linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                          const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    if (vd_layout_is_float(layout))
        vd_avx2_linear(layout, packed, n_rows, n_cols, act, y, ld_y, begin, end);
    else
        by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}

void vd_avxvnni_fill(vd_kernels *k)
{
    k->name = "avxvnni";
    k->linear_packed = linear_packed;
}
