/*
 * filetype.h - the quantizations a whole file may have, by the names the field uses: "Q4_K_M".
 *
 * One is mostly of one tensor type; which tensors get another is the matter of mix.h. The list is
 * what llama.cpp's quantizer makes.
 */
#ifndef VD_COMPRESS_FILETYPE_H
#define VD_COMPRESS_FILETYPE_H

#include <stddef.h>

#include "kernels/dtype.h"

/* The numbers are general.file_type's. */
typedef enum vd_file_number {
    VD_FILE_F32 = 0,
    VD_FILE_F16 = 1,
    VD_FILE_Q4_0 = 2,
    VD_FILE_Q4_1 = 3,
    VD_FILE_Q8_0 = 7,
    VD_FILE_Q5_0 = 8,
    VD_FILE_Q5_1 = 9,
    VD_FILE_Q2_K = 10,
    VD_FILE_Q3_K_S = 11,
    VD_FILE_Q3_K_M = 12,
    VD_FILE_Q3_K_L = 13,
    VD_FILE_Q4_K_S = 14,
    VD_FILE_Q4_K_M = 15,
    VD_FILE_Q5_K_S = 16,
    VD_FILE_Q5_K_M = 17,
    VD_FILE_Q6_K = 18,
    VD_FILE_IQ2_XXS = 19,
    VD_FILE_IQ2_XS = 20,
    VD_FILE_Q2_K_S = 21,
    VD_FILE_IQ3_XS = 22,
    VD_FILE_IQ3_XXS = 23,
    VD_FILE_IQ1_S = 24,
    VD_FILE_IQ4_NL = 25,
    VD_FILE_IQ3_S = 26,
    VD_FILE_IQ3_M = 27,
    VD_FILE_IQ2_S = 28,
    VD_FILE_IQ2_M = 29,
    VD_FILE_IQ4_XS = 30,
    VD_FILE_IQ1_M = 31,
    VD_FILE_BF16 = 32,
    VD_FILE_TQ1_0 = 36,
    VD_FILE_TQ2_0 = 37,
    VD_FILE_MXFP4_MOE = 38,
    VD_FILE_Q1_0 = 40,
    VD_FILE_Q2_0 = 41
} vd_file_number;

typedef struct vd_filetype {
    const char *name;
    vd_file_number number;
    vd_dtype dtype;   /* of most of its matrices */
    const char *note; /* for a list, "" where the name says it all */
} vd_filetype;

size_t vd_filetype_n(void);
const vd_filetype *vd_filetype_at(size_t i); /* by falling size */
/* Any case; Q3_K, Q4_K and Q5_K mean the _M mixtures, as everywhere. NULL when unknown. */
const vd_filetype *vd_filetype_find(const char *name);
/* Of a file most of whose weights are of a type. NULL where there is none. */
const vd_filetype *vd_filetype_of(uint32_t dtype);

#endif
