/*
 * decode_iq2_xs.c - 256 values in 74 bytes: d, qs[32] of 16 bits, scales[8].
 *
 * Eight values take 16 bits: 9 bits a point of a grid (iq_grids.h), 7 bits signs (vd_signs_of_7).
 * A scale S, 4 bits, per 16 values, the lower half of a byte first.
 * value = d * (S + 1/2) / 4 * grid value, with its sign.
 */
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

void vd_decode_iq2_xs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (size_t b = 0; b < n_blocks; b++, src += 74) {
        float d = vd_load_f16(src);
        for (int g = 0; g < 32; g++, dst += 8) {
            unsigned q = vd_load_u16(src + 2 + 2 * g);
            int scale = src[66 + g / 4] >> g / 2 % 2 * 4 & 15;
            vd_put_signed(grids->iq2_xs[q & 511], 8, vd_signs_of_7(q >> 9),
                          d * ((float)scale + 0.5f) * 0.25f, dst);
        }
    }
}
