/*
 * sparse.c - the level "avx512-vbmi2": sparse weights (sparse.h) by VPEXPANDB.
 *
 * A register of values is spread over the places that a mask names, and what is not there is the
 * zero of a Q8 block: 8 of these make the 8 registers of a block, and the rest is the dense
 * product, to the same bits (few.inc). The values are loaded whole and expanded from a register:
 * expanding from memory is slow on Zen 4. Only the address of the next values waits for the ones
 * before, for a count of bits.
 */
#include "kernels/ref/ref.h"
#include "kernels/x86/x86.h"

#include "kernels/x86/avx512/few.inc"

#include "kernels/x86/avx512vbmi2/expand.inc"

enum { MOST = 16 }; /* tokens; more repay the dense form */

/* 16 rows against n_t tokens. fetch: how many bytes of a block are fetched ahead. */
INLINE void tile(bool wide, size_t n_t, const uint8_t *stream, size_t n_cols, size_t fetch,
                 const vd_act *act, float *y, size_t ld_y, __mmask16 rows)
{
    __m512 sum[TOKENS];
    for (size_t i = 0; i < n_t; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t b = 0; b < n_cols / VD_BLOCK; b++) {
        __m512i w[8];
        for (size_t line = 0; line < fetch; line += 64)
            _mm_prefetch((const char *)stream + AHEAD + line, _MM_HINT_T0);
        scales s;
        stream = load_sparse(stream, w, &s);
        for (size_t i = 0; i < n_t; i++) {
            const activations x = activations_at(wide, act, i, b);
            sum[i] = add_block(VD_LAYOUT_Q8, wide, w, &s, &x, sum[i]);
        }
    }
    for (size_t i = 0; i < n_t; i++)
        _mm512_mask_storeu_ps(y + i * ld_y, rows, sum[i]);
}

INLINE void tiles(bool wide, const void *packed, size_t n_cols, const vd_act *act, float *y,
                  size_t ld_y, size_t begin, size_t end)
{
    for (size_t n = begin; n < end; n += VD_GROUP) {
        size_t fetch = vd_sparse_block_bytes(packed, n / VD_GROUP, n_cols);
        __mmask16 rows = end - n >= VD_GROUP ? 0xffff : (__mmask16)((1u << (end - n)) - 1);
        const uint8_t *stream = vd_sparse_group(packed, n / VD_GROUP);
        if (act->n_rows == 2)
            tile(wide, 2, stream, n_cols, fetch, act, y + n, ld_y, rows);
        else
            tile(wide, 1, stream, n_cols, fetch, act, y + n, ld_y, rows);
    }
}

static void few(const void *packed, size_t n_cols, const vd_act *act, float *y, size_t ld_y,
                size_t begin, size_t end)
{
    if (act->q_low != NULL)
        tiles(true, packed, n_cols, act, y, ld_y, begin, end);
    else
        tiles(false, packed, n_cols, act, y, ld_y, begin, end);
}

static void sparse_linear(const void *packed, size_t n_cols, const vd_act *act, float *y,
                          size_t ld_y, size_t begin, size_t end)
{
    if (act->n_rows > TOKENS && n_cols <= VD_SPARSE_MANY_COLS) {
        vd_avx512vbmi2_sparse_many(packed, n_cols, act, y, ld_y, begin, end);
        return;
    }
    for (size_t t = 0; t < act->n_rows; t += TOKENS) {
        size_t next = act->n_rows - t < TOKENS ? act->n_rows : t + TOKENS;
        vd_act part = vd_act_rows(act, t, next);
        few(packed, n_cols, &part, y + t * ld_y, ld_y, begin, end);
    }
}

/* Four bytes of each row, the rows' own distance apart, are gathered: a register of the block. */
static uint8_t *sparse_pack(const uint8_t *src, size_t row_bytes, size_t n_rows, uint8_t *block)
{
    const __m512i row = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __mmask16 rows = (__mmask16)(n_rows < 16 ? (1u << n_rows) - 1 : 0xffff);
    uint8_t *value = block + VD_SPARSE_HEAD;
    if (row_bytes > INT32_MAX / 16)
        return vd_ref_sparse_pack(src, row_bytes, n_rows, block);
    __m512i at = _mm512_mullo_epi32(row, _mm512_set1_epi32((int)row_bytes));
    memset(block + 8 * VD_SPARSE_QUADS, 0, 2 * VD_GROUP);
    for (size_t r = 0; r < n_rows; r++)
        memcpy(block + 8 * VD_SPARSE_QUADS + 2 * r, src + r * row_bytes, 2);
    for (size_t v = 0; v < VD_SPARSE_QUADS; v++) {
        __m512i q = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), rows, at, src + 2 + 4 * v,
                                                1);
        uint64_t some = _mm512_test_epi8_mask(q, q);
        q = _mm512_xor_si512(q, _mm512_set1_epi8(-128));
        _mm512_storeu_si512(value, _mm512_maskz_compress_epi8(some, q));
        memcpy(block + 8 * v, &some, sizeof some);
        value += __builtin_popcountll(some);
    }
    return value;
}

static void sparse_expand(const uint8_t *stream, size_t n_cols, uint8_t *group)
{
    const vd_layout_info *info = &vd_layout_infos[VD_LAYOUT_Q8];
    for (size_t b = 0; b < n_cols / VD_BLOCK; b++) {
        __m512i w[8];
        __m256i d = _mm256_loadu_si256((const __m256i *)(stream + 8 * VD_SPARSE_QUADS));
        uint8_t *q = group + vd_layout_q_at(info, b);
        for (size_t line = 0; line < 8; line++)
            _mm_prefetch((const char *)stream + AHEAD + 64 * line, _MM_HINT_T0);
        scales s;
        stream = load_sparse(stream, w, &s);
        for (size_t v = 0; v < 8; v++)
            _mm512_store_si512(q + 64 * v, w[v]);
        _mm256_store_si256((__m256i *)(group + vd_layout_s_at(info, b)), d);
    }
}

void vd_avx512vbmi2_fill(vd_kernels *k)
{
    k->name = "avx512-vbmi2";
    k->sparse_keep = 0.7f;
    k->sparse_pack = sparse_pack;
    k->sparse_expand = sparse_expand;
    k->sparse_linear = sparse_linear;
    k->sparse_tokens = MOST;
}
