/*
 * linear_many.c - int8 products on packed weights for many tokens with AVX-512 VNNI.
 *
 * The arithmetic, and its order, are those of linear_packed.c, and so are the bits. What is bound
 * there by reading weights is bound here by the two pipes that multiply: 8 vpdpbusd for a block of
 * 16 rows x 32 columns and a token, a multiplication and a fused one for the two scales, one more
 * for a minimum. Whatever else there is must run beside them. So up to 8 tokens share one unpacking
 * of a block, their sums stay in registers, two tokens are taken at a time so that four chains of
 * vpdpbusd (4 cycles each) fill the pipes, and what the tokens bring to a block lies together as
 * one record, written once for all row groups and walked through by one pointer:
 *
 *   | q [W][32] | q_low [W][32] | scale f32[W] | extra [W] or [2][W] |     W tokens, 4 or 8
 *
 * q_low only where wide. `extra` is the sum of the block for a layout with minima, or what the
 * whole-number sums of a layout with an offset start at, -offset * sum, by halves of the block
 * where the layout has halves.
 *
 * Loops, from the outside: two tiles of 8 tokens; all columns, or parts of them where records would
 * not stay in L2; row groups; tiles. So the first tile walks through the weights from front to
 * back, as one stream, and brings them to L2 before it needs them; records stream from L2 too, at a
 * few bytes per cycle. (Parts of as many columns as left records and weights in L1 jumped through
 * the weights: Q8_0 from memory, 8 tokens, made 182 GOP/s instead of 328 with that.) Between parts,
 * sums wait in y. Tokens that the last tile lacks are zeros. Four tiles, or 16 tokens to a tile,
 * were slower (Zen 4, 2026-11-28): sums left the registers.
 */
#include <immintrin.h>
#include <stdalign.h>
#include <string.h>

#include "kernels/x86/x86.h"

#include "kernels/x86/avx512/packed.inc"

enum {
    WIDEST = 8,           /* tokens of a tile */
    TILES = 2,            /* of a round */
    TILE_BYTES = 1 << 17, /* of a tile's records: 227 blocks and more */
    TOGETHER = 2,         /* tokens whose sums are interleaved */
    AHEAD = 8192,         /* bytes of weights that the first tile fetches before it needs them */
};

/* Where things stand in a record. */
INLINE size_t scale_at(bool wide, size_t w)
{
    return (wide ? 2 : 1) * VD_BLOCK * w;
}

INLINE size_t extra_at(bool wide, size_t w)
{
    return scale_at(wide, w) + sizeof(float) * w;
}

INLINE size_t record_bytes(int layout, bool wide, size_t w)
{
    size_t n = in_halves(layout) ? 2 : has_min(layout) || offset_shift(layout) >= 0 ? 1 : 0;
    return extra_at(wide, w) + n * sizeof(float) * w;
}

/* The record of block b of tokens [t, t + n_t). */
INLINE void write_record(int layout, bool wide, size_t w, const vd_act *act, size_t t, size_t n_t,
                         size_t b, uint8_t *record)
{
    size_t n_blocks = act->n_cols / VD_BLOCK;
    int shift = offset_shift(layout), offset = shift >= 0 ? 1 << shift : 0;
    float *scale = (float *)(record + scale_at(wide, w));
    uint8_t *extra = record + extra_at(wide, w);

    for (size_t i = 0; i < n_t; i++) {
        size_t at = (t + i) * n_blocks + b;
        const int32_t *neg_sum = act->neg_sum + 2 * at;
        memcpy(record + VD_BLOCK * i, act->q + at * VD_BLOCK, VD_BLOCK);
        if (wide)
            memcpy(record + VD_BLOCK * (w + i), act->q_low + at * VD_BLOCK, VD_BLOCK);
        scale[i] = act->scale[at];
        if (layout == VD_LAYOUT_Q4H) {
            ((float *)extra)[i] = (float)neg_sum[0];
            ((float *)extra)[w + i] = (float)neg_sum[1];
        } else if (in_halves(layout)) {
            ((int32_t *)extra)[i] = neg_sum[0] * offset;
            ((int32_t *)extra)[w + i] = neg_sum[1] * offset;
        } else if (has_min(layout)) {
            ((float *)extra)[i] = act->sum[at];
        } else if (offset != 0) {
            ((int32_t *)extra)[i] = (neg_sum[0] + neg_sum[1]) * offset;
        }
    }
}

INLINE __m512i quad_at(const uint8_t *x)
{
    int quad;
    memcpy(&quad, x, 4);
    return _mm512_set1_epi32(quad);
}

