/*
 * decode_iq2_xxs.c - 256 values in 66 bytes: d, qs[64].
 *
 * 32 values take 8 bytes: four numbers of points of a grid (iq_grids.h), eight values each, then 32
 * bits: four times 7 bits of signs (vd_signs_of_7), and 4 bits of scale S.
 * value = d * (S + 1/2) / 4 * grid value, with its sign.
 */
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

void vd_decode_iq2_xxs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (size_t b = 0; b < n_blocks; b++, src += 66) {
        float d = vd_load_f16(src);
        for (int s = 0; s < 8; s++) {
            const uint8_t *qs = src + 2 + 8 * s;
            uint32_t rest = vd_load_u32(qs + 4);
            float ds = d * ((float)(rest >> 28) + 0.5f) * 0.25f;
            for (int g = 0; g < 4; g++, dst += 8)
                vd_put_signed(grids->iq2_xxs[qs[g]], 8, vd_signs_of_7(rest >> 7 * g & 127), ds,
                              dst);
        }
    }
}
