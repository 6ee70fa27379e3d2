/*
 * decode_iq1_s.c - 256 values in 50 bytes: d, qs[32], qh[8] of 16 bits.
 *
 * Eight values take a point of a grid of -1, 0, 1 (iq_grids.h), whose number has its lower 8 bits
 * in qs and three more in qh. Each of qh serves 32 values: four times 3 bits, 3 bits of scale S,
 * and the direction of a shift; value = d * (2 S + 1) * (grid value +- 1/8).
 */
#include "kernels/ref/decode.h"
#include "kernels/ref/iq_grids.h"

void vd_decode_iq1_s(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    const vd_iq_grids *grids = vd_iq_grids_get();
    for (size_t b = 0; b < n_blocks; b++, src += 50) {
        float d = vd_load_f16(src);
        for (int g = 0; g < 32; g++, dst += 8) {
            unsigned qh = vd_load_u16(src + 34 + 2 * (g / 4));
            const int8_t *point = grids->iq1[src[2 + g] | (qh >> g % 4 * 3 & 7) << 8];
            float ds = d * (float)(2 * (qh >> 12 & 7) + 1);
            float shift = qh & 0x8000 ? -VD_IQ1_SHIFT : VD_IQ1_SHIFT;
            for (int j = 0; j < 8; j++)
                dst[j] = ds * ((float)point[j] + shift);
        }
    }
}
