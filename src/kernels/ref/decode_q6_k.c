/*
 * decode_q6_k.c - 256 values in 210 bytes: ql[128], qh[64], int8 scales[16], d.
 *
 * Each half of 128 values has 64 bytes of ql and 32 of qh. Quarter k (32 values) of a half has its
 * lower 4 bits in the lower (k < 2) or upper (k >= 2) halves of ql[32 * (k % 2) ..], its upper
 * 2 bits in bits 2k, 2k+1 of qh. One scale per 16 values; value = d * scale * (q - 32).
 */
#include "kernels/ref/decode.h"

void vd_decode_q6_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 210, dst += 256) {
        const int8_t *scales = (const int8_t *)src + 192;
        float d = vd_load_f16(src + 208);
        for (int s = 0; s < 8; s++) {
            int half = s / 4, k = s % 4;
            const uint8_t *ql = src + 64 * half + 32 * (k % 2), *qh = src + 128 + 32 * half;
            float ds[2] = {d * (float)scales[2 * s], d * (float)scales[2 * s + 1]};
            for (int j = 0; j < 32; j++) {
                int q = (ql[j] >> 4 * (k / 2) & 15) | (qh[j] >> 2 * k & 3) << 4;
                dst[32 * s + j] = ds[j / 16] * (float)(q - 32);
            }
        }
    }
}
