/* gguf_internal.h - the inside of vd_gguf, shared by gguf.c, gguf_parse.c and gguf_value.c only. */
#ifndef VD_MODEL_GGUF_INTERNAL_H
#define VD_MODEL_GGUF_INTERNAL_H

#include "base/file.h"
#include "base/strmap.h"
#include "model/gguf.h"

/* Limits beyond the file's own size; they are llama.cpp's. */
#define VD_GGUF_STRING_MAX ((uint64_t)1 << 30) /* bytes */
#define VD_GGUF_ARRAY_MAX ((uint64_t)1 << 30)  /* items */
enum { VD_GGUF_NAME_MAX = 63, VD_GGUF_DIMS_MAX = 4, VD_GGUF_DEFAULT_ALIGNMENT = 32 };

struct vd_gguf {
    uint32_t version;    /* of the first file */
    uint64_t alignment;  /* of the first file */
    uint64_t file_bytes; /* of all files */

    /* One per file, in order of split.no; data is NULL for a borrowed memory block. */
    vd_mapping *mapping;
    size_t n_mappings;

    vd_gguf_kv *kv; /* of the first file; the others repeat or add nothing but split.* */
    size_t n_kv, kv_capacity;
    vd_gguf_tensor *tensor; /* of all files, in file order */
    size_t n_tensors, tensor_capacity;
    vd_strmap key_index, tensor_index; /* keys point into the files */
};

/* Reads one file's header, metadata and tensor table from data[0..size) and appends to *gguf: the
 * tensors always, version, alignment and metadata when shard == 0. Metadata of a later shard goes
 * to `shard_kv`, a vd_gguf of its own that holds nothing else. On failure *gguf stays valid to
 * free. */
VD_NODISCARD vd_status vd_gguf_parse(vd_gguf *gguf, vd_gguf *shard_kv, const void *data,
                                     size_t size, uint32_t shard, bool metadata_only, vd_err *err);

/* When all files are read: the tensors that are sparse. See gguf_sparse.h. */
VD_NODISCARD vd_status vd_gguf_find_sparse(vd_gguf *gguf, vd_err *err);
void vd_gguf_free_expanded(vd_gguf *gguf);

/* Bytes of one item of a fixed-width type; 0 for string, array and unknown numbers. */
size_t vd_gguf_type_bytes(uint32_t type);

/* `text` for a message: quoted bytes outside printable ASCII become '?', cut at 64. */
typedef struct vd_gguf_label {
    char text[80];
} vd_gguf_label;
vd_gguf_label vd_gguf_quote(vd_str text);

#endif
