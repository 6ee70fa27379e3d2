/* decode_bf16.c - BF16, one value per block. */
#include "kernels/ref/decode.h"

void vd_decode_bf16(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++)
        dst[i] = vd_bf16_to_f32(vd_load_u16(src + 2 * i));
}
