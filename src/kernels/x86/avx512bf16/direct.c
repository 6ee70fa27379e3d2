/*
 * direct.c - products of few tokens with packed f16 and bf16 weights, in bf16, without a panel.
 *
 * A panel is written and read again, which pays when many tokens share it. Few tokens take two
 * columns of 16 rows at a time straight from the packed weights, whose order is that of a panel,
 * and f16 becomes bf16 in a register. vdpbf16ps has twice the rate of f32 multiplications, so with
 * 8 tokens a core computes about as fast as it can read. Sums run over all columns in the order of
 * panel.c: the bits are the same.
 *
 * Activations of a round of tokens lie together, zeros where it is wider than they are many:
 *
 *   | pair of columns 0: token 0, token 1, ... | pair 1: ... |      4 bytes each
 */
#include <string.h>

#include "base/checked.h"
#include "kernels/x86/x86.h"

#include "kernels/x86/avx512/packed.inc"

/* WIDEST: tokens of a round, whose sums fill most registers. AHEAD: bytes of weights that are
 * fetched to L2 before they are needed. */
enum { WIDEST = 24, AHEAD = 8192, PAIR_BYTES = 64, GROUPS = 2 };

INLINE __m512bh load_pair(int layout, const uint8_t *p)
{
    __m512i x = _mm512_load_si512(p);
    if (layout == VD_LAYOUT_BF16)
        return (__m512bh)x;
    return _mm512_cvtne2ps_pbh(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(x, 1)),
                               _mm512_cvtph_ps(_mm512_castsi512_si256(x)));
}

/* n_groups row groups against a round `width` wide, of which n_t tokens are there. */
INLINE void tile(int layout, size_t n_groups, size_t width, const uint8_t *group, size_t stride,
                 const uint32_t *record, const vd_panel *p, float *y, size_t n_rows)
{
    __m512 sum[GROUPS][WIDEST];
    for (size_t g = 0; g < n_groups; g++)
#pragma GCC unroll 24
        for (size_t t = 0; t < width; t++)
            sum[g][t] = _mm512_setzero_ps();
    for (size_t c = 0; c < p->n_cols; c += 2, group += PAIR_BYTES, record += width) {
        __m512bh w[GROUPS];
        for (size_t g = 0; g < n_groups; g++) {
            _mm_prefetch((const char *)group + g * stride + AHEAD, _MM_HINT_T1);
            w[g] = load_pair(layout, group + g * stride);
        }
#pragma GCC unroll 24
        for (size_t t = 0; t < width; t++) {
            __m512bh x = (__m512bh)_mm512_set1_epi32((int)record[t]);
            for (size_t g = 0; g < n_groups; g++)
                sum[g][t] = _mm512_dpbf16_ps(sum[g][t], w[g], x);
        }
    }
    for (size_t g = 0; g < n_groups && g * VD_GROUP < n_rows; g++) {
        size_t left = n_rows - g * VD_GROUP;
        __mmask16 rows = left >= VD_GROUP ? 0xffff : (__mmask16)((1u << left) - 1);
#pragma GCC unroll 24
        for (size_t t = 0; t < width; t++)
            if (t < p->n_tokens)
                _mm512_mask_storeu_ps(y + t * p->ld_y + g * VD_GROUP, rows, sum[g][t]);
    }
}

/* The sums of 4 tokens are too few to fill the pipes: two row groups at a time. */
INLINE void round_rows(int layout, size_t width, const vd_weight *weight, const uint32_t *records,
                       const vd_panel *p, size_t begin, size_t end)
{
    size_t stride = vd_layout_stride(layout, weight->n_cols), n = begin;
    const uint8_t *packed = weight->packed;
    for (; width <= 4 && end - n > VD_GROUP; n += VD_MIN(end - n, (size_t)GROUPS * VD_GROUP))
        tile(layout, GROUPS, width, packed + n / VD_GROUP * stride, stride, records, p,
             p->y + n, end - n);
    for (; n < end; n += VD_MIN(end - n, (size_t)VD_GROUP))
        tile(layout, 1, width, packed + n / VD_GROUP * stride, stride, records, p, p->y + n,
             end - n);
}

static void write_records(const vd_panel *p, size_t width, uint32_t *records)
{
    if (p->n_tokens < width)
        memset(records, 0, p->n_cols / 2 * width * sizeof *records);
    for (size_t t = 0; t < p->n_tokens; t++)
        for (size_t c = 0; c < p->n_cols; c += 2)
            memcpy(records + c / 2 * width + t, p->a + t * p->ld_a + c, sizeof *records);
}

INLINE void by_width(int layout, const vd_weight *weight, uint32_t *records, const vd_panel *p,
                     size_t begin, size_t end)
{
    size_t width = VD_MIN((p->n_tokens + 3) / 4 * 4, (size_t)WIDEST);
    if (width == 20)
        width = WIDEST;
    write_records(p, width, records);
    if (width == 4)
        round_rows(layout, 4, weight, records, p, begin, end);
    else if (width == 8)
        round_rows(layout, 8, weight, records, p, begin, end);
    else if (width == 12)
        round_rows(layout, 12, weight, records, p, begin, end);
    else if (width == 16)
        round_rows(layout, 16, weight, records, p, begin, end);
    else
        round_rows(layout, WIDEST, weight, records, p, begin, end);
}

void vd_avx512bf16_direct(const vd_weight *weight, const vd_panel *args, size_t begin, size_t end,
                          void *scratch)
{
    if (weight->layout == VD_LAYOUT_F16)
        by_width(VD_LAYOUT_F16, weight, scratch, args, begin, end);
    else
        by_width(VD_LAYOUT_BF16, weight, scratch, args, begin, end);
}
