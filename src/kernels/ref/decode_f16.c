/* decode_f16.c - F16, one value per block. */
#include "kernels/ref/decode.h"

void vd_decode_f16(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++)
        dst[i] = vd_load_f16(src + 2 * i);
}
