/* table.c - the level "avx2": AVX2 with FMA and F16C. The operations themselves are written once,
 * in common/, in the words of this folder's vec.inc; the packed product is this level's own. */
#include <float.h>
#include <math.h>

#include "base/checked.h"
#include "kernels/layout.h"
#include "kernels/ref/ref.h"
#include "kernels/x86/x86.h"

#include "kernels/x86/avx2/vec.inc"

#include "kernels/common/exp.inc"

#include "kernels/common/elementwise.inc"
#include "kernels/common/fit.inc"
#include "kernels/common/layer_norm.inc"
#include "kernels/common/linear_half.inc"
#include "kernels/common/linear_rows.inc"
#include "kernels/common/quantize_row.inc"
#include "kernels/common/rms_norm.inc"
#include "kernels/common/rope.inc"
#include "kernels/common/store_kv.inc"

#include "kernels/common/attn.inc"

void vd_avx2_linear(int layout, const void *packed, size_t n_rows, size_t n_cols,
                    const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    if (vd_layout_is_float(layout))
        op_linear_half(layout, packed, n_cols, act, y, ld_y, begin, end);
    else
        vd_avx2_linear_packed(layout, packed, n_rows, n_cols, act, y, ld_y, begin, end);
}

void vd_avx2_fill(vd_kernels *k)
{
    k->name = "avx2";
    k->quantize_row = op_quantize_row;
    k->dot_row = op_dot_row;
    k->linear_rows = op_linear_rows;
    k->layout_for = vd_layout_for;
    k->linear_packed = vd_avx2_linear;
    k->rms_norm = op_rms_norm;
    k->layer_norm = op_layer_norm;
    k->rope = op_rope;
    k->add = op_add;
    k->silu_mul = op_silu_mul;
    k->gelu_mul = op_gelu_mul;
    k->gelu = op_gelu;
    k->attn = op_attn;
    k->store_kv = op_store_kv;
    vd_avx2_fill_sparse(k);
    k->fit_sums = op_fit_sums;
    k->fit_errors = op_fit_errors;
}
