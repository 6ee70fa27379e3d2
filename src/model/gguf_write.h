/*
 * gguf_write.h - a GGUF file (version 3) written front to back, whole or not at all.
 *
 *   vd_gguf_out *out;
 *   vd_gguf_out_open("m.gguf", 32, &out, err);
 *   vd_gguf_out_str(out, "general.architecture", "llama");        metadata, in file order
 *   vd_gguf_out_tensor(out, name, VD_DTYPE_F16, 2, dim);          the table of tensors
 *   vd_gguf_out_begin(out, err);                                  writes both
 *   vd_gguf_out_data(out, bytes, n, err);                         the tensors' data, in their order
 *   vd_gguf_out_commit(out, err);                                 syncs, and renames into place
 *   vd_gguf_out_free(out);                                        without commit: leaves nothing
 *
 * What the table says fixes the size of the file, and the room is reserved on disk at `begin` where
 * the file system can: a full disk is known before the work. Failures while metadata and the table
 * are gathered stick, and `begin` reports them. Single-owner.
 */
#ifndef VD_MODEL_GGUF_WRITE_H
#define VD_MODEL_GGUF_WRITE_H

#include "kernels/dtype.h"
#include "model/gguf.h"

typedef struct vd_gguf_out vd_gguf_out;

/* `alignment`: a power of two; unless it is 32 it is written as general.alignment. */
VD_NODISCARD vd_status vd_gguf_out_open(const char *path, uint64_t alignment,
                                        vd_gguf_out **ret_out, vd_err *err);
void vd_gguf_out_free(vd_gguf_out *out); /* NULL is a no-op */

/* A pair of another file as it stands, arrays too. general.alignment is passed over. */
void vd_gguf_out_kv(vd_gguf_out *out, const vd_gguf_kv *kv);
void vd_gguf_out_u32(vd_gguf_out *out, const char *key, uint32_t value);
void vd_gguf_out_i32(vd_gguf_out *out, const char *key, int32_t value);
void vd_gguf_out_f32(vd_gguf_out *out, const char *key, float value);
void vd_gguf_out_bool(vd_gguf_out *out, const char *key, bool value);
void vd_gguf_out_str(vd_gguf_out *out, const char *key, const char *value);
/* An array of n bytes (u8). */
void vd_gguf_out_bytes(vd_gguf_out *out, const char *key, const void *bytes, size_t n);
/* The start of an array; its items follow by vd_gguf_out_item_*, n of them. */
void vd_gguf_out_array(vd_gguf_out *out, const char *key, vd_gguf_type item_type, uint64_t n);
void vd_gguf_out_item_i32(vd_gguf_out *out, int32_t value);
void vd_gguf_out_item_bool(vd_gguf_out *out, bool value);
void vd_gguf_out_item_f32(vd_gguf_out *out, float value);
void vd_gguf_out_item_str(vd_gguf_out *out, vd_str value);

/* dim[0] is the contiguous one, a multiple of the type's block. `name` is copied. */
void vd_gguf_out_tensor(vd_gguf_out *out, vd_str name, uint32_t dtype, uint32_t n_dims,
                        const uint64_t *dim);

/* VD_ERR_LIMIT above 1 GiB of metadata, VD_ERR_ARG for a tensor that has no size, VD_ERR_NOMEM,
 * VD_ERR_IO (a full disk too). */
VD_NODISCARD vd_status vd_gguf_out_begin(vd_gguf_out *out, vd_err *err);
/* Bytes of the whole file; known from begin on. */
uint64_t vd_gguf_out_file_bytes(const vd_gguf_out *out);
/* The next bytes of the tensors' data, in pieces of any size that end where a tensor ends; the
 * space between tensors is filled here. */
VD_NODISCARD vd_status vd_gguf_out_data(vd_gguf_out *out, const void *bytes, size_t n, vd_err *err);
/* All tensors' data must have come. */
VD_NODISCARD vd_status vd_gguf_out_commit(vd_gguf_out *out, vd_err *err);
/* Instead of it, as vd_atomic_file_take. */
VD_NODISCARD vd_status vd_gguf_out_take(vd_gguf_out *out, int *ret_fd, vd_err *err);

#endif
