/* iq.c - see iq.h. */
#include "compress/encode/iq.h"

#include <pthread.h>
#include <string.h>

#include "compress/encode/blocks.h"
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

enum { SUPER = 256 };

static vd_book book[VD_IQ_TYPES]; /* written by make_books alone */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void store_u32(uint8_t *p, uint32_t value)
{
    vd_store_u16(p, (uint16_t)value);
    vd_store_u16(p + 2, (uint16_t)(value >> 16));
}

/* Four bits each, the lower half of a byte first. */
static void store_scales(const vd_book_block *b, int n, uint8_t *dst)
{
    for (int i = 0; i < n; i++)
        dst[i / 2] |= (uint8_t)(b->s[i] << i % 2 * 4);
}

/* Four times seven signs, and the scale, of 32 values. */
static uint32_t signs_and_scale(const vd_book_block *b, int sub)
{
    uint32_t bits = (uint32_t)b->s[sub] << 28;
    for (int i = 0; i < 4; i++)
        bits |= (uint32_t)(b->minus[4 * sub + i] & 127) << 7 * i;
    return bits;
}

static void pack_iq3_s(const vd_book_block *b, uint8_t *dst)
{
    vd_store_f16(dst, b->d);
    for (int g = 0; g < 64; g++) {
        dst[2 + g] = (uint8_t)b->point[g];
        dst[66 + g / 8] |= (uint8_t)(b->point[g] >> 8 << g % 8);
    }
    memcpy(dst + 74, b->minus, 32);
    store_scales(b, 8, dst + 106);
}

static void pack_iq3_xxs(const vd_book_block *b, uint8_t *dst)
{
    vd_store_f16(dst, b->d);
    for (int g = 0; g < 64; g++)
        dst[2 + g] = (uint8_t)b->point[g];
    for (int i = 0; i < 8; i++)
        store_u32(dst + 66 + 4 * i, signs_and_scale(b, i));
}

static void pack_iq2_s(const vd_book_block *b, uint8_t *dst)
{
    vd_store_f16(dst, b->d);
    for (int g = 0; g < 32; g++) {
        dst[2 + g] = (uint8_t)b->point[g];
        dst[66 + g / 4] |= (uint8_t)(b->point[g] >> 8 << g % 4 * 2);
    }
    memcpy(dst + 34, b->minus, 32);
    store_scales(b, 16, dst + 74);
}

static void pack_iq2_xs(const vd_book_block *b, uint8_t *dst)
{
    vd_store_f16(dst, b->d);
    for (int g = 0; g < 32; g++)
        vd_store_u16(dst + 2 + 2 * g, (uint16_t)(b->point[g] | (b->minus[g] & 127) << 9));
    store_scales(b, 16, dst + 66);
}

static void pack_iq2_xxs(const vd_book_block *b, uint8_t *dst)
{
    vd_store_f16(dst, b->d);
    for (int i = 0; i < 8; i++) {
        for (int g = 0; g < 4; g++)
            dst[2 + 8 * i + g] = (uint8_t)b->point[4 * i + g];
        store_u32(dst + 6 + 8 * i, signs_and_scale(b, i));
    }
}

static void pack_iq1_m(const vd_book_block *b, uint8_t *dst)
{
    unsigned d = vd_f32_to_f16(b->d), word[4];
    for (int g = 0; g < 32; g++) {
        dst[g] = (uint8_t)b->point[g];
        dst[32 + g / 2] |= (uint8_t)((b->point[g] >> 8 | (b->down[g] ? 8 : 0)) << g % 2 * 4);
    }
    for (int i = 0; i < 4; i++)
        word[i] = (d >> 4 * i & 15) << 12;
    for (int i = 0; i < 16; i++)
        word[i / 4] |= (unsigned)b->s[i] << i % 4 * 3;
    for (int i = 0; i < 4; i++)
        vd_store_u16(dst + 48 + 2 * i, (uint16_t)word[i]);
}

static void pack_iq1_s(const vd_book_block *b, uint8_t *dst)
{
    vd_store_f16(dst, b->d);
    for (int i = 0; i < 8; i++) {
        unsigned word = (unsigned)b->s[i] << 12 | (b->down[4 * i] ? 0x8000u : 0);
        for (int g = 0; g < 4; g++) {
            dst[2 + 4 * i + g] = (uint8_t)b->point[4 * i + g];
            word |= (unsigned)(b->point[4 * i + g] >> 8) << 3 * g;
        }
        vd_store_u16(dst + 34 + 2 * i, (uint16_t)word);
    }
}

/* ---- scales, read back ------------------------------------------------------------------------*/

static void read_d(const uint8_t *src, vd_book_block *ret)
{
    ret->d = vd_load_f16(src);
}

/* Four bits each, the lower half of a byte first. */
static void read_halves(const uint8_t *src, int n, vd_book_block *ret)
{
    for (int i = 0; i < n; i++)
        ret->s[i] = src[i / 2] >> i % 2 * 4 & 15;
}

static void scales_iq3_s(const uint8_t *src, vd_book_block *ret)
{
    read_d(src, ret);
    read_halves(src + 106, 8, ret);
}

