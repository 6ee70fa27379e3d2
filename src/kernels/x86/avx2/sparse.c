/*
 * sparse.c - sparse weights (sparse.h) with AVX2: a row group to its dense form, which the dense
 * products then read.
 *
 * AVX2 has no VPEXPANDB. Eight bits of a mask are a place in a table of shuffles, and one vpshufb
 * puts up to eight values where they belong; the ninth byte of its source is the zero of a Q8
 * block, which goes where there is no value. It does not pay at once: decoding is bound by
 * instructions here before it is by memory (a core of an AMD Zen 4 virtual machine, 2048 x 2048
 * from memory, half of the weights zero, wide, 1 token, 2026-11: 18 GOP/s, dense 29), so this level
 * takes the sparse form only where VERDANT_SPARSE says so, to save memory.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/sparse.h"
#include "kernels/x86/x86.h"

enum { ZERO_AT = 8, AHEAD = 4096 };

/* Where each of eight bytes comes from. Filled once, when the tables are built. */
static uint64_t shuffles[256];

static void fill_shuffles(void)
{
    for (unsigned mask = 0; mask < 256; mask++) {
        unsigned n = 0;
        uint64_t shuffle = 0;
        for (unsigned i = 0; i < 8; i++)
            shuffle |= (uint64_t)(mask >> i & 1 ? n++ : ZERO_AT) << 8 * i;
        shuffles[mask] = shuffle;
    }
}

/* 64 bytes of a block; returns where the next values begin. */
static inline const uint8_t *expand_quad(uint64_t mask, const uint8_t *value, uint8_t *q)
{
    const __m128i zero = _mm_set_epi64x(-128 & 0xff, 0);
    for (int i = 0; i < 8; i++) {
        unsigned bits = mask >> 8 * i & 0xff;
        __m128i some = _mm_or_si128(_mm_loadl_epi64((const __m128i *)value), zero);
        __m128i shuffle = _mm_loadl_epi64((const __m128i *)&shuffles[bits]);
        _mm_storel_epi64((__m128i *)(q + 8 * i), _mm_shuffle_epi8(some, shuffle));
        value += __builtin_popcount(bits);
    }
    return value;
}

static void sparse_expand(const uint8_t *stream, size_t n_cols, uint8_t *group)
{
    const vd_layout_info *info = &vd_layout_infos[VD_LAYOUT_Q8];
    for (size_t b = 0; b < n_cols / VD_BLOCK; b++) {
        const uint8_t *value = stream + VD_SPARSE_HEAD;
        uint8_t *q = group + vd_layout_q_at(info, b);
        for (size_t v = 0; v < VD_SPARSE_QUADS; v++) {
            uint64_t mask;
            memcpy(&mask, stream + 8 * v, sizeof mask);
            _mm_prefetch((const char *)stream + AHEAD + 64 * v, _MM_HINT_T0);
            value = expand_quad(mask, value, q + VD_SPARSE_QUAD * v);
        }
        memcpy(group + vd_layout_s_at(info, b), stream + 8 * VD_SPARSE_QUADS, 2 * VD_GROUP);
        stream = value;
    }
}

void vd_avx2_fill_sparse(vd_kernels *k)
{
    fill_shuffles();
    k->sparse_expand = sparse_expand;
}
