/*
 * attn.c - the attention of a prompt's tokens by vdpbf16ps, which adds two products per lane:
 * twice the rate of f32 arithmetic, with queries, keys, values and weights rounded to bf16 and all
 * sums in f32. After FlashAttention (Dao et al. 2022), as common/attn_block.inc is, and laid out
 * like it: rows (heads of a position) are lanes, the positions pass in tiles of SPAN. A tile of
 * keys and values is rounded once for up to VD_ATTN_MANY_ROWS rows, which go in groups of as many
 * as sums fit into registers:
 *
 *   keys [SPAN][D / 2]   values [SPAN / 2][D]                         pairs of bf16, in one word
 *   per group: query [D / 2][GROUP] words, out [D][GROUP] f32
 *   logit [SPAN][GROUP] f32, then weight [SPAN / 2][GROUP] words
 *
 * Logits are scaled by log2 e, so that a weight is a power of two; sums of weights are of the
 * rounded ones. A row's result has the same bits in every block, for the reasons of attn_block.inc.
 */
#include <float.h>
#include <math.h>

#include "base/checked.h"
#include "kernels/x86/x86.h"

#include "kernels/x86/avx512/vec.inc"

#include "kernels/common/exp.inc"

#include "kernels/common/attn_load.inc"

#define INLINE static inline __attribute__((always_inline))

enum { SPAN = VD_ATTN_SPAN, GROUP = 48, MUL_ROWS = 8, MUL_VECS = GROUP / LANES };
_Static_assert(VD_ATTN_MANY_ROWS % GROUP == 0, "whole groups");
#define LOG2_E 0x1.715476p+0f

/* A group of rows. */
typedef struct rows {
    size_t first, end, n_vecs; /* of the block's rows; registers they take */
    size_t begin_kv, end_kv;   /* positions that some row sees */
    size_t all_begin, all_end; /* and that all of them see */
    uint32_t *query;
    float *out;
    float most[GROUP], shrink[GROUP], total[GROUP];
    int32_t row_begin[GROUP], row_end[GROUP]; /* positions that each row sees */
} rows;

