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
#include "kernels/x86/x86.h"

#include "kernels/x86/avx2/packed.inc"

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

/* Full bytes are taken as signed ones, all others as they are. */
INLINE int offset_left(int layout)
{
    return bits_of(layout) == 8 ? 0 : offset_of(layout);
}

#include "kernels/x86/avx2/tiles.inc"

void vd_avx2_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                           const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end)
{
    by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}
