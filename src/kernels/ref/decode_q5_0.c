/*
 * decode_q5_0.c - 32 values in 22 bytes: d, qh (32 bits), qs[16].
 * As Q4_0, and bit i of qh is bit 4 of value i; value = d * (q - 16).
 */
#include "kernels/ref/decode.h"

void vd_decode_q5_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 22, dst += 32) {
        float d = vd_load_f16(src);
        uint32_t qh = vd_load_u32(src + 2);
        const uint8_t *qs = src + 6;
        for (int j = 0; j < 16; j++) {
            int lo = (qs[j] & 15) + (qh & 1u << j ? 16 : 0);
            int hi = (qs[j] >> 4) + (qh & 1u << (j + 16) ? 16 : 0);
            dst[j] = d * (float)(lo - 16);
            dst[j + 16] = d * (float)(hi - 16);
        }
    }
}
