/*
 * iq.h - where the parts of a code book's super-block (book.h) stand in IQ3_S, IQ3_XXS, IQ2_S,
 * IQ2_XS, IQ2_XXS, IQ1_M and IQ1_S. The layouts are those of kernels/ref/decode_iq*.c.
 */
#ifndef VD_COMPRESS_ENCODE_IQ_H
#define VD_COMPRESS_ENCODE_IQ_H

#include <stddef.h>

#include "compress/encode/book.h"

typedef struct vd_iq {
    const vd_book *book;
    size_t bytes; /* of a super-block of 256 values */
    /* All of it; dst comes as zeros. */
    void (*pack)(const vd_book_block *block, uint8_t *dst);
    /* Its scales: d, s, and `down` where that is a sub-block's. */
    void (*scales)(const uint8_t *src, vd_book_block *ret);
} vd_iq;

typedef enum vd_iq_type {
    VD_IQ3_S, VD_IQ3_XXS, VD_IQ2_S, VD_IQ2_XS, VD_IQ2_XXS, VD_IQ1_M, VD_IQ1_S, VD_IQ_TYPES
} vd_iq_type;

/* Any thread. */
const vd_iq *vd_iq_get(vd_iq_type type);

#endif
