/*
 * linear_packed.c - int8 products on packed weights with FEAT_I8MM, which multiplies unsigned
 * weights by signed activations, so that full bytes need no change of sign.
 *
 *   one token     USDOT, as SDOT in dotprod/
 *   two and more  USMMLA: 2 rows x 8 columns of weights by 8 columns x 2 tokens, 32 products and
 *                 not 16. Two quads of 4 rows, interleaved by ZIP1 and ZIP2, are rows 0 and 1 and
 *                 rows 2 and 3 of 8 columns: 8 zips per 4 rows of a block, for all its tokens.
 */
enum { SIGNED_BYTES = 0 };

#include "kernels/arm/arm.h"

#include "kernels/arm/packed.inc"

/* w[2i], w[2i + 1]: rows 0 and 1, rows 2 and 3 of columns 8i..8i+7. */
INLINE void order_q(int n_t, uint8x16_t w[8])
{
    for (int i = 0; n_t > 1 && i < 8; i += 2) {
        uint32x4_t a = vreinterpretq_u32_u8(w[i]), b = vreinterpretq_u32_u8(w[i + 1]);
        w[i] = vreinterpretq_u8_u32(vzip1q_u32(a, b));
        w[i + 1] = vreinterpretq_u8_u32(vzip2q_u32(a, b));
    }
}

INLINE int32x4_t add_half(const uint8x16_t w[4], int8x16_t x, int32x4_t sum)
{
    sum = vusdotq_laneq_s32(sum, w[0], x, 0);
    sum = vusdotq_laneq_s32(sum, w[1], x, 1);
    sum = vusdotq_laneq_s32(sum, w[2], x, 2);
    return vusdotq_laneq_s32(sum, w[3], x, 3);
}

/* Half a block of two tokens. square[0]: row 0 of both tokens, row 1 of both; [1]: rows 2 and 3. */
INLINE void add_square(const uint8x16_t w[4], const int8_t *x, size_t ld, int32x4_t square[2])
{
    int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(x)), b = vreinterpretq_s64_s8(vld1q_s8(x + ld));
    int8x16_t first = vreinterpretq_s8_s64(vzip1q_s64(a, b));
    int8x16_t second = vreinterpretq_s8_s64(vzip2q_s64(a, b));
    for (int r = 0; r < 2; r++) {
        square[r] = vusmmlaq_s32(square[r], w[r], first);
        square[r] = vusmmlaq_s32(square[r], w[2 + r], second);
    }
}

INLINE void add_apart(const int32x4_t square[2], int h, int32x4_t dot[][2])
{
    dot[0][h] = vaddq_s32(dot[0][h], vuzp1q_s32(square[0], square[1]));
    dot[1][h] = vaddq_s32(dot[1][h], vuzp2q_s32(square[0], square[1]));
}

INLINE void dots(int layout, int n_t, const uint8x16_t w[8], const int8_t *x, size_t ld,
                 int32x4_t dot[][2])
{
    int second = in_halves(layout) ? 1 : 0;
    if (n_t == 1) {
        dot[0][0] = add_half(w, vld1q_s8(x), dot[0][0]);
        dot[0][second] = add_half(w + 4, vld1q_s8(x + 16), dot[0][second]);
        return;
    }
    for (int i = 0; i < n_t; i += 2) {
        const int8_t *xt = x + (size_t)i * ld;
        int32x4_t square[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
        add_square(w, xt, ld, square);
        if (in_halves(layout)) {
            add_apart(square, 0, dot + i);
            square[0] = square[1] = vdupq_n_s32(0);
        }
        add_square(w + 4, xt + 16, ld, square);
        add_apart(square, second, dot + i);
    }
}

#include "kernels/arm/tiles.inc"

#include "kernels/common/linear_packed.inc"

static void i8mm_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                               const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    if (vd_layout_is_float(layout))
        vd_neon_linear_half(layout, packed, n_cols, act, y, ld_y, begin, end);
    else
        by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}

void vd_i8mm_fill(vd_kernels *k)
{
    k->name = "i8mm";
    k->linear_packed = i8mm_linear_packed;
}
