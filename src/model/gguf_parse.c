/*
 * gguf_parse.c - one GGUF file from bytes to tables.
 *
 *   "GGUF" | version u32 | n_tensors u64 | n_kv u64
 *   n_kv      x  key string | type u32 | value        array: item type u32 | count u64 | items
 *   n_tensors x  name string | n_dims u32 | dim u64 x n_dims | dtype u32 | offset u64
 *   padding to `alignment`
 *   data section: each tensor at its offset, padded to `alignment`, in the order of the table
 *
 * All numbers little-endian; a string is a u64 length and its bytes. Versions 2 and 3 do not differ
 * in layout (3 allowed big-endian files, which we name and refuse). What the GGUF specification
 * leaves open is decided as llama.cpp v0.5.0 does, so that both accept the same files: a dimension
 * may be zero, n_dims may be zero, offsets must be exactly the running padded sum, and the padding
 * behind the last tensor belongs to the data section.
 *
 * Counts in the header are compared with what could fit into the rest of the file, and tables grow
 * with the entries really read, so a lie about a count never sizes an allocation.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "kernels/dtype.h"
#include "model/gguf_internal.h"

/* The smallest entries: a key of one byte with a value of one byte; a scalar with an empty name. */
enum { KV_BYTES_MIN = 8 + 1 + 4 + 1, TENSOR_BYTES_MIN = 8 + 4 + 4 + 8 };

/* Reads forward through data[0..size); `entry` says for messages what is being read. */
typedef struct cursor {
    const unsigned char *data;
    size_t size, at;
    char entry[128];
} cursor;

static size_t remaining(const cursor *c)
{
    return c->size - c->at;
}

static vd_status need(const cursor *c, size_t n, const char *field, vd_err *err)
{
    if (n <= remaining(c))
        return VD_OK;
    return VD_FAIL(err, VD_ERR_FORMAT,
                   "%s, %s at byte %zu: %zu bytes needed, but the file ends %zu bytes later",
                   c->entry, field, c->at, n, remaining(c));
}

static vd_status read_u32(cursor *c, const char *field, uint32_t *ret, vd_err *err)
{
    vd_status st = need(c, 4, field, err);
    if (st != VD_OK)
        return st;
    const unsigned char *p = c->data + c->at;
    *ret = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    c->at += 4;
    return VD_OK;
}

static vd_status read_u64(cursor *c, const char *field, uint64_t *ret, vd_err *err)
{
    vd_status st = need(c, 8, field, err);
    if (st != VD_OK)
        return st;
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | c->data[c->at + (size_t)i];
    *ret = value;
    c->at += 8;
    return VD_OK;
}

static vd_status read_str(cursor *c, const char *field, vd_str *ret, vd_err *err)
{
    size_t start = c->at;
    uint64_t n = 0;
    vd_status st = read_u64(c, field, &n, err);
    if (st != VD_OK)
        return st;
    if (n > remaining(c) || n > VD_GGUF_STRING_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, %s at byte %zu: a length of %" PRIu64
                       " bytes, but at most %zu can follow",
                       c->entry, field, start, n,
                       VD_MIN(remaining(c), (size_t)VD_GGUF_STRING_MAX));
    *ret = (vd_str){(const char *)c->data + c->at, (size_t)n};
    c->at += (size_t)n;
    return VD_OK;
}

