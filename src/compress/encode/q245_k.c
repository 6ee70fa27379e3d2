/*
 * q245_k.c - Q2_K, Q4_K and Q5_K. See affine.h for the search, decode_q2_k.c, decode_q4_k.c and
 * decode_q5_k.c for the layouts.
 */
#include "compress/encode/affine.h"

VD_ENCODER(vd_encode_q2_k)
{
    static const vd_affine_family family = {.sub = 16, .s_max = 15, .top = 3, .step = 0.2f,
                                            .n_windows = 1, .n_starts = 3, .by_size = true};
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 84) {
        vd_affine_block block;
        vd_affine_search(&family, x, w, &block);
        memset(dst + 16, 0, 64);
        for (int i = 0; i < VD_SUPER; i++)
            dst[16 + 32 * (i / 128) + i % 32] |= (uint8_t)((int)block.q[i] << i % 128 / 32 * 2);
        for (int i = 0; i < 16; i++)
            dst[i] = (uint8_t)(block.s[i] | block.m[i] << 4);
        vd_store_f16(dst + 80, block.d);
        vd_store_f16(dst + 82, block.dmin);
    }
}

/* d, dmin, and S and M of 6 bits (vd_k_scale in decode.h reads them). */
static void put_scales(const vd_affine_block *block, uint8_t *dst)
{
    vd_store_f16(dst, block->d);
    vd_store_f16(dst + 2, block->dmin);
    uint8_t *b = dst + 4;
    for (int i = 0; i < 4; i++) {
        b[i] = (uint8_t)(block->s[i] | block->s[i + 4] >> 4 << 6);
        b[i + 4] = (uint8_t)(block->m[i] | block->m[i + 4] >> 4 << 6);
        b[i + 8] = (uint8_t)((block->s[i + 4] & 15) | (block->m[i + 4] & 15) << 4);
    }
}

/* Codes of 4 bits in the order of Q4_K. */
static void put_codes(const vd_affine_block *block, uint8_t *qs)
{
    for (int i = 0; i < VD_SUPER; i += 64)
        for (int j = 0; j < 32; j++)
            qs[i / 2 + j] = (uint8_t)(((int)block->q[i + j] & 15) |
                                      ((int)block->q[i + 32 + j] & 15) << 4);
}

VD_ENCODER(vd_encode_q4_k)
{
    static const vd_affine_family family = {.sub = 32, .s_max = 63, .top = 15, .step = 0.2f,
                                            .n_windows = 2, .n_starts = 1};
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 144) {
        vd_affine_block block;
        vd_affine_search(&family, x, w, &block);
        put_scales(&block, dst);
        put_codes(&block, dst + 16);
    }
}

VD_ENCODER(vd_encode_q5_k)
{
    static const vd_affine_family family = {.sub = 32, .s_max = 63, .top = 31, .step = 0.2f,
                                            .n_windows = 5, .n_starts = 1};
    for (size_t b = 0; b < n_blocks; b++, x += VD_SUPER, w = vd_next(w, VD_SUPER), dst += 176) {
        vd_affine_block block;
        vd_affine_search(&family, x, w, &block);
        put_scales(&block, dst);
        memset(dst + 16, 0, 32);
        for (int i = 0; i < VD_SUPER; i++)
            dst[16 + i % 32] |= (uint8_t)(((int)block.q[i] >> 4) << i / 32);
        put_codes(&block, dst + 48);
    }
}
