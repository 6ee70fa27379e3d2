/*
 * linear_packed.c - int8 products on packed weights with AVX2: the twin of the one in avx512/.
 *
 * A register holds 8 rows x 4 columns of q, so a row group is done in two halves. vpmaddubsw
 * multiplies unsigned by signed bytes and adds pairs in 16 bits, saturating; what fits without:
 *
 *   nibbles     2 * 15 * 127 per pair: all 8 quads of a block fit into 16 bits
 *   5 bits      2 * 31 * 127: the 4 quads of half a block fit
 *   6 bits      2 * 63 * 127: 2 quads fit
 *   8 bits      and values of tables do not; |q| and the activation with q's sign do, one quad:
 *               2 * 128 * 127
 *
 * vpmaddwd with ones then widens to 32 bits. Wide activations are two such rounds, and 256 times
 * the first sum plus the second. Whole-number sums and the order of f32 operations are those of
 * AVX-512, so both levels give the same bits.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/layout.h"
#include "kernels/x86/x86.h"

#include "kernels/common/layouts.inc"

/* AHEAD: bytes that the first walk through a row group prefetches ahead of itself. */
enum { TOKENS = 4, AHEAD = 4096 };

/* Scales of a block: value = d[0] * q + m; Q6K has a second scale for columns 16..31. */
typedef struct scales {
    __m256 d[2], m[2];
} scales;

INLINE __m256 load_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}

INLINE __m256 load_u8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

INLINE __m256 load_i8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/* The scales that stand once per 256 columns: d, and minus dmin (dmin itself in halves). half: rows
 * 0..7 or 8..15. */
INLINE void load_super(int layout, const uint8_t *t, size_t half, scales *super)
{
    super->d[0] = has_f32_super(layout) ? _mm256_load_ps((const float *)t + 8 * half)
                                          : load_f16(t + 16 * half);
    if (is_k(layout))
        super->m[0] = _mm256_sub_ps(_mm256_setzero_ps(), load_f16(t + 32 + 16 * half));
    else if (layout == VD_LAYOUT_Q4H)
        super->m[0] = load_f16(t + 32 + 16 * half);
}

INLINE scales load_scales(int layout, const uint8_t *s, size_t half, const scales *super)
{
    scales r;
    if (is_k(layout)) {
        r.d[0] = _mm256_mul_ps(super->d[0], load_u8(s + 8 * half));
        r.m[0] = _mm256_mul_ps(super->m[0], load_u8(s + 16 + 8 * half));
    } else if (layout == VD_LAYOUT_Q4H) {
        for (size_t h = 0; h < 2; h++) {
            r.d[h] = _mm256_mul_ps(super->d[0], load_u8(s + 16 * h + 8 * half));
            r.m[h] = _mm256_mul_ps(super->m[0], load_u8(s + 32 + 16 * h + 8 * half));
        }
    } else if (in_halves(layout)) {
        r.d[0] = _mm256_mul_ps(super->d[0], load_i8(s + 8 * half));
        r.d[1] = _mm256_mul_ps(super->d[0], load_i8(s + 16 + 8 * half));
    } else {
        r.d[0] = load_f16(s + 16 * half);
        if (has_min(layout))
            r.m[0] = load_f16(s + 32 + 16 * half);
    }
    return r;
}

INLINE __m256i quad_at(const int8_t *x)
{
    int quad;
    memcpy(&quad, x, 4);
    return _mm256_set1_epi32(quad);
}

INLINE __m256i widen(__m256i words)
{
    return _mm256_madd_epi16(words, _mm256_set1_epi16(1));
}