/* Room for one more element in a table that grows by doubling. `array` is a T ** of *capacity. */
static vd_status grow(void *array, size_t n, size_t *capacity, size_t size, const char *what,
                      vd_err *err)
{
    void *block;
    if (n < *capacity)
        return VD_OK;
    size_t wanted = VD_MAX((size_t)16, *capacity * 2), bytes;
    if (n >= UINT32_MAX || !vd_mul_size(wanted, size, &bytes))
        return VD_FAIL(err, VD_ERR_LIMIT, "more than %zu %s", n, what);
    memcpy(&block, array, sizeof(block));
    block = vd_realloc(block, bytes);
    if (block == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu %s", wanted, what);
    memcpy(array, &block, sizeof(block));
    *capacity = wanted;
    return VD_OK;
}

static vd_status read_header(cursor *c, uint32_t *ret_version, uint64_t *ret_n_tensors,
                             uint64_t *ret_n_kv, vd_err *err)
{
    uint32_t version = 0;
    snprintf(c->entry, sizeof(c->entry), "header");
    vd_status st = need(c, 4, "magic", err);
    if (st != VD_OK)
        return st;
    if (memcmp(c->data, "GGUF", 4) != 0)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "header, magic at byte 0: %02x %02x %02x %02x, a GGUF file begins with "
                       "47 47 55 46 (\"GGUF\")",
                       c->data[0], c->data[1], c->data[2], c->data[3]);
    c->at = 4;
    if ((st = read_u32(c, "version", &version, err)) != VD_OK)
        return st;
    if (version != 0 && (version & 0xffff) == 0)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "header, version at byte 4: %" PRIu32 " looks byte-swapped: this is a "
                       "big-endian file; convert it to little-endian", version);
    if (version != 2 && version != 3)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "header, version at byte 4: %" PRIu32 ", versions 2 and 3 are supported",
                       version);
    if ((st = read_u64(c, "number of tensors", ret_n_tensors, err)) != VD_OK ||
        (st = read_u64(c, "number of metadata pairs", ret_n_kv, err)) != VD_OK)
        return st;
    if (*ret_n_tensors > remaining(c) / TENSOR_BYTES_MIN)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "header, number of tensors at byte 8: %" PRIu64 ", but the %zu bytes that "
                       "follow hold at most %zu",
                       *ret_n_tensors, remaining(c), remaining(c) / TENSOR_BYTES_MIN);
    if (*ret_n_kv > remaining(c) / KV_BYTES_MIN)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "header, number of metadata pairs at byte 16: %" PRIu64 ", but the %zu "
                       "bytes that follow hold at most %zu",
                       *ret_n_kv, remaining(c), remaining(c) / KV_BYTES_MIN);
    *ret_version = version;
    return VD_OK;
}

/* Steps over n strings, checking each. */
static vd_status skip_strings(cursor *c, uint64_t n, vd_err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        vd_str item;
        vd_status st = read_str(c, "array item", &item, err);
        if (st != VD_OK) {
            vd_err_prefix(err, "item %" PRIu64 " of %" PRIu64, i, n);
            return st;
        }
    }
    return VD_OK;
}

/* The value behind key and type: sets data, item_type and n_items, moves behind it. */
static vd_status read_value(cursor *c, vd_gguf_kv *kv, vd_err *err)
{
    vd_status st;
    uint32_t item_type = kv->type;
    uint64_t n = 1;
    size_t type_at = c->at - 4;
    if (kv->type == VD_GGUF_TYPE_ARRAY) {
        type_at = c->at;
        if ((st = read_u32(c, "array item type", &item_type, err)) != VD_OK ||
            (st = read_u64(c, "array length", &n, err)) != VD_OK)
            return st;
        if (item_type == VD_GGUF_TYPE_ARRAY)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "%s, array item type at byte %zu: arrays of arrays are not allowed",
                           c->entry, type_at);
    }
    if (item_type >= VD_GGUF_TYPE_COUNT)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, value type at byte %zu: %" PRIu32 ", types are 0 to %d", c->entry,
                       type_at, item_type, VD_GGUF_TYPE_COUNT - 1);
    size_t width = vd_gguf_type_bytes(item_type);
    size_t width_min = item_type == VD_GGUF_TYPE_STRING ? 8 : width;
    if (n > remaining(c) / width_min || n > VD_GGUF_ARRAY_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, value at byte %zu: %" PRIu64 " of type %s, but the %zu bytes that "
                       "follow hold at most %zu",
                       c->entry, c->at, n, vd_gguf_type_name((vd_gguf_type)item_type),
                       remaining(c), remaining(c) / width_min);
    kv->item_type = (vd_gguf_type)item_type;
    kv->n_items = n;
    kv->data = c->data + c->at;
    if (item_type == VD_GGUF_TYPE_STRING)
        return skip_strings(c, n, err);
    c->at += (size_t)n * width;
    return VD_OK;
}

static vd_status read_kv(cursor *c, uint64_t index, vd_gguf *into, vd_err *err)
{
    vd_gguf_kv kv = {0};
    uint32_t type = 0;
    bool was_there = false;
    size_t start = c->at;
    snprintf(c->entry, sizeof(c->entry), "metadata pair %" PRIu64, index);
    vd_status st = read_str(c, "key", &kv.key, err);
    if (st != VD_OK)
        return st;
    if (kv.key.n == 0)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, key at byte %zu: empty, a key has at least one byte", c->entry, start);
    snprintf(c->entry, sizeof(c->entry), "metadata %s", vd_gguf_quote(kv.key).text);
    if ((st = read_u32(c, "value type", &type, err)) != VD_OK)
        return st;
    kv.type = (vd_gguf_type)type;
    if ((st = read_value(c, &kv, err)) != VD_OK)
        return st;
    if ((st = grow(&into->kv, into->n_kv, &into->kv_capacity, sizeof(kv), "metadata pairs",
                   err)) != VD_OK ||
        (st = vd_strmap_put(&into->key_index, kv.key.data, kv.key.n, (uint32_t)into->n_kv,
                            &was_there, err)) != VD_OK)
        return st;
    if (was_there)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s, key at byte %zu: there already, keys are unique",
                       c->entry, start);
    into->kv[into->n_kv++] = kv;
    return VD_OK;
}

