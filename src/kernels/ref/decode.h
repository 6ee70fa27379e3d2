/*
 * decode.h - one decoder per tensor type: blocks of packed values to f32, in plain C.
 *
 * These define what the values of a file are; every faster path is held against them, and they are
 * held bit for bit against PyPI's `gguf` and llama.cpp. `src` needs no alignment. In the pictures
 * d, m and dmin are little-endian f16, and lo/hi is the lower/upper half of a byte. Threads: pure
 * functions.
 */
#ifndef VD_KERNELS_REF_DECODE_H
#define VD_KERNELS_REF_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"

typedef void (*vd_decode_fn)(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);

void vd_decode_f32(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_f16(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_bf16(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q4_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q4_1(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q5_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q5_1(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q8_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q4_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q5_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q6_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q2_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q3_k(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq4_nl(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq4_xs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq2_xxs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq2_xs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq2_s(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq3_xxs(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq3_s(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq1_s(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_iq1_m(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_mxfp4(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_nvfp4(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_tq1_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_tq2_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q1_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);
void vd_decode_q2_0(const uint8_t *restrict src, float *restrict dst, size_t n_blocks);

/* What the 16 codes of IQ4_NL and IQ4_XS mean, and those of MXFP4 and NVFP4 (doubled e2m1). */
extern const int8_t vd_iq4_values[16], vd_fp4_values[16];
/* Half of the power of two that e means: the table above is doubled. */
float vd_mxfp4_scale(uint8_t e);

/* Little-endian words at any address. */
static inline uint16_t vd_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t vd_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline float vd_load_f16(const uint8_t *p)
{
    return vd_f16_to_f32(vd_load_u16(p));
}

/* The i-th (0..7) 6-bit scale and minimum of a Q4_K or Q5_K block's 12 bytes: the first four of
 * each lie in the lower 6 bits of bytes 0..3 and 4..7; of the others the lower 4 bits are the two
 * halves of bytes 8..11, and the upper 2 bits are what bytes 0..7 have left. */
static inline void vd_k_scale(const uint8_t *b, int i, uint8_t *ret_scale, uint8_t *ret_min)
{
    if (i < 4) {
        *ret_scale = b[i] & 63;
        *ret_min = b[i + 4] & 63;
    } else {
        *ret_scale = (uint8_t)((b[i + 4] & 15) | (b[i - 4] >> 6) << 4);
        *ret_min = (uint8_t)((b[i + 4] >> 4) | (b[i] >> 6) << 4);
    }
}

/* The i-th (0..15) 6-bit scale of a Q3_K block's 12 bytes: the lower four bits are the halves of
 * bytes 0..7, the upper two lie four to a byte in bytes 8..11. */
static inline int vd_q3_k_scale(const uint8_t *b, int i)
{
    int low = i < 8 ? b[i] & 15 : b[i - 8] >> 4;
    return low | (b[8 + i % 4] >> i / 4 * 2 & 3) << 4;
}

/* The i-th (0..7) 6-bit scale of an IQ4_XS block. */
static inline int vd_iq4_xs_scale(const uint8_t *block, int i)
{
    return (block[4 + i / 2] >> i % 2 * 4 & 15) | (vd_load_u16(block + 2) >> 2 * i & 3) << 4;
}

#endif