/* Sums of a block of nibbles for n_t tokens. q: this half's first register. */
INLINE void dot_nibbles(int n_t, const uint8_t *q, const int8_t *x, size_t ld_x, __m256i *dot)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i words[TOKENS];
    for (int v = 0; v < 4; v++) {
        __m256i both = _mm256_load_si256((const __m256i *)(q + 64 * v));
        __m256i first = _mm256_and_si256(both, low);
        __m256i second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        for (int i = 0; i < n_t; i++) {
            const int8_t *xt = x + (size_t)i * ld_x + 4 * v;
            __m256i a = _mm256_maddubs_epi16(first, quad_at(xt));
            __m256i b = _mm256_maddubs_epi16(second, quad_at(xt + 16));
            __m256i pair = _mm256_add_epi16(a, b);
            words[i] = v == 0 ? pair : _mm256_add_epi16(words[i], pair);
        }
    }
    for (int i = 0; i < n_t; i++)
        dot[i] = widen(words[i]);
}

/* Quads v and 4 + v of a layout of 4 to 6 bits. */
INLINE void two_quads(int layout, const uint8_t *q, int v, __m256i w[2])
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i both = _mm256_load_si256((const __m256i *)(q + 64 * v));
    w[0] = _mm256_and_si256(both, low);
    w[1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    for (int s = 0; s < 2 && bits_of(layout) > 4; s++) {
        bool one = bits_of(layout) == 5; /* upper bit: all in one plane */
        int left = one ? 4 - v - 4 * s : 4 - 2 * v;
        __m256i plane = _mm256_load_si256((const __m256i *)(q + 256 + (one ? 0 : 64 * s)));
        plane = left > 0 ? _mm256_slli_epi16(plane, left) : _mm256_srli_epi16(plane, -left);
        plane = _mm256_and_si256(plane, _mm256_set1_epi8(one ? 0x10 : 0x30));
        w[s] = _mm256_or_si256(w[s], plane);
    }
}

/* One sum for a whole block. */
INLINE bool in_one_sum(int layout)
{
    return has_nibbles(layout) && !in_halves(layout) && !has_table(layout);
}

/* Sums of a block of up to 6 bits, one for each half of the block. */
INLINE void dot_halves(int layout, int n_t, const uint8_t *q, const int8_t *x, size_t ld_x,
                       __m256i dot[2][TOKENS])
{
    int fit = bits_of(layout) == 6 ? 2 : 4; /* quads whose sum fits into 16 bits */
    __m256i words[2][TOKENS];
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < n_t; i++)
            words[h][i] = dot[h][i] = _mm256_setzero_si256();
    for (int v = 0; v < 4; v++) {
        __m256i part[2];
        two_quads(layout, q, v, part);
        for (int i = 0; i < n_t; i++)
            for (int h = 0; h < 2; h++) {
                const int8_t *xt = x + (size_t)i * ld_x + 4 * v + 16 * h;
                __m256i pair = _mm256_maddubs_epi16(part[h], quad_at(xt));
                words[h][i] = _mm256_add_epi16(words[h][i], pair);
                if (v % fit == fit - 1) {
                    dot[h][i] = _mm256_add_epi32(dot[h][i], widen(words[h][i]));
                    words[h][i] = _mm256_setzero_si256();
                }
            }
    }
}

/* One quad of full bytes w. */
INLINE __m256i dot_quad(__m256i w, const int8_t *x)
{
    return widen(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(quad_at(x), w)));
}

/* Sums of a block of places in a table, one for each half of the block. */
INLINE void dot_places(int layout, int n_t, const uint8_t *q, const int8_t *x, size_t ld_x,
                       __m256i dot[2][TOKENS])
{
    __m128i values = _mm_loadu_si128((const __m128i *)vd_layout_table(layout));
    __m256i table = _mm256_broadcastsi128_si256(values);
    for (int v = 0; v < 4; v++) {
        __m256i part[2];
        two_quads(layout, q, v, part);
        for (int h = 0; h < 2; h++) {
            __m256i w = _mm256_shuffle_epi8(table, part[h]);
            for (int i = 0; i < n_t; i++) {
                __m256i sums = dot_quad(w, x + (size_t)i * ld_x + 4 * v + 16 * h);
                dot[h][i] = v == 0 ? sums : _mm256_add_epi32(dot[h][i], sums);
            }
        }
    }
}