static vd_status find_alignment(const vd_gguf *kvs, const cursor *c, uint64_t *ret, vd_err *err)
{
    uint64_t alignment = VD_GGUF_DEFAULT_ALIGNMENT;
    const vd_gguf_kv *kv = vd_gguf_find(kvs, "general.alignment");
    if (kv != NULL) {
        size_t at = (size_t)(kv->data - c->data);
        if (kv->type != VD_GGUF_TYPE_U32)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "metadata 'general.alignment', value at byte %zu: of type %s, u32 is "
                           "demanded", at, vd_gguf_type_name(kv->type));
        vd_gguf_item_u64(kv, 0, &alignment);
        if (alignment == 0 || (alignment & (alignment - 1)) != 0)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "metadata 'general.alignment', value at byte %zu: %" PRIu64
                           ", a power of two is demanded", at, alignment);
    }
    *ret = alignment;
    return VD_OK;
}

/* Dimensions: none negative as int64, and the number of values below 2^63 - 1. */
static vd_status read_shape(cursor *c, vd_gguf_tensor *tensor, vd_err *err)
{
    size_t start = c->at;
    vd_status st = read_u32(c, "number of dimensions", &tensor->n_dims, err);
    if (st != VD_OK)
        return st;
    if (tensor->n_dims > VD_GGUF_DIMS_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, number of dimensions at byte %zu: %" PRIu32 ", at most %d", c->entry,
                       start, tensor->n_dims, VD_GGUF_DIMS_MAX);
    bool empty = false, fits = true;
    for (uint32_t i = 0; i < VD_GGUF_DIMS_MAX; i++)
        tensor->dim[i] = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        if ((st = read_u64(c, "dimension", &tensor->dim[i], err)) != VD_OK)
            return st;
        if (tensor->dim[i] > INT64_MAX)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "%s, dimension %" PRIu32 " at byte %zu: %" PRId64 " is negative",
                           c->entry, i, c->at - 8, (int64_t)tensor->dim[i]);
        empty |= tensor->dim[i] == 0;
    }
    if (empty)
        return VD_OK;
    uint64_t n_values = tensor->dim[0];
    for (int i = 1; i < VD_GGUF_DIMS_MAX && fits; i++) {
        fits = INT64_MAX / tensor->dim[i] > n_values;
        n_values *= tensor->dim[i];
    }
    if (!fits)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, dimensions at byte %zu: %" PRIu64 " x %" PRIu64 " x %" PRIu64
                       " x %" PRIu64 " values, fewer than 2^63 - 1 are allowed",
                       c->entry, start, tensor->dim[0], tensor->dim[1], tensor->dim[2],
                       tensor->dim[3]);
    return VD_OK;
}

static vd_status read_type(cursor *c, vd_gguf_tensor *tensor, vd_err *err)
{
    size_t start = c->at;
    vd_status st = read_u32(c, "type", &tensor->dtype, err);
    if (st != VD_OK)
        return st;
    const vd_dtype_info *info = vd_dtype_get(tensor->dtype);
    if (info == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, type at byte %zu: %" PRIu32 " is not in use, types are below %d",
                       c->entry, start, tensor->dtype, VD_DTYPE_LIMIT);
    if (tensor->dim[0] % info->block != 0)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, type at byte %zu: rows of %" PRIu64 " values, %s needs a multiple "
                       "of %u", c->entry, start, tensor->dim[0], info->name, info->block);
    uint64_t n_blocks = tensor->dim[0] / info->block;
    bool empty = n_blocks == 0;
    for (int i = 1; i < VD_GGUF_DIMS_MAX; i++)
        empty |= tensor->dim[i] == 0;
    for (int i = 1; i < VD_GGUF_DIMS_MAX && !empty; i++)
        n_blocks *= tensor->dim[i]; /* read_shape saw that the product fits */
    if (empty)
        n_blocks = 0;
    if (__builtin_mul_overflow(n_blocks, (uint64_t)info->bytes, &tensor->n_bytes))
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, type at byte %zu: %" PRIu64 " blocks of %u bytes (%s) are 2^64 bytes "
                       "or more", c->entry, start, n_blocks, info->bytes, info->name);
    return VD_OK;
}

