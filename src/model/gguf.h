/*
 * gguf.h - the GGUF container, versions 2 and 3, mapped and checked.
 *
 * Follows the GGUF specification of ggml (docs/gguf.md there) and, where it is silent, what
 * llama.cpp v0.5.0 accepts. Nothing here needs an architecture or weights. Every number read is
 * checked against the file before it is used, and no allocation is sized by an unverified number.
 *
 * A vd_gguf is immutable after open and may be read by many threads. Strings and arrays point into
 * the mapping (or the model's arena) and live until vd_gguf_free.
 */
#ifndef VD_MODEL_GGUF_H
#define VD_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/str.h"

typedef struct vd_gguf vd_gguf;

typedef enum vd_gguf_type {
    VD_GGUF_TYPE_U8, VD_GGUF_TYPE_I8, VD_GGUF_TYPE_U16, VD_GGUF_TYPE_I16, VD_GGUF_TYPE_U32,
    VD_GGUF_TYPE_I32, VD_GGUF_TYPE_F32, VD_GGUF_TYPE_BOOL, VD_GGUF_TYPE_STRING, VD_GGUF_TYPE_ARRAY,
    VD_GGUF_TYPE_U64, VD_GGUF_TYPE_I64, VD_GGUF_TYPE_F64, VD_GGUF_TYPE_COUNT
} vd_gguf_type;

typedef struct vd_gguf_kv {
    vd_str key;
    vd_gguf_type type;      /* VD_GGUF_TYPE_ARRAY for arrays */
    vd_gguf_type item_type; /* of an array, else == type */
    uint64_t n_items;       /* of an array, else 1 */
    const unsigned char *data; /* first value, unaligned, little-endian */
} vd_gguf_kv;

typedef struct vd_gguf_tensor {
    vd_str name;
    uint32_t dtype;        /* ggml's number, known to vd_dtype_get */
    uint32_t n_dims;       /* 0..4; 0 is a scalar */
    uint64_t dim[4];       /* GGUF order: dim[0] is the contiguous one; unused ones are 1, any may
                              be 0; without a 0 their product is below 2^63 - 1 */
    uint64_t offset;       /* into the data section of its file */
    uint64_t n_bytes;
    const unsigned char *data; /* NULL when opened metadata-only; aligned only as the file says
                                  (general.alignment may be 1) */
    uint32_t shard;        /* which file holds it */
    bool is_sparse;        /* the file has it sparse (gguf_sparse.h): n_bytes are those there, and
                              `data` is NULL, until it is expanded */
    const unsigned char *stored; /* then these bytes; NULL when opened metadata-only */
} vd_gguf_tensor;

typedef struct vd_gguf_options {
    bool metadata_only; /* the data section may be absent or short; no tensor has data */
} vd_gguf_options;

/* Opens the file, and when its name ends in -00001-of-0000N.gguf with split.count = N, all N
 * shards beside it. `options` NULL means the defaults. VD_ERR_FORMAT names field, offset and what
 * would be right; VD_ERR_NOT_FOUND, VD_ERR_IO, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_gguf_open(const char *path, const vd_gguf_options *options,
                                    vd_gguf **ret_gguf, vd_err *err);
/* The same from memory (one file, no shards); `data` is borrowed until vd_gguf_free. */
VD_NODISCARD vd_status vd_gguf_open_memory(const void *data, size_t size,
                                           const vd_gguf_options *options, vd_gguf **ret_gguf,
                                           vd_err *err);
void vd_gguf_free(vd_gguf *gguf);

/* Whether `path` ends like a shard, -0000K-of-0000N.gguf with 1 <= K <= N: then K, N and the bytes
 * before that ending. */
bool vd_gguf_shard_name(const char *path, unsigned *ret_no, unsigned *ret_count, size_t *ret_stem);

/* True where `path` leads to the file, or to one of its shards: it must not be written to. */
bool vd_gguf_is_file(const vd_gguf *gguf, const char *path);

uint32_t vd_gguf_version(const vd_gguf *gguf);
uint64_t vd_gguf_alignment(const vd_gguf *gguf);
uint64_t vd_gguf_file_bytes(const vd_gguf *gguf); /* of all shards */
size_t vd_gguf_n_kv(const vd_gguf *gguf);
const vd_gguf_kv *vd_gguf_kv_at(const vd_gguf *gguf, size_t i);
size_t vd_gguf_n_tensors(const vd_gguf *gguf);
const vd_gguf_tensor *vd_gguf_tensor_at(const vd_gguf *gguf, size_t i);
/* All dimensions but the first taken as one. */
size_t vd_gguf_tensor_rows(const vd_gguf_tensor *tensor);
/* Matrices that lie in it one behind the other: dim[2], at least 1. */
size_t vd_gguf_tensor_experts(const vd_gguf_tensor *tensor);

/* NULL when absent. */
const vd_gguf_kv *vd_gguf_find(const vd_gguf *gguf, const char *key);
const vd_gguf_tensor *vd_gguf_find_tensor(const vd_gguf *gguf, const char *name);

/* Typed reads. Absent: false and *ret untouched, so a default set before stays. Present with a
 * type that does not convert without loss: also false; use vd_gguf_require_* to get the error.
 * Integers convert between widths when the value fits; f64 to f32 rounds. */
bool vd_gguf_get_u32(const vd_gguf *gguf, const char *key, uint32_t *ret);
bool vd_gguf_get_i32(const vd_gguf *gguf, const char *key, int32_t *ret);
bool vd_gguf_get_f32(const vd_gguf *gguf, const char *key, float *ret);
bool vd_gguf_get_bool(const vd_gguf *gguf, const char *key, bool *ret);
bool vd_gguf_get_str(const vd_gguf *gguf, const char *key, vd_str *ret);
VD_NODISCARD vd_status vd_gguf_require_u32(const vd_gguf *gguf, const char *key, uint32_t *ret,
                                           vd_err *err);
VD_NODISCARD vd_status vd_gguf_require_f32(const vd_gguf *gguf, const char *key, float *ret,
                                           vd_err *err);
VD_NODISCARD vd_status vd_gguf_require_str(const vd_gguf *gguf, const char *key, vd_str *ret,
                                           vd_err *err);

/* Items of an array, or of a scalar as an array of one. i < kv->n_items. */
bool vd_gguf_item_u64(const vd_gguf_kv *kv, uint64_t i, uint64_t *ret);
bool vd_gguf_item_i64(const vd_gguf_kv *kv, uint64_t i, int64_t *ret);
bool vd_gguf_item_f64(const vd_gguf_kv *kv, uint64_t i, double *ret);
/* Of all its values, strings with their lengths. */
size_t vd_gguf_kv_bytes(const vd_gguf_kv *kv);
/* Strings have no fixed width: walk them. Set *cursor to kv->data, call n_items times. */
vd_str vd_gguf_next_str(const unsigned char **cursor);

const char *vd_gguf_type_name(vd_gguf_type type); /* "u32", "string", ... */

#endif