/* Sums of four quads of full bytes, which mean q - 128. */
INLINE void dot_bytes(int n_t, const uint8_t *q, const int8_t *x, size_t ld_x, __m256i *dot)
{
    for (int v = 0; v < 4; v++) {
        __m256i raw = _mm256_load_si256((const __m256i *)(q + 64 * v));
        __m256i w = _mm256_xor_si256(raw, _mm256_set1_epi8(-128));
        for (int i = 0; i < n_t; i++) {
            __m256i sums = dot_quad(w, x + (size_t)i * ld_x + 4 * v);
            dot[i] = v == 0 ? sums : _mm256_add_epi32(dot[i], sums);
        }
    }
}

/* Sums of a block against one plane of activations, by halves of the block; nibbles without scales
 * for halves give one sum for both. */
INLINE void dot_block(int layout, int n_t, const uint8_t *q, const int8_t *x, size_t ld_x,
                      __m256i dot[2][TOKENS])
{
    if (bits_of(layout) == 8) {
        dot_bytes(n_t, q, x, ld_x, dot[0]);
        dot_bytes(n_t, q + 256, x + 16, ld_x, dot[1]);
    } else if (has_table(layout)) {
        dot_places(layout, n_t, q, x, ld_x, dot);
    } else if (in_one_sum(layout)) {
        dot_nibbles(n_t, q, x, ld_x, dot[0]);
    } else {
        dot_halves(layout, n_t, q, x, ld_x, dot);
    }
}

/* 8 rows against tokens [t, t + n_t). */
INLINE void tile(int layout, bool wide, int n_t, const uint8_t *group, size_t half, size_t n_cols,
                 const vd_act *act, size_t t, __m256 *sum)
{
    size_t n_blocks = n_cols / VD_BLOCK;
    size_t q_bytes = q_bytes_of(layout), s_bytes = s_bytes_of(layout);
    int offset = layout == VD_LAYOUT_Q6K ? 32 : layout == VD_LAYOUT_Q3H ? 8 : 0; /* in halves */
    int n_halves = in_one_sum(layout) ? 1 : 2;
    const uint8_t *pair = group;
    const int8_t *x = act->q + t * n_cols;
    const float *x_scale = act->scale + t * n_blocks, *x_sum = act->sum + t * n_blocks;
    const int32_t *neg_sum = act->neg_sum + t * 2 * n_blocks;
    scales super = {{_mm256_setzero_ps()}, {_mm256_setzero_ps()}};

    for (int i = 0; i < n_t; i++)
        sum[i] = _mm256_setzero_ps();
    for (size_t b = 0; b < n_blocks; b++) {
        __m256i dot[2][TOKENS];
        if (has_super(layout) && b % 8 == 0)
            load_super(layout, pair + 8 * (q_bytes + s_bytes), half, &super);
        const uint8_t *q = pair + b % 2 * q_bytes + 32 * half;
        for (size_t line = 0; half == 0 && t == 0 && line < q_bytes + s_bytes; line += 64)
            _mm_prefetch((const char *)q + AHEAD + line, _MM_HINT_T0);
        scales sc = load_scales(layout, pair + 2 * q_bytes + b % 2 * s_bytes, half, &super);
        dot_block(layout, n_t, q, x + b * VD_BLOCK, n_cols, dot);
        if (wide) {
            __m256i low[2][TOKENS];
            dot_block(layout, n_t, q, act->q_low + t * n_cols + b * VD_BLOCK, n_cols, low);
            for (int h = 0; h < n_halves; h++)
                for (int i = 0; i < n_t; i++)
                    dot[h][i] = _mm256_add_epi32(_mm256_slli_epi32(dot[h][i], 8), low[h][i]);
        }
        for (int i = 0; i < n_t; i++) {
            size_t at = (size_t)i * n_blocks + b;
            __m256 scale = _mm256_set1_ps(x_scale[at]);
            if (in_halves(layout)) {
                __m256i whole[2];
                for (int h = 0; h < 2; h++)
                    whole[h] = offset == 0
                                   ? dot[h][i]
                                   : _mm256_add_epi32(dot[h][i], _mm256_set1_epi32(
                                                          offset * neg_sum[2 * at + h]));
                __m256 both = _mm256_mul_ps(_mm256_cvtepi32_ps(whole[0]), sc.d[0]);
                both = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[1]), sc.d[1], both);
                for (size_t h = 0; layout == VD_LAYOUT_Q4H && h < 2; h++)
                    both = _mm256_fmadd_ps(_mm256_set1_ps((float)neg_sum[2 * at + h]), sc.m[h],
                                           both);
                sum[i] = _mm256_fmadd_ps(both, scale, sum[i]);
                continue;
            }
            __m256i whole = dot[0][i];
            if (!in_one_sum(layout))
                whole = _mm256_add_epi32(whole, dot[1][i]);
            if (layout == VD_LAYOUT_Q4 || layout == VD_LAYOUT_Q5)
                whole = _mm256_add_epi32(
                    whole, _mm256_set1_epi32((layout == VD_LAYOUT_Q4 ? 8 : 16) *
                                             (neg_sum[2 * at] + neg_sum[2 * at + 1])));
            __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(whole), scale);
            sum[i] = _mm256_fmadd_ps(scaled, sc.d[0], sum[i]);
            if (has_min(layout))
                sum[i] = _mm256_fmadd_ps(sc.m[0], _mm256_set1_ps(x_sum[at]), sum[i]);
        }
        pair += b % 2 * 2 * (q_bytes + s_bytes);
        if (has_super(layout) && b % 8 == 7)
            pair += 64;
    }
}

