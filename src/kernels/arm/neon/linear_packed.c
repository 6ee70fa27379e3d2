/*
 * linear_packed.c - int8 products on packed weights with what every AArch64 has: SMLAL multiplies
 * int8 and adds in 16 bits, wrapping; SADALP adds pairs of those to 32 bits. Into 16 bits fit:
 *
 *   4 to 6 bits  the 4 quads of half a block: 4 * 63 * 127 = 32004
 *   8 bits       2 quads: 2 * 128 * 127 = 32512
 */
enum { SIGNED_BYTES = 1 };

#include "kernels/arm/arm.h"

#include "kernels/arm/packed.inc"

INLINE void order_q(int n_t, uint8x16_t w[8])
{
}

/* Pairs of columns of rows 0 and 1, of rows 2 and 3. */
INLINE void add_two_quads(uint8x16_t w0, uint8x16_t w1, int8x16_t x0, int8x16_t x1,
                          bool first, int16x8_t words[2])
{
    int8x16_t a = vreinterpretq_s8_u8(w0), b = vreinterpretq_s8_u8(w1);
    if (first) {
        words[0] = vmull_s8(vget_low_s8(a), vget_low_s8(x0));
        words[1] = vmull_high_s8(a, x0);
    } else {
        words[0] = vmlal_s8(words[0], vget_low_s8(a), vget_low_s8(x0));
        words[1] = vmlal_high_s8(words[1], a, x0);
    }
    words[0] = vmlal_s8(words[0], vget_low_s8(b), vget_low_s8(x1));
    words[1] = vmlal_high_s8(words[1], b, x1);
}

/* Adds the 4 quads of half a block. */
INLINE void add_half(int layout, const uint8x16_t w[4], const int8_t *x, int32x4_t pairs[2])
{
    int32x4_t all = vreinterpretq_s32_s8(vld1q_s8(x));
    int8x16_t x0 = vreinterpretq_s8_s32(vdupq_laneq_s32(all, 0));
    int8x16_t x1 = vreinterpretq_s8_s32(vdupq_laneq_s32(all, 1));
    int8x16_t x2 = vreinterpretq_s8_s32(vdupq_laneq_s32(all, 2));
    int8x16_t x3 = vreinterpretq_s8_s32(vdupq_laneq_s32(all, 3));
    int16x8_t words[2];
    add_two_quads(w[0], w[1], x0, x1, true, words);
    if (has_bytes(layout)) {
        pairs[0] = vpadalq_s16(pairs[0], words[0]);
        pairs[1] = vpadalq_s16(pairs[1], words[1]);
    }
    add_two_quads(w[2], w[3], x2, x3, has_bytes(layout), words);
    pairs[0] = vpadalq_s16(pairs[0], words[0]);
    pairs[1] = vpadalq_s16(pairs[1], words[1]);
}

INLINE void dots(int layout, int n_t, const uint8x16_t w[8], const int8_t *x, size_t ld,
                 int32x4_t dot[][2])
{
    for (int i = 0; i < n_t; i++) {
        const int8_t *xt = x + (size_t)i * ld;
        int32x4_t pairs[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
        add_half(layout, w, xt, pairs);
        if (in_halves(layout)) {
            dot[i][0] = vaddq_s32(dot[i][0], vpaddq_s32(pairs[0], pairs[1]));
            pairs[0] = pairs[1] = vdupq_n_s32(0);
        }
        add_half(layout, w + 4, xt + 16, pairs);
        int h = in_halves(layout) ? 1 : 0;
        dot[i][h] = vaddq_s32(dot[i][h], vpaddq_s32(pairs[0], pairs[1]));
    }
}

#include "kernels/arm/tiles.inc"

#include "kernels/common/linear_packed.inc"

void vd_neon_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                           const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    if (vd_layout_is_float(layout))
        vd_neon_linear_half(layout, packed, n_cols, act, y, ld_y, begin, end);
    else
        by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}