static void scales_iq3_xxs(const uint8_t *src, vd_book_block *ret)
{
    read_d(src, ret);
    for (int i = 0; i < 8; i++)
        ret->s[i] = src[66 + 4 * i + 3] >> 4;
}

static void scales_iq2_s(const uint8_t *src, vd_book_block *ret)
{
    read_d(src, ret);
    read_halves(src + 74, 16, ret);
}

static void scales_iq2_xs(const uint8_t *src, vd_book_block *ret)
{
    read_d(src, ret);
    read_halves(src + 66, 16, ret);
}

static void scales_iq2_xxs(const uint8_t *src, vd_book_block *ret)
{
    read_d(src, ret);
    for (int i = 0; i < 8; i++)
        ret->s[i] = src[2 + 8 * i + 7] >> 4;
}

static void scales_iq1_m(const uint8_t *src, vd_book_block *ret)
{
    unsigned d = 0;
    for (int i = 0; i < 4; i++)
        d |= (unsigned)(vd_load_u16(src + 48 + 2 * i) >> 12) << 4 * i;
    ret->d = vd_f16_to_f32((uint16_t)d);
    for (int i = 0; i < 16; i++)
        ret->s[i] = vd_load_u16(src + 48 + 2 * (i / 4)) >> i % 4 * 3 & 7;
}

static void scales_iq1_s(const uint8_t *src, vd_book_block *ret)
{
    read_d(src, ret);
    for (int i = 0; i < 8; i++) {
        unsigned word = vd_load_u16(src + 34 + 2 * i);
        ret->s[i] = (int)(word >> 12 & 7);
        for (int g = 4 * i; g < 4 * i + 4; g++)
            ret->down[g] = (word & 0x8000u) != 0;
    }
}

/* ---- all of them ------------------------------------------------------------------------------*/

static const vd_iq types[VD_IQ_TYPES] = {
    {&book[VD_IQ3_S], 110, pack_iq3_s, scales_iq3_s},
    {&book[VD_IQ3_XXS], 98, pack_iq3_xxs, scales_iq3_xxs},
    {&book[VD_IQ2_S], 82, pack_iq2_s, scales_iq2_s},
    {&book[VD_IQ2_XS], 74, pack_iq2_xs, scales_iq2_xs},
    {&book[VD_IQ2_XXS], 66, pack_iq2_xxs, scales_iq2_xxs},
    {&book[VD_IQ1_M], 56, pack_iq1_m, scales_iq1_m},
    {&book[VD_IQ1_S], 50, pack_iq1_s, scales_iq1_s},
};

static void make_books(void)
{
    const vd_iq_grids *g = vd_iq_grids_get();
    const vd_book_family family[VD_IQ_TYPES] = {
        [VD_IQ3_S] = {4, 512, g->iq3_s[0], 32, 16, 1.0f, VD_BOOK_FREE},
        [VD_IQ3_XXS] = {4, 256, g->iq3_xxs[0], 32, 16, 0.25f, VD_BOOK_EVEN},
        [VD_IQ2_S] = {8, 1024, g->iq2_s[0], 16, 16, 0.125f, VD_BOOK_FREE},
        [VD_IQ2_XS] = {8, 512, g->iq2_xs[0], 16, 16, 0.125f, VD_BOOK_EVEN},
        [VD_IQ2_XXS] = {8, 256, g->iq2_xxs[0], 32, 16, 0.125f, VD_BOOK_EVEN},
        [VD_IQ1_M] = {8, 2048, g->iq1[0], 16, 8, 1.0f, VD_BOOK_SHIFT_GROUP},
        [VD_IQ1_S] = {8, 2048, g->iq1[0], 32, 8, 1.0f, VD_BOOK_SHIFT_SUB},
    };
    for (size_t i = 0; i < VD_IQ_TYPES; i++)
        vd_book_make(&family[i], &book[i]);
}

const vd_iq *vd_iq_get(vd_iq_type type)
{
    pthread_once(&once, make_books);
    return &types[type];
}

static void encode(const vd_iq *iq, const float *x, const float *w, uint8_t *dst, size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++, x += SUPER, w = vd_next(w, SUPER), dst += iq->bytes) {
        vd_book_block b;
        vd_book_search(iq->book, x, w, &b);
        memset(dst, 0, iq->bytes);
        if (b.d > 0.0f)
            iq->pack(&b, dst);
    }
}

#define ENCODER(name, type)                                                                        \
    VD_ENCODER(vd_encode_##name)                                                                   \
    {                                                                                              \
        encode(vd_iq_get(type), x, w, dst, n_blocks);                                              \
    }
ENCODER(iq3_s, VD_IQ3_S)
ENCODER(iq3_xxs, VD_IQ3_XXS)
ENCODER(iq2_s, VD_IQ2_S)
ENCODER(iq2_xs, VD_IQ2_XS)
ENCODER(iq2_xxs, VD_IQ2_XXS)
ENCODER(iq1_m, VD_IQ1_M)
ENCODER(iq1_s, VD_IQ1_S)
