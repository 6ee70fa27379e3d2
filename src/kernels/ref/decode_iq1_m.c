/*
 * decode_iq1_m.c - 256 values in 56 bytes: qs[32], qh[16], scales[4] of 16 bits.
 *
 * As IQ1_S, but each half byte of qh has the upper 3 bits of one point and the direction of its
 * shift, and each 3 bits of scales are the scale S of 16 values. The upper 4 bits of the four
 * scales are d, from its lowest bits up; value = d * (2 S + 1) * (grid value +- 1/8).
 */
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

void vd_decode_iq1_m(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (size_t b = 0; b < n_blocks; b++, src += 56) {
        unsigned bits = 0;
        for (int i = 0; i < 4; i++)
            bits |= (unsigned)(vd_load_u16(src + 48 + 2 * i) >> 12) << 4 * i;
        float d = vd_f16_to_f32((uint16_t)bits);
        for (int g = 0; g < 32; g++, dst += 8) {
            unsigned qh = src[32 + g / 2] >> g % 2 * 4;
            const int8_t *point = grids->iq1[src[g] | (qh & 7) << 8];
            int scale = vd_load_u16(src + 48 + 2 * (g / 8)) >> g / 2 % 4 * 3 & 7;
            float ds = d * (float)(2 * scale + 1);
            float shift = qh & 8 ? -VD_IQ1_SHIFT : VD_IQ1_SHIFT;
            for (int j = 0; j < 8; j++)
                dst[j] = ds * ((float)point[j] + shift);
        }
    }
}