/* Both halves of a row group, then the outputs that are asked for. */
INLINE void tile_pair(int layout, bool wide, int n_t, const uint8_t *group, size_t n_cols,
                      const vd_act *act, size_t t, float *y, size_t ld_y, size_t n_rows)
{
    for (size_t half = 0; 8 * half < n_rows; half++) {
        __m256 sum[TOKENS];
        tile(layout, wide, n_t, group, half, n_cols, act, t, sum);
        for (int i = 0; i < n_t; i++) {
            float *out = y + (t + (size_t)i) * ld_y + 8 * half;
            if (n_rows >= 8 * half + 8) {
                _mm256_storeu_ps(out, sum[i]);
            } else {
                float part[8];
                _mm256_storeu_ps(part, sum[i]);
                memcpy(out, part, (n_rows - 8 * half) * sizeof *out);
            }
        }
    }
}

/* Row groups outside, tokens inside: a group's weights stay in cache for all tokens. */
INLINE void tiles(int layout, bool wide, const uint8_t *packed, size_t n_cols, const vd_act *act,
                  float *y, size_t ld_y, size_t begin, size_t end)
{
    size_t stride = vd_layout_stride(layout, n_cols);
    for (size_t n = begin; n < end; n += VD_GROUP) {
        const uint8_t *group = packed + n / VD_GROUP * stride;
        size_t n_rows = end - n < VD_GROUP ? end - n : VD_GROUP, t = 0;
        for (; t + 4 <= act->n_rows; t += 4)
            tile_pair(layout, wide, 4, group, n_cols, act, t, y + n, ld_y, n_rows);
        if (act->n_rows - t >= 2) {
            tile_pair(layout, wide, 2, group, n_cols, act, t, y + n, ld_y, n_rows);
            t += 2;
        }
        if (t < act->n_rows)
            tile_pair(layout, wide, 1, group, n_cols, act, t, y + n, ld_y, n_rows);
    }
}

#include "kernels/common/linear_packed.inc"

void vd_avx2_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                           const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}