/* Two floats as a pair of bf16, for each lane. */
INLINE __m512i pair_of(vec first, vec second)
{
    const __m512i turn = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                          8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16,
                                          0);
    return _mm512_permutexvar_epi16(turn, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

/* 2^x for x <= 0, to 3e-6; 1 of 0, 0 from -150 on. NaN stays NaN. */
INLINE vec exp2_vec(vec x)
{
    x = vec_max(vec_set1(-160.0f), x);
    vec n = vec_round(x), r = vec_sub(x, n), p = vec_set1(0x1.3a02cap-7f);
    p = vec_fma(p, r, vec_set1(0x1.c9fc46p-5f));
    p = vec_fma(p, r, vec_set1(0x1.ec0378p-3f));
    p = vec_fma(p, r, vec_set1(0x1.62e12cp-1f));
    p = vec_fma(p, r, vec_set1(1.0f));
    return _mm512_scalef_ps(p, n);
}

/* c[m][n] = (with shrink: c[m][n] * shrink[n] +) sum over pairs k of a[m * step_m + k * step_k] *
 * b[k][n], for n_m rows and n_vecs registers, both constants; rows of b and c are GROUP apart. */
INLINE void mul_tile(const uint32_t *a, size_t step_m, size_t step_k, const uint32_t *b, float *c,
                     size_t n_k, const float *shrink, size_t n_m, size_t n_vecs)
{
    vec sum[MUL_ROWS][MUL_VECS];
    for (size_t m = 0; m < n_m; m++)
        for (size_t j = 0; j < n_vecs; j++)
            sum[m][j] = shrink == NULL ? _mm512_setzero_ps()
                                       : vec_mul(vec_load(c + m * GROUP + j * LANES),
                                                 vec_load(shrink + j * LANES));
    for (size_t k = 0; k < n_k; k++) {
        __m512bh right[MUL_VECS];
        for (size_t j = 0; j < n_vecs; j++)
            right[j] = (__m512bh)_mm512_loadu_si512(b + k * GROUP + j * LANES);
        for (size_t m = 0; m < n_m; m++) {
            __m512bh left = (__m512bh)_mm512_set1_epi32((int)a[m * step_m + k * step_k]);
            for (size_t j = 0; j < n_vecs; j++)
                sum[m][j] = _mm512_dpbf16_ps(sum[m][j], left, right[j]);
        }
    }
    for (size_t m = 0; m < n_m; m++)
        for (size_t j = 0; j < n_vecs; j++)
            vec_store(c + m * GROUP + j * LANES, sum[m][j]);
}

INLINE void mul_rows(const uint32_t *a, size_t step_m, size_t step_k, const uint32_t *b, float *c,
                     size_t n_m, size_t n_k, const float *shrink, size_t n_vecs)
{
    size_t m = 0;
    for (; m + MUL_ROWS <= n_m; m += MUL_ROWS)
        mul_tile(a + m * step_m, step_m, step_k, b, c + m * GROUP, n_k, shrink, MUL_ROWS, n_vecs);
    for (; m < n_m; m++)
        mul_tile(a + m * step_m, step_m, step_k, b, c + m * GROUP, n_k, shrink, 1, n_vecs);
}

INLINE void mul(const uint32_t *a, size_t step_m, size_t step_k, const uint32_t *b, float *c,
                size_t n_m, size_t n_k, const float *shrink, size_t n_vecs)
{
    if (n_vecs == 3)
        mul_rows(a, step_m, step_k, b, c, n_m, n_k, shrink, 3);
    else if (n_vecs == 2)
        mul_rows(a, step_m, step_k, b, c, n_m, n_k, shrink, 2);
    else
        mul_rows(a, step_m, step_k, b, c, n_m, n_k, shrink, 1);
}

/* Keys [n][ceil(D / 2)]; `row` has room for a row of floats. Zeros up to a multiple of MUL_ROWS. */
static void load_keys(const vd_attn *a, size_t begin, size_t n, float *row, uint32_t *keys)
{
    size_t d = a->head_dim, n_pairs = (d + 1) / 2;
    row[d] = 0;
    for (size_t p = 0; p < n; p++, keys += n_pairs) {
        load_tile(a, a->k_base, begin + p, begin + p + 1, row);
        for (size_t i = 0; i < n_pairs; i += LANES) {
            size_t left = VD_MIN(2 * (n_pairs - i), (size_t)2 * LANES);
            __mmask32 mask = left == 32 ? 0xffffffff : ((__mmask32)1 << left) - 1;
            vec lo = _mm512_maskz_loadu_ps((__mmask16)mask, row + 2 * i);
            vec hi = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), row + 2 * i + LANES);
            _mm512_mask_storeu_epi16(keys + i, mask, (__m512i)_mm512_cvtne2ps_pbh(hi, lo));
        }
    }
    memset(keys, 0, (0 - n) % MUL_ROWS * n_pairs * sizeof *keys);
}

/* Values [ceil(n / 2)][D]; `row` has room for two rows of floats. */
static void load_values(const vd_attn *a, size_t begin, size_t n, float *row, uint32_t *values)
{
    size_t d = a->head_dim;
    for (size_t p = 0; p < n; p += 2, values += d) {
        if (p + 1 == n)
            memset(row + d, 0, d * sizeof *row);
        load_tile(a, a->v_base, begin + p, begin + VD_MIN(p + 2, n), row);
        for (size_t i = 0; i < d; i += LANES) {
            size_t left = VD_MIN(d - i, (size_t)LANES);
            __mmask16 mask = left == LANES ? 0xffff : vec_mask(left);
            __m512i pairs = pair_of(_mm512_maskz_loadu_ps(mask, row + i),
                                    _mm512_maskz_loadu_ps(mask, row + d + i));
            _mm512_mask_storeu_epi32(values + i, mask, pairs);
        }
    }
}