/* `next_offset` is where this tensor's data has to begin; moved behind its padding. */
static vd_status read_tensor(cursor *c, uint64_t index, uint64_t alignment, uint32_t shard,
                             uint64_t *next_offset, vd_gguf *gguf, vd_err *err)
{
    vd_gguf_tensor tensor = {.shard = shard};
    bool was_there = false;
    size_t start = c->at;
    snprintf(c->entry, sizeof(c->entry), "tensor %" PRIu64, index);
    vd_status st = read_str(c, "name", &tensor.name, err);
    if (st != VD_OK)
        return st;
    if (tensor.name.n > VD_GGUF_NAME_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s, name at byte %zu: %zu bytes, at most %d",
                       c->entry, start, tensor.name.n, VD_GGUF_NAME_MAX);
    tensor.name.n = strnlen(tensor.name.data, tensor.name.n); /* as C strings, like llama.cpp */
    snprintf(c->entry, sizeof(c->entry), "tensor %s", vd_gguf_quote(tensor.name).text);
    if ((st = read_shape(c, &tensor, err)) != VD_OK || (st = read_type(c, &tensor, err)) != VD_OK ||
        (st = read_u64(c, "offset", &tensor.offset, err)) != VD_OK)
        return st;
    if (tensor.offset != *next_offset)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, offset at byte %zu: %" PRIu64 ", but the tensors before it end "
                       "(padded to %" PRIu64 ") at %" PRIu64,
                       c->entry, c->at - 8, tensor.offset, alignment, *next_offset);
    size_t padded;
    if (!vd_align_size(tensor.n_bytes, alignment, &padded) ||
        !vd_add_size(*next_offset, padded, next_offset))
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s, dimensions at byte %zu: the data section would be 2^64 bytes or more",
                       c->entry, start);
    if ((st = grow(&gguf->tensor, gguf->n_tensors, &gguf->tensor_capacity, sizeof(tensor),
                   "tensors", err)) != VD_OK ||
        (st = vd_strmap_put(&gguf->tensor_index, tensor.name.data, tensor.name.n,
                            (uint32_t)gguf->n_tensors, &was_there, err)) != VD_OK)
        return st;
    if (was_there)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s, name at byte %zu: there already, names are unique",
                       c->entry, start);
    gguf->tensor[gguf->n_tensors++] = tensor;
    return VD_OK;
}

/* Checks that the data section is whole and points the tensors from `first` on into it. */
static vd_status place_data(cursor *c, uint64_t alignment, uint64_t section_bytes, size_t first,
                            bool metadata_only, vd_gguf *gguf, vd_err *err)
{
    size_t start;
    if (first == gguf->n_tensors)
        return VD_OK; /* no tensors, no data section, no padding */
    if (!vd_align_size(c->at, alignment, &start) || start > c->size)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "the file ends at byte %zu, before the data section, which begins behind "
                       "the tensor table (byte %zu) padded to %" PRIu64,
                       c->size, c->at, alignment);
    if (metadata_only)
        return VD_OK;
    if (section_bytes > c->size - start)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "data section at byte %zu: %" PRIu64 " bytes needed, but the file ends %zu "
                       "bytes later", start, section_bytes, c->size - start);
    for (size_t i = first; i < gguf->n_tensors; i++)
        gguf->tensor[i].data = c->data + start + gguf->tensor[i].offset;
    return VD_OK;
}

vd_status vd_gguf_parse(vd_gguf *gguf, vd_gguf *shard_kv, const void *data, size_t size,
                        uint32_t shard, bool metadata_only, vd_err *err)
{
    cursor c = {.data = data, .size = size};
    vd_gguf *kvs = shard == 0 ? gguf : shard_kv;
    uint64_t n_tensors = 0, n_kv = 0, alignment = 0, section_bytes = 0;
    size_t first = gguf->n_tensors;
    vd_status st = read_header(&c, &kvs->version, &n_tensors, &n_kv, err);
    for (uint64_t i = 0; st == VD_OK && i < n_kv; i++)
        st = read_kv(&c, i, kvs, err);
    if (st == VD_OK)
        st = find_alignment(kvs, &c, &alignment, err);
    for (uint64_t i = 0; st == VD_OK && i < n_tensors; i++)
        st = read_tensor(&c, i, alignment, shard, &section_bytes, gguf, err);
    if (st == VD_OK)
        st = place_data(&c, alignment, section_bytes, first, metadata_only, gguf, err);
    kvs->alignment = alignment;
    return st;
}
