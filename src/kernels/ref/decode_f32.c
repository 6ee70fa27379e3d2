/* decode_f32.c - F32 is little-endian already on the machines we build for. */
#include <string.h>

#include "kernels/ref/decode.h"

void vd_decode_f32(const uint8_t *restrict src, float *restrict dst, size_t n_blocks)
{
    if (n_blocks != 0)
        memcpy(dst, src, n_blocks * sizeof *dst);
}
