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
#include <string.h>

#include "kernels/x86/x86.h"

#include "kernels/x86/avx512/packed.inc"

/* AHEAD: bytes that the walk through the weights fetches ahead of itself. MANY: tokens from which
 * on linear_many.c takes over. */
enum { TOKENS = 2, AHEAD = 5120, MANY = 3 };

INLINE __m512i quad_at(const int8_t *x)
{
    int quad;
    memcpy(&quad, x, 4);
    return _mm512_set1_epi32(quad);
}

/* The 32 activations of one token in a block. */
typedef struct activations {
    const int8_t *q, *q_low;
    float scale, sum;
    const int32_t *neg_sum;
} activations;

INLINE void add_quads(const __m512i w[8], const int8_t *x, __m512i dot[2])
{
    for (int v = 0; v < 4; v++) {
        dot[0] = _mm512_dpbusd_epi32(dot[0], w[v], quad_at(x + 4 * v));
        dot[1] = _mm512_dpbusd_epi32(dot[1], w[4 + v], quad_at(x + 16 + 4 * v));
    }
}

/* One token against a block: its share of the 16 outputs is added to `sum`. */
INLINE __m512 add_block(int layout, bool wide, const __m512i w[8], const scales *s,
                        const activations *x, __m512 sum)
{
    __m512i dot[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    if (offset_shift(layout) >= 0)
        for (int h = 0; h < 2; h++)
            dot[h] = _mm512_slli_epi32(_mm512_set1_epi32(x->neg_sum[h]),
                                       (unsigned)offset_shift(layout));
    if (wide) {
        __m512i high[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        add_quads(w, x->q, high);
        add_quads(w, x->q_low, dot);
        for (int h = 0; h < 2; h++)
            dot[h] = _mm512_add_epi32(dot[h], _mm512_slli_epi32(high[h], 8));
    } else {
        add_quads(w, x->q, dot);
    }
    __m512 scale = _mm512_set1_ps(x->scale);
    if (in_halves(layout)) {
        __m512 both = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[0]), s->d[0]);
        both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[1]), s->d[1], both);
        for (int h = 0; layout == VD_LAYOUT_Q4H && h < 2; h++)
            both = _mm512_fmadd_ps(_mm512_set1_ps((float)x->neg_sum[h]), s->m[h], both);
        return _mm512_fmadd_ps(both, scale, sum);
    }
    __m512 whole = _mm512_cvtepi32_ps(_mm512_add_epi32(dot[0], dot[1]));
    sum = _mm512_fmadd_ps(_mm512_mul_ps(whole, scale), s->d[0], sum);
    if (has_min(layout))
        sum = _mm512_fmadd_ps(s->m[0], _mm512_set1_ps(x->sum), sum);
    return sum;
}

/* Fetches the lines of `bytes` at `p`. */
INLINE void fetch(const uint8_t *p, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        _mm_prefetch((const char *)p + at, _MM_HINT_T0);
}

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
                size_t at = i * n_blocks + b + k;
                const activations x = {.q = act->q + at * VD_BLOCK,
                                       .q_low = wide ? act->q_low + at * VD_BLOCK : NULL,
                                       .scale = act->scale[at],
                                       .sum = act->sum[at],
                                       .neg_sum = act->neg_sum + 2 * at};
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
