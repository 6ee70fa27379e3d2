/*
 * decode_iq3_xxs.c - 256 values in 98 bytes: d, qs[64], rest[8] of 32 bits.
 *
 * Four values take a byte, a point of a grid (iq_grids.h). Each of rest serves 32 values: four
 * times 7 bits of signs of eight values (vd_signs_of_7), and 4 bits of scale S.
 * value = d * (S + 1/2) / 2 * grid value, with its sign.
 */
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

void vd_decode_iq3_xxs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (size_t b = 0; b < n_blocks; b++, src += 98) {
        float d = vd_load_f16(src);
        for (int g = 0; g < 32; g++, dst += 8) {
            const uint8_t *qs = src + 2 + 2 * g;
            uint32_t rest = vd_load_u32(src + 66 + 4 * (g / 4));
            float ds = d * ((float)(rest >> 28) + 0.5f) * 0.5f;
            unsigned signs = vd_signs_of_7(rest >> g % 4 * 7 & 127);
            vd_put_signed(grids->iq3_xxs[qs[0]], 4, signs, ds, dst);
            vd_put_signed(grids->iq3_xxs[qs[1]], 4, signs >> 4, ds, dst + 4);
        }
    }
}
