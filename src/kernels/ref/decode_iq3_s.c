/*
 * decode_iq3_s.c - 256 values in 110 bytes: d, qs[64], qh[8], signs[32], scales[4].
 *
 * Four values take a point of a grid (iq_grids.h), whose number has its lower 8 bits in qs and one
 * more in qh, and half a byte of signs. A scale S, 4 bits, per 32 values, the lower half of a byte
 * first; value = d * (1 + 2 S) * grid value, with its sign.
 */
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

void vd_decode_iq3_s(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (size_t b = 0; b < n_blocks; b++, src += 110) {
        const uint8_t *qs = src + 2, *qh = src + 66, *signs = src + 74, *scales = src + 106;
        float d = vd_load_f16(src);
        for (int g = 0; g < 64; g++, dst += 4) {
            int point = qs[g] | (qh[g / 8] >> g % 8 & 1) << 8;
            int scale = scales[g / 16] >> g / 8 % 2 * 4 & 15;
            vd_put_signed(grids->iq3_s[point], 4, signs[g / 2] >> g % 2 * 4,
                          d * (float)(1 + 2 * scale), dst);
        }
    }
}
