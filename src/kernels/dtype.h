/*
 * dtype.h - the tensor types of GGUF, by ggml's numbers, and the shape of their blocks.
 *
 * A tensor's row is cut into blocks of `block` values that take `bytes` bytes each. All numbers
 * 0..42 are known here, so that any container can be read; decoding and computing with a type is
 * another matter, see vd_dtype_decodable and kernels.h. Threads: pure functions.
 */
#ifndef VD_KERNELS_DTYPE_H
#define VD_KERNELS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum vd_dtype {
    VD_DTYPE_F32 = 0,
    VD_DTYPE_F16 = 1,
    VD_DTYPE_Q4_0 = 2,
    VD_DTYPE_Q4_1 = 3,
    VD_DTYPE_Q5_0 = 6,
    VD_DTYPE_Q5_1 = 7,
    VD_DTYPE_Q8_0 = 8,
    VD_DTYPE_Q2_K = 10,
    VD_DTYPE_Q3_K = 11,
    VD_DTYPE_Q4_K = 12,
    VD_DTYPE_Q5_K = 13,
    VD_DTYPE_Q6_K = 14,
    VD_DTYPE_IQ2_XXS = 16,
    VD_DTYPE_IQ2_XS = 17,
    VD_DTYPE_IQ3_XXS = 18,
    VD_DTYPE_IQ1_S = 19,
    VD_DTYPE_IQ4_NL = 20,
    VD_DTYPE_IQ3_S = 21,
    VD_DTYPE_IQ2_S = 22,
    VD_DTYPE_IQ4_XS = 23,
    VD_DTYPE_IQ1_M = 29,
    VD_DTYPE_BF16 = 30,
    VD_DTYPE_TQ1_0 = 34,
    VD_DTYPE_TQ2_0 = 35,
    VD_DTYPE_MXFP4 = 39,
    VD_DTYPE_NVFP4 = 40,
    VD_DTYPE_Q1_0 = 41,
    VD_DTYPE_Q2_0 = 42,
    VD_DTYPE_LIMIT = 43 /* one above the largest number known */
} vd_dtype;

typedef struct vd_dtype_info {
    const char *name;  /* "Q4_K"; NULL for a number not in use (4, 5 and other removed ones) */
    uint16_t block;    /* values per block */
    uint16_t bytes;    /* bytes per block */
} vd_dtype_info;

/* NULL for a number outside 0..42 or one that ggml removed. Static storage. */
const vd_dtype_info *vd_dtype_get(uint32_t number);
/* "Q4_K", or "unknown". */
const char *vd_dtype_name(uint32_t number);
/* Bytes of a row of n values: false when n is no multiple of the block or the size overflows. */
bool vd_dtype_row_bytes(uint32_t number, size_t n, size_t *ret_bytes);
/* True where vd_dtype_decode works: the types in the enum above. */
bool vd_dtype_decodable(uint32_t number);

/* n values (a multiple of the block) of a decodable type to f32; plain C, the reference for all
 * kernels. src need not be aligned. */
void vd_dtype_decode(vd_dtype dtype, const void *src, float *dst, size_t n);

float vd_f16_to_f32(uint16_t half);
uint16_t vd_f32_to_f16(float value);  /* nearest even; overflow gives infinity */
float vd_bf16_to_f32(uint16_t bits);
uint16_t vd_f32_to_bf16(float value); /* nearest even; NaN stays NaN */

#endif
