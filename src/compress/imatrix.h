/*
 * imatrix.h - importance files: how large what each matrix reads is, as llama.cpp's `llama-imatrix`
 * writes it and its quantizer reads it. Both forms: GGUF (general.type "imatrix", per tensor
 * NAME.in_sum2 [n_cols, n_experts] and NAME.counts [1, n_experts]) and the older .dat (a list of
 * names, calls and mean squares times calls, little-endian).
 *
 * Single-owner.
 */
#ifndef VD_COMPRESS_IMATRIX_H
#define VD_COMPRESS_IMATRIX_H

#include "model/gguf.h"

typedef struct vd_imatrix vd_imatrix;

typedef struct vd_imatrix_entry {
    char *name;     /* of the tensor */
    size_t n_cols;  /* values of a row; 0 where the file does not say (.dat): n_sums / experts */
    size_t n_sums, n_counts;
    float *sum;     /* [n_sums] of squares, expert after expert; not negative */
    float *count;   /* [n_counts] of how many inputs; 0: nothing is known */
} vd_imatrix_entry;

VD_NODISCARD vd_status vd_imatrix_create(vd_imatrix **ret_imatrix, vd_err *err);
void vd_imatrix_free(vd_imatrix *imatrix); /* NULL is a no-op */

/* VD_ERR_FORMAT for what is cut short, sizes that contradict each other, values that are not finite
 * or negative, means that are not finite, a name that comes twice, and a file without entries.
 * VD_ERR_IO, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_imatrix_read(const char *path, vd_imatrix **ret_imatrix, vd_err *err);
/* The same from memory; `path` is for messages. */
VD_NODISCARD vd_status vd_imatrix_parse(const char *path, const void *data, size_t n,
                                        vd_imatrix **ret_imatrix, vd_err *err);

size_t vd_imatrix_n(const vd_imatrix *imatrix);
const vd_imatrix_entry *vd_imatrix_at(const vd_imatrix *imatrix, size_t i);
/* NULL where there is none of this name. */
const vd_imatrix_entry *vd_imatrix_find(const vd_imatrix *imatrix, vd_str name);

/* ret[n_experts, n_cols]: mean squares; 1 throughout an expert of which nothing is known.
 * VD_ERR_FORMAT where the entry is not of a matrix of this size. */
VD_NODISCARD vd_status vd_imatrix_means(const vd_imatrix_entry *entry, size_t n_experts,
                                        size_t n_cols, float *ret, vd_err *err);

/* An entry with room for n_experts times n_cols sums, all 0; borrowed until the next one. `name` is
 * copied. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_imatrix_add(vd_imatrix *imatrix, vd_str name, size_t n_experts,
                                      size_t n_cols, vd_imatrix_entry **ret_entry, vd_err *err);

/* What the file says of the text. */
typedef struct vd_imatrix_text {
    const char *path;
    size_t n_chunks, ctx;
} vd_imatrix_text;

/* GGUF, or where `path` ends in .dat the older form; whole or not at all. VD_ERR_IO,
 * VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_imatrix_write(const vd_imatrix *imatrix, const char *path,
                                        const vd_imatrix_text *text, vd_err *err);

#endif