/* The 8 steps of a block for some tokens, in the order in which they keep the pipes full. */
INLINE void add_quads(const __m512i w[8], const uint8_t *x, __m512i dot[TOGETHER][2])
{
    for (int v = 0; v < 4; v++)
        for (int j = 0; j < TOGETHER; j++) {
            const uint8_t *quads = x + VD_BLOCK * j + 4 * v;
            dot[j][0] = _mm512_dpbusd_epi32(dot[j][0], w[v], quad_at(quads));
            dot[j][1] = _mm512_dpbusd_epi32(dot[j][1], w[4 + v], quad_at(quads + 16));
        }
}

/* Tokens from i of a record against a block: their shares of the 16 outputs are added to `sum`. */
INLINE void add_block(int layout, bool wide, size_t width, size_t i, const __m512i w[8],
                      const scales *s, const uint8_t *record, __m512 sum[TOGETHER])
{
    const float *scales_of = (const float *)(record + scale_at(wide, width)) + i;
    const float *extra = (const float *)(record + extra_at(wide, width)) + i;
    __m512i dot[TOGETHER][2], high[TOGETHER][2];
    for (int j = 0; j < TOGETHER; j++) {
        dot[j][0] = dot[j][1] = high[j][0] = high[j][1] = _mm512_setzero_si512();
        if (offset_shift(layout) >= 0) {
            dot[j][0] = quad_at((const uint8_t *)(extra + j));
            if (in_halves(layout))
                dot[j][1] = quad_at((const uint8_t *)(extra + width + j));
        }
    }
    if (wide) {
        add_quads(w, record + VD_BLOCK * i, high);
        add_quads(w, record + VD_BLOCK * (width + i), dot);
    } else {
        add_quads(w, record + VD_BLOCK * i, dot);
    }
    for (int j = 0; j < TOGETHER; j++) {
        int n_sums = in_halves(layout) ? 2 : 1;
        if (!in_halves(layout)) {
            dot[j][0] = _mm512_add_epi32(dot[j][0], dot[j][1]);
            if (wide)
                high[j][0] = _mm512_add_epi32(high[j][0], high[j][1]);
        }
        for (int h = 0; wide && h < n_sums; h++)
            dot[j][h] = _mm512_add_epi32(dot[j][h], _mm512_slli_epi32(high[j][h], 8));
        __m512 scale = _mm512_set1_ps(scales_of[j]), first = _mm512_cvtepi32_ps(dot[j][0]);
        if (in_halves(layout)) {
            __m512 both = _mm512_mul_ps(first, s->d[0]);
            both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[j][1]), s->d[1], both);
            for (size_t h = 0; layout == VD_LAYOUT_Q4H && h < 2; h++)
                both = _mm512_fmadd_ps(_mm512_set1_ps(extra[h * width + (size_t)j]), s->m[h],
                                       both);
            sum[j] = _mm512_fmadd_ps(both, scale, sum[j]);
        } else {
            sum[j] = _mm512_fmadd_ps(_mm512_mul_ps(first, scale), s->d[0], sum[j]);
            if (has_min(layout))
                sum[j] = _mm512_fmadd_ps(s->m[0], _mm512_set1_ps(extra[j]), sum[j]);
        }
    }
}

/* 16 rows against n_t tokens in records `width` wide, blocks [b, b + n_blocks) of the row group.
 * b is a multiple of 8. fetch: whether it brings the weights AHEAD of it to L2. */
