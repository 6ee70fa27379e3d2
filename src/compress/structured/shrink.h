/*
 * shrink.h - the file of what a plan keeps: rows and columns picked out of the source's tensors.
 *
 *   vd_shrink_open            the file beside its final name
 *   vd_shrink_begin           metadata and table; what is in no layer (the width is chosen by now)
 *   for each layer: vd_shrink_layer
 *   vd_shrink_commit
 *
 * Where only rows go, the bytes of the others are copied, in any type. Where columns go, floats
 * stay of their type and what was quantized becomes F16. Memory is one matrix. Single-owner.
 */
#ifndef VD_COMPRESS_STRUCTURED_SHRINK_H
#define VD_COMPRESS_STRUCTURED_SHRINK_H

#include "base/pool.h"
#include "compress/structured/plan.h"

typedef struct vd_shrink vd_shrink;

/* plan is borrowed and may be filled in further until a layer is written. */
VD_NODISCARD vd_status vd_shrink_open(const vd_cut_plan *plan, const char *target, vd_pool *pool,
                                      vd_shrink **ret_shrink, vd_err *err);
void vd_shrink_free(vd_shrink *shrink); /* without commit nothing remains */

/* A tensor's new values, in the new shape; and which tensor of the source they are for. */
typedef struct vd_shrink_values {
    const vd_gguf_tensor *tensor;
    const float *values;
} vd_shrink_values;

/* values[n] of tensors that are in no layer. VD_ERR_UNSUPPORTED names a tensor that is not known,
 * VD_ERR_LIMIT what a key of the metadata cannot say. */
VD_NODISCARD vd_status vd_shrink_begin(vd_shrink *shrink, const vd_shrink_values *values, size_t n,
                                       vd_err *err);
/* Layers of the source in order; those that go are passed over. */
VD_NODISCARD vd_status vd_shrink_layer(vd_shrink *shrink, size_t layer,
                                       const vd_shrink_values *values, size_t n, vd_err *err);
/* ret_fd: as vd_compress_options.ret_fd. */
VD_NODISCARD vd_status vd_shrink_commit(vd_shrink *shrink, int *ret_fd, vd_err *err);

/* The type that a tensor has in the new file. */
vd_dtype vd_shrink_dtype(const vd_cut_plan *plan, const vd_gguf_tensor *tensor);
/* values[n_rows, n_cols] become what the file's type makes of them. VD_ERR_FORMAT for one that it
 * cannot hold, with the tensor's name. */
VD_NODISCARD vd_status vd_shrink_round(vd_dtype dtype, const vd_gguf_tensor *tensor, float *values,
                                       size_t n_rows, size_t n_cols, vd_err *err);

#endif
