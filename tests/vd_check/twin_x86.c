/* twin_x86.c - "avxvnni-evex": AVX-VNNI's products in the encoding of AVX-512. */
#include <string.h>

#include "check.h"
#include "kernels/layout.h"
#include "kernels/x86/x86.h"

static void linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                          const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    if (vd_layout_is_float(layout))
        vd_avx2_linear(layout, packed, n_rows, n_cols, act, y, ld_y, begin, end);
    else
        vd_avxvnni_evex_linear_packed(layout, packed, n_rows, n_cols, act, y, ld_y, begin, end);
}

const vd_kernels *check_twin(const char *name)
{
    static vd_kernels twin;
    if (strcmp(name, "avxvnni-evex") != 0 || !vd_x86_runs(VD_X86_AVX512))
        return NULL;
    twin = *vd_kernels_level("avx2");
    twin.name = "avxvnni-evex";
    twin.linear_packed = linear_packed;
    return &twin;
}
