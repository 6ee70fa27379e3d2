/*
 * piece.h - some rows of a tensor from one type to another by all threads, edited on the way.
 */
#ifndef VD_COMPRESS_PIECE_H
#define VD_COMPRESS_PIECE_H

#include <stdatomic.h>

#include "compress/edit.h"

typedef struct vd_piece {
    vd_dtype from, to;
    const unsigned char *src;
    unsigned char *dst;  /* NULL: nothing is encoded, only `values` are wanted */
    float *values;       /* [n_rows, n_cols] what the new rows decode to; without dst, what they
                            were edited to. It may be src, for F32. NULL: nobody wants them */
    size_t n_rows, n_cols, src_bytes, dst_bytes; /* bytes: of a row */
    float *scratch;      /* [n_threads, n_cols] */
    const vd_edit *edit; /* NULL: values stay */
    const float *weights; /* [ceil(rows / rows_per_weights), n_cols] for vd_encode_row, of the
                             tensor's rows; NULL: none */
    size_t rows_per_weights;
    size_t first_row;    /* of the tensor's */
    bool count;          /* zeros, before and after */
    atomic_uint_fast64_t n_zeros_before, n_zeros_after; /* added up from piece to piece */
    /* inside */
    atomic_size_t next;
    atomic_size_t bad_row; /* one that holds a value that cannot be; SIZE_MAX none */
    float bad_value;       /* of the thread that set bad_row */
} vd_piece;

/* VD_ERR_FORMAT for a value that is not finite or too large, with the tensor's name and row. */
VD_NODISCARD vd_status vd_piece_run(vd_piece *piece, vd_pool *pool, const char *name, size_t n_name,
                                    vd_err *err);

#endif
