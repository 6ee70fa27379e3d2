/*
 * linear_packed.c - int8 products on packed weights with FEAT_DotProd: SDOT multiplies 4 columns of
 * 4 rows with 4 activations, the same for all rows, and adds them to each row's 32-bit sum. The
 * activations stay 16 to a register: the instruction names the quad.
 */
enum { SIGNED_BYTES = 1 };

#include "kernels/arm/arm.h"

#include "kernels/arm/packed.inc"

INLINE void order_q(int n_t, uint8x16_t w[8])
{
}

INLINE int32x4_t add_half(const uint8x16_t w[4], int8x16_t x, int32x4_t sum)
{
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w[0]), x, 0);
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w[1]), x, 1);
    sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w[2]), x, 2);
    return vdotq_laneq_s32(sum, vreinterpretq_s8_u8(w[3]), x, 3);
}

INLINE void dots(int layout, int n_t, const uint8x16_t w[8], const int8_t *x, size_t ld,
                 int32x4_t dot[][2])
{
    int second = in_halves(layout) ? 1 : 0;
    for (int i = 0; i < n_t; i++) {
        const int8_t *xt = x + (size_t)i * ld;
        dot[i][0] = add_half(w, vld1q_s8(xt), dot[i][0]);
        dot[i][second] = add_half(w + 4, vld1q_s8(xt + 16), dot[i][second]);
    }
}

#include "kernels/arm/tiles.inc"

#include "kernels/common/linear_packed.inc"

static void dotprod_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                                  const vd_act *act, float *y, size_t ld_y, size_t begin,
                                  size_t end)
{
    if (vd_layout_is_float(layout))
        vd_neon_linear_half(layout, packed, n_cols, act, y, ld_y, begin, end);
    else
        by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}

void vd_dotprod_fill(vd_kernels *k)
{
    k->name = "dotprod";
    k->linear_packed = dotprod_linear_packed;
}
