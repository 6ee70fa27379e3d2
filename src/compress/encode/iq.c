/*
 * iq.c - IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M and IQ1_S: what book.h found, packed. The
 * layouts stand in kernels/ref/decode_iq*.c.
 */
#include <pthread.h>
#include <string.h>

#include "compress/encode/blocks.h"
#include "compress/encode/book.h"
#include "kernels/ref/iq_grids.h"

enum { SUPER = 256 };

/* Written by make_books alone. */
static vd_book iq3_s, iq3_xxs, iq2_s, iq2_xs, iq2_xxs, iq1_m, iq1_s;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_books(void)
{
    const vd_iq_grids *g = vd_iq_grids_get();
    const struct {
        vd_book *book;
        vd_book_family family;
    } all[] = {
        {&iq3_s, {4, 512, g->iq3_s[0], 32, 16, 1.0f, VD_BOOK_FREE}},
        {&iq3_xxs, {4, 256, g->iq3_xxs[0], 32, 16, 0.25f, VD_BOOK_EVEN}},
        {&iq2_s, {8, 1024, g->iq2_s[0], 16, 16, 0.125f, VD_BOOK_FREE}},
        {&iq2_xs, {8, 512, g->iq2_xs[0], 16, 16, 0.125f, VD_BOOK_EVEN}},
        {&iq2_xxs, {8, 256, g->iq2_xxs[0], 32, 16, 0.125f, VD_BOOK_EVEN}},
        {&iq1_m, {8, 2048, g->iq1[0], 16, 8, 1.0f, VD_BOOK_SHIFT_GROUP}},
        {&iq1_s, {8, 2048, g->iq1[0], 32, 8, 1.0f, VD_BOOK_SHIFT_SUB}},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        vd_book_make(&all[i].family, all[i].book);
}

typedef void (*pack_fn)(const vd_book_block *b, uint8_t *dst);

/* Each super-block to `size` bytes, which are zero when they come to `pack`. */
static void encode(const vd_book *book, const float *x, const float *w, uint8_t *dst,
                   size_t n_blocks, size_t size, pack_fn pack)
{
    pthread_once(&once, make_books);
    for (size_t i = 0; i < n_blocks; i++, x += SUPER, w = vd_next(w, SUPER), dst += size) {
        vd_book_block b;
        vd_book_search(book, x, w, &b);
        memset(dst, 0, size);
        if (b.d > 0.0f)
            pack(&b, dst);
    }
}

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

#define ENCODER(name, size)                                                                        \
    VD_ENCODER(vd_encode_##name)                                                                   \
    {                                                                                              \
        encode(&name, x, w, dst, n_blocks, size, pack_##name);                                     \
    }
ENCODER(iq3_s, 110)
ENCODER(iq3_xxs, 98)
ENCODER(iq2_s, 82)
ENCODER(iq2_xs, 74)
ENCODER(iq2_xxs, 66)
ENCODER(iq1_m, 56)
ENCODER(iq1_s, 50)
