/* gguf_write.c - see gguf_write.h. */
#include "model/gguf_write.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "model/gguf_internal.h"

enum { HEADER_BYTES = 24, N_KV_AT = 16, N_TENSORS_AT = 8, ALIGNMENT_MAX = 4096 };
static const char alignment_key[] = "general.alignment";

struct vd_gguf_out {
    vd_atomic_file file;
    uint64_t alignment;
    vd_buf head;  /* header and metadata */
    vd_buf table; /* of tensors */
    uint64_t n_kv, n_tensors;
    uint64_t *tensor_bytes; /* [n_tensors], capacity */
    size_t capacity;
    uint64_t data_bytes; /* of all tensors with what fills the space between them */
    bool bad_tensor;     /* one had no size */
    bool begun;
    size_t current;      /* the tensor whose data comes next */
    uint64_t left;       /* of it */
};

static void put(vd_buf *buf, uint64_t value, size_t n_bytes)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    vd_buf_append(buf, bytes, n_bytes);
}

static void put_f32(vd_buf *buf, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put(buf, bits, 4);
}

static void put_str(vd_buf *buf, vd_str text)
{
    put(buf, text.n, 8);
    vd_buf_append(buf, text.data, text.n);
}

static vd_str str_of(const char *text)
{
    return (vd_str){text, strlen(text)};
}

static void put_key(vd_gguf_out *out, vd_str key, vd_gguf_type type)
{
    put_str(&out->head, key);
    put(&out->head, type, 4);
    out->n_kv++;
}

vd_status vd_gguf_out_open(const char *path, uint64_t alignment, vd_gguf_out **ret_out,
                           vd_err *err)
{
    assert(alignment > 0 && (alignment & (alignment - 1)) == 0);
    vd_gguf_out *out = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*out), "a file to write", &out, err);
    if (st != VD_OK)
        return st;
    vd_buf_init(&out->head, (size_t)1 << 30);
    vd_buf_init(&out->table, (size_t)1 << 30);
    out->alignment = alignment;
    if ((st = vd_atomic_file_open(path, &out->file, err)) != VD_OK) {
        vd_gguf_out_free(out);
        return st;
    }
    vd_buf_append(&out->head, "GGUF", 4);
    put(&out->head, 3, 4);
    put(&out->head, 0, 8); /* both numbers are written by begin */
    put(&out->head, 0, 8);
    if (alignment != VD_GGUF_DEFAULT_ALIGNMENT)
        vd_gguf_out_u32(out, alignment_key, (uint32_t)alignment);
    *ret_out = out;
    return VD_OK;
}

void vd_gguf_out_free(vd_gguf_out *out)
{
    if (out == NULL)
        return;
    vd_atomic_file_done(&out->file);
    vd_buf_done(&out->head);
    vd_buf_done(&out->table);
    vd_free(out->tensor_bytes);
    vd_free(out);
}

void vd_gguf_out_kv(vd_gguf_out *out, const vd_gguf_kv *kv)
{
    if (vd_str_is(kv->key, alignment_key))
        return;
    put_key(out, kv->key, kv->type);
    if (kv->type == VD_GGUF_TYPE_ARRAY) {
        put(&out->head, kv->item_type, 4);
        put(&out->head, kv->n_items, 8);
    }
    vd_buf_append(&out->head, kv->data, vd_gguf_kv_bytes(kv));
}

void vd_gguf_out_u32(vd_gguf_out *out, const char *key, uint32_t value)
{
    put_key(out, str_of(key), VD_GGUF_TYPE_U32);
    put(&out->head, value, 4);
}

void vd_gguf_out_i32(vd_gguf_out *out, const char *key, int32_t value)
{
    put_key(out, str_of(key), VD_GGUF_TYPE_I32);
    put(&out->head, (uint32_t)value, 4);
}

void vd_gguf_out_f32(vd_gguf_out *out, const char *key, float value)
{
    put_key(out, str_of(key), VD_GGUF_TYPE_F32);
    put_f32(&out->head, value);
}

void vd_gguf_out_bool(vd_gguf_out *out, const char *key, bool value)
{
    put_key(out, str_of(key), VD_GGUF_TYPE_BOOL);
    put(&out->head, value, 1);
}

void vd_gguf_out_str(vd_gguf_out *out, const char *key, const char *value)
{
    put_key(out, str_of(key), VD_GGUF_TYPE_STRING);
    put_str(&out->head, str_of(value));
}

void vd_gguf_out_array(vd_gguf_out *out, const char *key, vd_gguf_type item_type, uint64_t n)
{
    put_key(out, str_of(key), VD_GGUF_TYPE_ARRAY);
    put(&out->head, item_type, 4);
    put(&out->head, n, 8);
}

void vd_gguf_out_bytes(vd_gguf_out *out, const char *key, const void *bytes, size_t n)
{
    vd_gguf_out_array(out, key, VD_GGUF_TYPE_U8, n);
    vd_buf_append(&out->head, bytes, n);
}

void vd_gguf_out_item_bool(vd_gguf_out *out, bool value)
{
    put(&out->head, value, 1);
}

void vd_gguf_out_item_i32(vd_gguf_out *out, int32_t value)
{
    put(&out->head, (uint32_t)value, 4);
}

void vd_gguf_out_item_f32(vd_gguf_out *out, float value)
{
    put_f32(&out->head, value);
}

void vd_gguf_out_item_str(vd_gguf_out *out, vd_str value)
{
    put_str(&out->head, value);
}

