/*
 * gguf_sparse.h - tensors that a file keeps sparse: our extension of GGUF, docs/sparse.md.
 *
 * Their bytes stand as tensor NAME.sparse of type I8; the metadata say which they are and what
 * shape NAME has. An open vd_gguf shows NAME with that shape, type Q8_0 and `stored` in place of
 * `data`, until it is expanded.
 */
#ifndef VD_MODEL_GGUF_SPARSE_H
#define VD_MODEL_GGUF_SPARSE_H

#include "model/gguf.h"

#define VD_GGUF_SPARSE_SUFFIX ".sparse"
#define VD_GGUF_SPARSE_PREFIX "verdant.sparse." /* of the keys below */
#define VD_GGUF_SPARSE_VERSION "verdant.sparse.version"
#define VD_GGUF_SPARSE_TENSORS "verdant.sparse.tensors"
#define VD_GGUF_SPARSE_SHAPES "verdant.sparse.shapes"

/* Makes dense rows of the i-th tensor where it is sparse: `data` and `n_bytes` are theirs from then
 * on. For the one who opened the file, before others read it. VD_ERR_FORMAT, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_gguf_expand_tensor(vd_gguf *gguf, size_t i, vd_err *err);
/* The same for all tensors. */
VD_NODISCARD vd_status vd_gguf_expand(vd_gguf *gguf, vd_err *err);

#endif