/* Queries of a group, scaled, as pairs of dimensions; rows that are not there are 0. */
static void load_queries(const vd_attn *a, rows *g)
{
    size_t d = a->head_dim, n_pairs = (d + 1) / 2;
    float scale = a->softcap != 0 ? a->scale : a->scale * LOG2_E;
    memset(g->query, 0, n_pairs * GROUP * sizeof *g->query);
    for (size_t r = g->first; r < g->end; r++) {
        const float *q = a->q + r / a->n_group * a->ld_q + r % a->n_group * d;
        for (size_t i = 0; i < d; i += 2 * LANES) {
            size_t left = VD_MIN(d - i, (size_t)2 * LANES);
            __mmask32 mask = left == 32 ? 0xffffffff : ((__mmask32)1 << left) - 1;
            vec lo = _mm512_maskz_loadu_ps((__mmask16)mask, q + i);
            vec hi = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), q + i + LANES);
            uint32_t pair[LANES];
            _mm512_storeu_si512(pair, (__m512i)_mm512_cvtne2ps_pbh(vec_mul(hi, vec_set1(scale)),
                                                                   vec_mul(lo, vec_set1(scale))));
            for (size_t j = 0; 2 * j < left; j++)
                g->query[(i / 2 + j) * GROUP + (r - g->first)] = pair[j];
        }
    }
}

static void begin_group(const vd_attn *a, size_t first, size_t end, rows *g)
{
    g->first = first;
    g->end = end;
    g->n_vecs = (end - first + LANES - 1) / LANES;
    vd_attn_range(a, first / a->n_group, &g->begin_kv, &g->all_end);
    vd_attn_range(a, (end - 1) / a->n_group, &g->all_begin, &g->end_kv);
    for (size_t r = 0; r < GROUP; r++) {
        size_t begin_kv = 0, end_kv = 0; /* nothing, where there is no row */
        if (first + r < end)
            vd_attn_range(a, (first + r) / a->n_group, &begin_kv, &end_kv);
        g->row_begin[r] = (int32_t)begin_kv;
        g->row_end[r] = (int32_t)end_kv;
        g->most[r] = -FLT_MAX;
        g->total[r] = 0;
    }
    memset(g->out, 0, a->head_dim * GROUP * sizeof *g->out);
    load_queries(a, g);
}

/* Caps the logits of n positions; they were not scaled by log2 e yet. */
static void cap_logits(float *logit, size_t n, size_t n_vecs, float softcap)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n_vecs * LANES; j += LANES) {
            vec x = capped(vec_load(logit + i * GROUP + j), softcap);
            vec_store(logit + i * GROUP + j, vec_mul(x, vec_set1(LOG2_E)));
        }
}

/* -infinity where a row does not see a position of [begin, begin + n). */
static void hide(const rows *g, size_t begin, size_t n, float *logit)
{
    for (size_t j = 0; j < g->n_vecs * LANES; j += LANES) {
        __m512i from = _mm512_loadu_si512(g->row_begin + j);
        __m512i to = _mm512_loadu_si512(g->row_end + j);
        for (size_t i = 0; i < n; i++) {
            __m512i at = _mm512_set1_epi32((int)(begin + i));
            __mmask16 hidden = _mm512_cmplt_epi32_mask(at, from) |
                               _mm512_cmpge_epi32_mask(at, to);
            _mm512_mask_storeu_ps(logit + i * GROUP + j, hidden, vec_set1(-INFINITY));
        }
    }
}