INLINE void tile(int layout, bool wide, size_t width, const uint8_t *group, size_t b,
                 size_t n_blocks, const uint8_t *record, size_t n_t, float *y, size_t ld_y,
                 __mmask16 rows, bool fetch)
{
    const size_t q_bytes = q_bytes_of(layout), s_bytes = s_bytes_of(layout);
    const uint8_t *pair = group + b * (q_bytes + s_bytes) + b / 8 * (has_super(layout) ? 64 : 0);
    __m512 sum[WIDEST];
    scales super = {{_mm512_setzero_ps()}, {_mm512_setzero_ps()}};

#pragma GCC unroll 8
    for (size_t i = 0; i < width; i++)
        sum[i] = b != 0 && i < n_t ? _mm512_maskz_loadu_ps(rows, y + i * ld_y)
                                   : _mm512_setzero_ps();
    for (size_t k = 0; k < n_blocks; k++) {
        __m512i w[8];
        if (has_super(layout) && k % 8 == 0) {
            if (fetch)
                _mm_prefetch((const char *)pair + AHEAD + 8 * (q_bytes + s_bytes), _MM_HINT_T1);
            load_super(layout, pair + 8 * (q_bytes + s_bytes), &super);
        }
        for (size_t line = 0; fetch && line < q_bytes + s_bytes; line += 64)
            _mm_prefetch((const char *)pair + k % 2 * (q_bytes + s_bytes) + AHEAD + line,
                         _MM_HINT_T1);
        load_q(layout, pair + k % 2 * q_bytes, w);
        scales s = load_scales(layout, pair + 2 * q_bytes + k % 2 * s_bytes, &super);
#pragma GCC unroll 8
        for (size_t i = 0; i < width; i += TOGETHER)
            add_block(layout, wide, width, i, w, &s, record, sum + i);
        record += record_bytes(layout, wide, width);
        pair += k % 2 * 2 * (q_bytes + s_bytes);
        if (has_super(layout) && k % 8 == 7)
            pair += 64;
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < width; i++)
        if (i < n_t)
            _mm512_mask_storeu_ps(y + i * ld_y, rows, sum[i]);
}

/* Tokens of one round: where each tile begins, how many it has and how wide its records are. */
typedef struct token_round {
    size_t first[TILES], count[TILES], width[TILES];
    size_t n_tiles, n_tokens;
} token_round;

static token_round plan_round(size_t t, size_t end)
{
    token_round r = {.n_tiles = 0};
    while (r.n_tiles < TILES && t < end) {
        size_t left = end - t, width = left > 4 ? 8 : 4, count = left < width ? left : width;
        r.first[r.n_tiles] = t;
        r.count[r.n_tiles] = count;
        r.width[r.n_tiles++] = width;
        r.n_tokens += count;
        t += count;
    }
    return r;
}

/* All rows [begin, end) against the records of a round, for blocks [b, b + n_blocks). */
INLINE void round_rows(int layout, bool wide, const uint8_t *packed, size_t stride, size_t b,
                       size_t n_blocks, const token_round *r, uint8_t records[TILES][TILE_BYTES],
                       float *y, size_t ld_y, size_t begin, size_t end)
{
    for (size_t n = begin; n < end; n += VD_GROUP) {
        const uint8_t *group = packed + n / VD_GROUP * stride;
        __mmask16 rows = end - n >= VD_GROUP ? 0xffff : (__mmask16)((1u << (end - n)) - 1);
        for (size_t i = 0; i < r->n_tiles; i++) {
            float *out = y + r->first[i] * ld_y + n;
            if (r->width[i] == 8)
                tile(layout, wide, 8, group, b, n_blocks, records[i], r->count[i], out, ld_y, rows,
                     i == 0);
            else
                tile(layout, wide, 4, group, b, n_blocks, records[i], r->count[i], out, ld_y, rows,
                     i == 0);
        }
    }
}

INLINE void tiles(int layout, bool wide, const uint8_t *packed, size_t n_cols, const vd_act *act,
                  float *y, size_t ld_y, size_t begin, size_t end)
{
    alignas(64) uint8_t records[TILES][TILE_BYTES];
    size_t n_blocks = n_cols / VD_BLOCK;
    token_round r;

    for (size_t t = 0; t < act->n_rows; t += r.n_tokens) {
        r = plan_round(t, act->n_rows);
        /* A round's first tile is its widest. Whole supers, so that each part begins with one. */
        size_t step = TILE_BYTES / record_bytes(layout, wide, r.width[0]) / 8 * 8;
        for (size_t b = 0; b < n_blocks; b += step) {
            size_t n = n_blocks - b < step ? n_blocks - b : step;
            for (size_t i = 0; i < r.n_tiles; i++) {
                size_t bytes = record_bytes(layout, wide, r.width[i]);
                if (r.count[i] < r.width[i])
                    memset(records[i], 0, n * bytes);
                for (size_t k = 0; k < n; k++)
                    write_record(layout, wide, r.width[i], act, r.first[i], r.count[i], b + k,
                                 records[i] + k * bytes);
            }
            round_rows(layout, wide, packed, vd_layout_stride(layout, n_cols), b, n, &r, records, y,
                       ld_y, begin, end);
        }
    }
}

#include "kernels/common/linear_packed.inc"

void vd_avx512_linear_many(int layout, const void *packed, size_t n_cols, const vd_act *act,
                           float *y, size_t ld_y, size_t begin, size_t end)
{
    by_layout(layout, packed, n_cols, act, y, ld_y, begin, end);
}
