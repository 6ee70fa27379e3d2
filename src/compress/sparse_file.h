/*
 * sparse_file.h - a model whose matrices of many zeros are kept sparse in the file: docs/sparse.md.
 *
 * A file of dense Q8_0 is read twice, for how many bytes there will be and for the bytes. Where
 * something else is to be done too (options->type and so on), that is done first, to a file beside
 * the target that has a name only while it is written.
 */
#ifndef VD_COMPRESS_SPARSE_FILE_H
#define VD_COMPRESS_SPARSE_FILE_H

#include "compress/compress.h"

/* Whether the file can hold the tensor so where it is in Q8_0: matrices, but for the table of
 * embeddings, of which single rows are read. */
bool vd_sparse_file_can(const vd_gguf_tensor *tensor);
/* Bytes that its entry in the head then takes above a dense one's. */
size_t vd_sparse_file_head_bytes(const vd_gguf_tensor *tensor);
enum { VD_SPARSE_FILE_HEAD = 160 }; /* at most, of the lists' names and so on, in every such file */

/* vd_compress_run, and then the sparse form of every matrix in Q8_0 that it makes smaller.
 * VD_ERR_ARG where there is none, and as vd_compress_run. */
VD_NODISCARD vd_status vd_compress_run_sparse(const char *source, const char *target,
                                              const vd_compress_options *options,
                                              vd_compress_result *ret_result, vd_err *err);

#endif
