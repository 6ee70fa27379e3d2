/*
 * safetensors.h - a file of Hugging Face's safetensors format, mapped and checked.
 *
 *   | n: u64 little-endian | n bytes of JSON | data |
 *
 *   {"NAME": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}, ...,
 *    "__metadata__": {"key": "text"}}
 *
 * Offsets count from the first byte behind the JSON. The tensors must cover the data without holes
 * and overlaps, each with exactly the bytes that its type and shape take: whatever else a file
 * says, it is refused, with what it says, where, and what would be right.
 *
 * Immutable after open and read by many threads. Names and data live until vd_safetensors_free.
 */
#ifndef VD_IMPORT_SAFETENSORS_H
#define VD_IMPORT_SAFETENSORS_H

#include "model/gguf.h"

typedef struct vd_safetensors vd_safetensors;

/* Those whose values we read come first. */
typedef enum vd_st_dtype {
    VD_ST_F64,
    VD_ST_F32,
    VD_ST_F16,
    VD_ST_BF16,
    VD_ST_F8_E4M3,
    VD_ST_F8_E5M2,
    VD_ST_LAST_FLOAT = VD_ST_F8_E5M2,
    VD_ST_I64,
    VD_ST_U64,
    VD_ST_I32,
    VD_ST_U32,
    VD_ST_I16,
    VD_ST_U16,
    VD_ST_I8,
    VD_ST_U8,
    VD_ST_BOOL
} vd_st_dtype;

enum { VD_ST_DIMS_MAX = 8 };

typedef struct vd_st_tensor {
    vd_str name; /* UTF-8, NUL-terminated */
    vd_st_dtype dtype;
    uint32_t n_dims;
    uint64_t dim[VD_ST_DIMS_MAX]; /* the last one is contiguous; none of a scalar */
    uint64_t begin, n_bytes;      /* in the data */
    const unsigned char *data;    /* unaligned */
} vd_st_tensor;

/* VD_ERR_FORMAT with the tensor, the field and what would be right; VD_ERR_UNSUPPORTED for a type
 * that we do not know; VD_ERR_NOT_FOUND, VD_ERR_PERM, VD_ERR_IO, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_safetensors_open(const char *path, vd_safetensors **ret_file,
                                           vd_err *err);
/* The same from memory; `data` is borrowed until vd_safetensors_free. */
VD_NODISCARD vd_status vd_safetensors_open_memory(const void *data, size_t size,
                                                  vd_safetensors **ret_file, vd_err *err);
void vd_safetensors_free(vd_safetensors *file); /* NULL is a no-op */

size_t vd_safetensors_n(const vd_safetensors *file);
/* In the order of their data. i < n. */
const vd_st_tensor *vd_safetensors_at(const vd_safetensors *file, size_t i);

const char *vd_st_dtype_name(vd_st_dtype dtype);
size_t vd_st_dtype_bytes(vd_st_dtype dtype);
/* Values of a tensor: the product of its dimensions, which fits. */
uint64_t vd_st_n_values(const vd_st_tensor *tensor);
/* n values of a floating-point type (up to VD_ST_LAST_FLOAT) to f32. */
void vd_st_decode(vd_st_dtype dtype, const unsigned char *src, float *dst, size_t n);

#endif
