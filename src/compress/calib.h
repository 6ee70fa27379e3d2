/*
 * calib.h - the text that a compression is calibrated on, as chunks of tokens.
 */
#ifndef VD_COMPRESS_CALIB_H
#define VD_COMPRESS_CALIB_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "model/gguf.h"

typedef struct vd_calib_options {
    const char *path; /* a text file, "-" for standard input */
    size_t ctx;       /* tokens of a chunk; 0: 512 */
    size_t n_chunks;  /* 0: at most 128 */
} vd_calib_options;

enum { VD_CALIB_CTX = 512, VD_CALIB_CHUNKS = 128, VD_CALIB_CTX_MAX = 8192 };

typedef struct vd_calib {
    int32_t *token; /* [n_chunks, ctx], owned */
    size_t n_chunks, ctx;
} vd_calib;

/* Consecutive chunks from the beginning, tokenized as perplexity is counted: special tokens are
 * read, and where the vocabulary adds BOS it stands first in every chunk. VD_ERR_ARG where the text
 * has less than one chunk, VD_ERR_IO, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_calib_read(const vd_gguf *gguf, const vd_calib_options *options,
                                     vd_calib *ret_calib, vd_err *err);
void vd_calib_done(vd_calib *calib);

#endif
