/*
 * decode_iq2_s.c - 256 values in 82 bytes: d, qs[32], signs[32], qh[8], scales[8].
 *
 * Eight values take a point of a grid (iq_grids.h), whose number has its lower 8 bits in qs and two
 * more in qh, and a byte of signs. A scale S, 4 bits, per 16 values, the lower half of a byte
 * first; value = d * (S + 1/2) / 4 * grid value, with its sign.
 */
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

void vd_decode_iq2_s(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (size_t b = 0; b < n_blocks; b++, src += 82) {
        const uint8_t *qs = src + 2, *signs = src + 34, *qh = src + 66, *scales = src + 74;
        float d = vd_load_f16(src);
        for (int g = 0; g < 32; g++, dst += 8) {
            int point = qs[g] | (qh[g / 4] >> g % 4 * 2 & 3) << 8;
            int scale = scales[g / 4] >> g / 2 % 2 * 4 & 15;
            vd_put_signed(grids->iq2_s[point], 8, signs[g], d * ((float)scale + 0.5f) * 0.25f, dst);
        }
    }
}