/* Logits of n positions to weights in pairs, for LANES rows. */
INLINE void weigh_lanes(const float *logit, size_t n, uint32_t *weight, float *most, float *shrink,
                        float *total)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    vec old = vec_load(most), top = old, other = old;
    size_t p = 0;
    for (; p + 2 <= n; p += 2) { /* passes over a NaN, whose weight is one */
        top = vec_max(vec_load(logit + p * GROUP), top);
        other = vec_max(vec_load(logit + (p + 1) * GROUP), other);
    }
    if (p < n)
        top = vec_max(vec_load(logit + p * GROUP), top);
    top = vec_max(other, top);
    vec less = exp2_vec(vec_sub(old, top)), sum = vec_mul(vec_load(total), less);
    for (p = 0; p < n; p += 2) {
        vec first = exp2_vec(vec_sub(vec_load(logit + p * GROUP), top)), second = vec_set1(0);
        if (p + 1 < n)
            second = exp2_vec(vec_sub(vec_load(logit + (p + 1) * GROUP), top));
        __m512i pair = pair_of(first, second);
        _mm512_storeu_si512(weight + p / 2 * GROUP, pair);
        sum = _mm512_dpbf16_ps(sum, (__m512bh)pair, ones);
    }
    vec_store(shrink, less);
    vec_store(most, top);
    vec_store(total, sum);
}

/* Positions [begin, begin + n) of a group. */
static void attend_tile(const vd_attn *a, rows *g, size_t begin, size_t n, const uint32_t *keys,
                        const uint32_t *values, float *logit, uint32_t *weight)
{
    size_t d = a->head_dim, n_pairs = (d + 1) / 2;
    size_t padded = (n + MUL_ROWS - 1) / MUL_ROWS * MUL_ROWS;
    mul(keys, n_pairs, 1, g->query, logit, padded, n_pairs, NULL, g->n_vecs);
    if (a->softcap != 0)
        cap_logits(logit, n, g->n_vecs, a->softcap);
    if (begin < g->all_begin || begin + n > g->all_end)
        hide(g, begin, n, logit);
    for (size_t j = 0; j < g->n_vecs * LANES; j += LANES)
        weigh_lanes(logit + j, n, weight + j, g->most + j, g->shrink + j, g->total + j);
    mul(values, 1, d, weight, g->out, d, (n + 1) / 2, g->shrink, g->n_vecs);
}

static void end_group(const vd_attn *a, const rows *g)
{
    size_t d = a->head_dim;
    for (size_t r = g->first; r < g->end; r++) {
        float *out = a->out + r / a->n_group * a->ld_q + r % a->n_group * d;
        float factor = 1.0f / g->total[r - g->first];
        for (size_t i = 0; i < d; i++)
            out[i] = g->out[i * GROUP + (r - g->first)] * factor;
    }
}

void vd_avx512bf16_attn_many(const vd_attn *a)
{
    rows group[VD_ATTN_MANY_ROWS / GROUP];
    size_t d = a->head_dim, n_pairs = (d + 1) / 2, n_rows = a->n_q * a->n_group;
    size_t n_groups = (n_rows + GROUP - 1) / GROUP, first, last, end;
    float *logit = a->scratch;
    uint32_t *weight = (uint32_t *)(logit + SPAN * GROUP), *keys = weight + SPAN / 2 * GROUP;
    uint32_t *values = keys + SPAN * n_pairs, *rest = values + SPAN / 2 * d;
    float *row = (float *)(rest + n_groups * (n_pairs + d) * GROUP);
    for (size_t i = 0; i < n_groups; i++) {
        group[i].query = rest + i * (n_pairs + d) * GROUP;
        group[i].out = (float *)(group[i].query + n_pairs * GROUP);
        begin_group(a, n_rows * i / n_groups, n_rows * (i + 1) / n_groups, &group[i]);
    }
    vd_attn_range(a, 0, &first, &last);
    vd_attn_range(a, a->n_q - 1, &last, &end);
    /* From an even position, so that pairs are the same in every block. */
    for (size_t p = first / 2 * 2, next; p < end; p = next) {
        next = VD_MIN(p / SPAN * SPAN + SPAN, end);
        load_keys(a, p, next - p, row, keys);
        load_values(a, p, next - p, row, values);
        for (size_t i = 0; i < n_groups; i++)
            if (p < group[i].end_kv && next > group[i].begin_kv)
                attend_tile(a, &group[i], p, next - p, keys, values, logit, weight);
    }
    for (size_t i = 0; i < n_groups; i++)
        end_group(a, &group[i]);
}
