/*
 * linear_packed.c - int8 products on packed weights with AVX-512 VNNI.
 *
 * A register holds 16 rows x 4 columns of q; vpdpbusd multiplies it with 4 activations, the same
 * for all rows, and adds the four products of each row to that row's 32-bit sum. A block of 32
 * columns is 8 such steps: the sum is exact (at most 32 * 255 * 127). Layouts whose q have an
 * offset start their sums at offset * neg_sum instead of 0. Wide activations take a second 8 steps
 * on the same weights, and 256 times the first sum plus the second is exact too. Each block is then
 * scaled and added in f32.
 *
 * The body is written once for all layouts, widths and numbers of tokens: `layout`, `wide` and
 * `n_t` are constants at each call and the compiler drops what does not apply. From three tokens on
 * linear_many.c does it.
 */
#include <immintrin.h>

#include "kernels/x86/x86.h"

#include "kernels/x86/avx512/few.inc"

enum { MANY = 3 }; /* tokens from which on linear_many.c takes over */

/* 16 rows against n_t tokens. What is fetched ahead has no gaps, not even from one row group to the
 * next, or each would cost a wait for memory. */
INLINE void tile(int layout, bool wide, size_t n_t, const uint8_t *group, size_t n_cols,
                 const vd_act *act, float *y, size_t ld_y, __mmask16 rows)
{
    size_t n_blocks = n_cols / VD_BLOCK, q_bytes = q_bytes_of(layout), s_bytes = s_bytes_of(layout);
    size_t pair_bytes = 2 * (q_bytes + s_bytes), half = (pair_bytes / 2 + 63) / 64 * 64;
    const uint8_t *pair = group;
    __m512 sum[TOKENS];
    scales super = {{_mm512_setzero_ps()}, {_mm512_setzero_ps()}};

    for (size_t i = 0; i < n_t; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t b = 0; b < n_blocks; b += 2) {
        if (has_super(layout) && b % 8 == 0)
            load_super(layout, pair + 4 * pair_bytes, &super);
        for (size_t k = 0; k < 2 && b + k < n_blocks; k++) {
            __m512i w[8];
            fetch(pair + AHEAD + k * half, k == 0 ? half : pair_bytes - half);
            load_q(layout, pair + k * q_bytes, w);
            scales s = load_scales(layout, pair + 2 * q_bytes + k * s_bytes, &super);
            for (size_t i = 0; i < n_t; i++) {
                const activations x = activations_at(wide, act, i, b + k);
                sum[i] = add_block(layout, wide, w, &s, &x, sum[i]);
            }
        }
        pair += pair_bytes;
        if (has_super(layout) && b % 8 == 6) {
            fetch(pair + AHEAD, 64);
            pair += 64;
        }
    }
    for (size_t i = 0; i < n_t; i++)
        _mm512_mask_storeu_ps(y + i * ld_y, rows, sum[i]);
}

/* Row groups outside, tokens inside: a group's weights stay in cache for all tokens. */
INLINE void tiles(int layout, bool wide, const uint8_t *packed, size_t n_cols, const vd_act *act,
                  float *y, size_t ld_y, size_t begin, size_t end)
{
    size_t stride = vd_layout_stride(layout, n_cols);
    for (size_t n = begin; n < end; n += VD_GROUP) {
        const uint8_t *group = packed + n / VD_GROUP * stride;
        size_t left = end - n;
        __mmask16 rows = left >= VD_GROUP ? 0xffff : (__mmask16)((1u << left) - 1);
        if (act->n_rows == 2)
            tile(layout, wide, 2, group, n_cols, act, y + n, ld_y, rows);
        else if (act->n_rows == 1)
            tile(layout, wide, 1, group, n_cols, act, y + n, ld_y, rows);
    }
}

#include "kernels/common/linear_packed.inc"

void vd_avx512_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                             const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    if (act->n_rows >= MANY)
        vd_avx512_linear_many(layout, packed, n_cols, act, y, ld_y, begin, end);
    else
        by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}