/* Bytes of a tensor; false where it has no size. */
static bool size_tensor(uint32_t dtype, uint32_t n_dims, const uint64_t *dim, uint64_t *ret)
{
    size_t bytes;
    if (!vd_dtype_row_bytes(dtype, n_dims > 0 ? (size_t)dim[0] : 1, &bytes))
        return false;
    for (uint32_t i = 1; i < n_dims; i++)
        if (!vd_mul_size(bytes, (size_t)dim[i], &bytes))
            return false;
    *ret = bytes;
    return true;
}

void vd_gguf_out_tensor(vd_gguf_out *out, vd_str name, uint32_t dtype, uint32_t n_dims,
                        const uint64_t *dim)
{
    uint64_t n_bytes = 0;
    size_t end;
    assert(!out->begun && n_dims <= VD_GGUF_DIMS_MAX);
    if (out->n_tensors == out->capacity) {
        size_t capacity = 2 * out->capacity + 64;
        uint64_t *bigger = vd_realloc(out->tensor_bytes, capacity * sizeof(*bigger));
        if (bigger == NULL) {
            out->table.failed = VD_ERR_NOMEM;
            return;
        }
        out->tensor_bytes = bigger;
        out->capacity = capacity;
    }
    if (!size_tensor(dtype, n_dims, dim, &n_bytes) ||
        !vd_add_size((size_t)out->data_bytes, (size_t)n_bytes, &end) ||
        !vd_align_size(end, (size_t)out->alignment, &end)) {
        out->bad_tensor = true;
        return;
    }
    put_str(&out->table, name);
    put(&out->table, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++)
        put(&out->table, dim[i], 8);
    put(&out->table, dtype, 4);
    put(&out->table, out->data_bytes, 8);
    out->tensor_bytes[out->n_tensors++] = n_bytes;
    out->data_bytes = end;
}

static vd_status write_bytes(vd_gguf_out *out, const void *bytes, size_t n, vd_err *err)
{
    if (n > 0 && fwrite(bytes, 1, n, out->file.stream) != n)
        return VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", out->file.path, strerror(errno));
    return VD_OK;
}

static vd_status write_zeros(vd_gguf_out *out, uint64_t end, vd_err *err)
{
    static const unsigned char zeros[ALIGNMENT_MAX];
    vd_status st = VD_OK;
    uint64_t n = (out->alignment - end % out->alignment) % out->alignment;
    for (; st == VD_OK && n > 0; n -= VD_MIN(n, sizeof(zeros)))
        st = write_bytes(out, zeros, (size_t)VD_MIN(n, sizeof(zeros)), err);
    return st;
}

uint64_t vd_gguf_out_file_bytes(const vd_gguf_out *out)
{
    size_t start = 0;
    (void)vd_align_size(out->head.n + out->table.n, (size_t)out->alignment, &start);
    return start + out->data_bytes;
}

/* Fills the space behind a tensor that is done, and steps over those without data. */
static vd_status next_tensor(vd_gguf_out *out, vd_err *err)
{
    vd_status st = VD_OK;
    while (st == VD_OK && out->left == 0 && out->current < out->n_tensors) {
        st = write_zeros(out, out->tensor_bytes[out->current], err);
        out->current++;
        out->left = out->current < out->n_tensors ? out->tensor_bytes[out->current] : 0;
    }
    return st;
}

vd_status vd_gguf_out_begin(vd_gguf_out *out, vd_err *err)
{
    assert(!out->begun);
    vd_status st = vd_buf_status(&out->head, "the metadata of a GGUF file", err);
    if (st == VD_OK)
        st = vd_buf_status(&out->table, "the tensor table of a GGUF file", err);
    if (st == VD_OK && out->bad_tensor)
        st = VD_FAIL(err, VD_ERR_ARG, "%s: a tensor's rows are no multiple of its type's block, or "
                     "its size overflows", out->file.path);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < 8; i++) {
        out->head.data[N_TENSORS_AT + i] = (char)(out->n_tensors >> 8 * i);
        out->head.data[N_KV_AT + i] = (char)(out->n_kv >> 8 * i);
    }
    uint64_t n_bytes = vd_gguf_out_file_bytes(out);
    if (fallocate(fileno(out->file.stream), FALLOC_FL_KEEP_SIZE, 0, (off_t)n_bytes) != 0 &&
        (errno == ENOSPC || errno == EFBIG || errno == EDQUOT))
        return VD_FAIL(err, VD_ERR_IO, "cannot reserve %llu bytes for %s: %s",
                       (unsigned long long)n_bytes, out->file.path, strerror(errno));
    out->begun = true;
    st = write_bytes(out, out->head.data, out->head.n, err);
    if (st == VD_OK)
        st = write_bytes(out, out->table.data, out->table.n, err);
    if (st == VD_OK)
        st = write_zeros(out, out->head.n + out->table.n, err);
    out->left = out->n_tensors > 0 ? out->tensor_bytes[0] : 0;
    if (st == VD_OK)
        st = next_tensor(out, err);
    return st;
}

vd_status vd_gguf_out_data(vd_gguf_out *out, const void *bytes, size_t n, vd_err *err)
{
    assert(out->begun && n <= out->left);
    vd_status st = write_bytes(out, bytes, n, err);
    out->left -= n;
    if (st == VD_OK)
        st = next_tensor(out, err);
    return st;
}

vd_status vd_gguf_out_commit(vd_gguf_out *out, vd_err *err)
{
    assert(out->begun && out->current == out->n_tensors);
    return vd_atomic_file_commit(&out->file, err);
}

vd_status vd_gguf_out_take(vd_gguf_out *out, int *ret_fd, vd_err *err)
{
    assert(out->begun && out->current == out->n_tensors);
    return vd_atomic_file_take(&out->file, ret_fd, err);
}
