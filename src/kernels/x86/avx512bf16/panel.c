/*
 * panel.c - products through bf16 panels by vdpbf16ps, which adds two products per lane.
 *
 * A tile is 32 rows of the weight and up to 12 tokens: 24 sums stay in registers, two more hold a
 * pair of columns of the panel, and the pair of a token is broadcast from memory. Sums run over all
 * columns, so that y is written once; the panel streams from L2.
 */
#include "kernels/x86/avx512bf16/unpack.inc"

#include "kernels/x86/x86.h"

enum { TOKENS = 12 };

static void round_row(const float *x, uint16_t *b, size_t n)
{
    for (size_t i = 0; i < n; i += 32)
        _mm512_mask_storeu_epi16(b + i, n - i >= 32 ? 0xffffffff : (1u << (n - i)) - 1,
                                 load_row(VD_DTYPE_F32, (const uint8_t *)(x + i), n - i));
}

static void panel_unpack(const vd_weight *weight, size_t n, size_t n_rows, uint16_t *panel)
{
    if (weight->layout != 0)
        unpack_packed(weight, n, n_rows, panel);
    else
        unpack_rows(weight, n, n_rows, panel);
}

INLINE __m512bh pair_at(const uint16_t *a)
{
    int pair;
    memcpy(&pair, a, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* Both numbers are constants at each call. */
INLINE void tile(int n_groups, int n_t, const vd_panel *p, const uint16_t *a, float *y)
{
    const uint16_t *b = p->b;
    size_t ld = p->ld_a, group = VD_PANEL_GROUP * p->n_cols;
    __m512 sum[2][TOKENS];
    for (int g = 0; g < n_groups; g++)
        for (int t = 0; t < n_t; t++)
            sum[g][t] = _mm512_setzero_ps();
    for (size_t c = 0; c < p->n_cols; c += 2, b += PAIR) {
        __m512bh w[2];
        for (int g = 0; g < n_groups; g++)
            w[g] = (__m512bh)_mm512_load_si512(b + (size_t)g * group);
        for (int t = 0; t < n_t; t++) {
            __m512bh x = pair_at(a + (size_t)t * ld + c);
            for (int g = 0; g < n_groups; g++)
                sum[g][t] = _mm512_dpbf16_ps(sum[g][t], w[g], x);
        }
    }
    for (int g = 0; g < n_groups; g++) {
        size_t left = p->n_rows - (size_t)g * VD_PANEL_GROUP;
        __mmask16 rows = left >= VD_PANEL_GROUP ? 0xffff : (__mmask16)((1u << left) - 1);
        for (int t = 0; t < n_t; t++)
            _mm512_mask_storeu_ps(y + (size_t)t * p->ld_y + g * VD_PANEL_GROUP, rows, sum[g][t]);
    }
}

INLINE void tile_of(int n_groups, size_t n_t, const vd_panel *p, const uint16_t *a, float *y)
{
    switch (n_t) {
    case 12:
        tile(n_groups, 12, p, a, y);
        break;
    case 11:
        tile(n_groups, 11, p, a, y);
        break;
    case 10:
        tile(n_groups, 10, p, a, y);
        break;
    case 9:
        tile(n_groups, 9, p, a, y);
        break;
    case 8:
        tile(n_groups, 8, p, a, y);
        break;
    case 7:
        tile(n_groups, 7, p, a, y);
        break;
    case 6:
        tile(n_groups, 6, p, a, y);
        break;
    case 5:
        tile(n_groups, 5, p, a, y);
        break;
    case 4:
        tile(n_groups, 4, p, a, y);
        break;
    case 3:
        tile(n_groups, 3, p, a, y);
        break;
    case 2:
        tile(n_groups, 2, p, a, y);
        break;
    case 1:
        tile(n_groups, 1, p, a, y);
        break;
    default:
        break;
    }
}

/* Tiles of nearly the same size: the last one is never a small rest. */
static void panel_product(const vd_panel *p)
{
    size_t n_tiles = (p->n_tokens + TOKENS - 1) / TOKENS, t = 0;
    for (size_t i = 0; i < n_tiles; i++) {
        size_t next = p->n_tokens * (i + 1) / n_tiles;
        if (p->n_rows > VD_PANEL_GROUP)
            tile_of(2, next - t, p, p->a + t * p->ld_a, p->y + t * p->ld_y);
        else
            tile_of(1, next - t, p, p->a + t * p->ld_a, p->y + t * p->ld_y);
        t = next;
    }
}

void vd_avx512bf16_fill(vd_kernels *k)
{
    k->name = "avx512-bf16";
    k->panel_from = (vd_panel_from){.narrow = SIZE_MAX, .wide = 32, .rows = 4};
    k->round_row = round_row;
    k->panel_unpack = panel_unpack;
    k->panel_product = panel_product;
    k->panel_direct = vd_avx512bf16_direct;
    k->attn_many = vd_avx512bf16_attn_many;
}
