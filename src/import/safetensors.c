/* safetensors.c - see safetensors.h. */
#include "import/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "import/safetensors_dtype.h"

enum { LENGTH_BYTES = 8, HEADER_MAX = 100 << 20 /* the format's own ceiling */ };

struct vd_safetensors {
    vd_mapping mapping; /* empty when opened from memory */
    json_t *header;     /* owns the names */
    vd_st_tensor *tensor;
    size_t n;
};

void vd_safetensors_free(vd_safetensors *file)
{
    if (file == NULL)
        return;
    vd_free(file->tensor);
    json_decref(file->header);
    vd_mapping_close(&file->mapping);
    vd_free(file);
}

size_t vd_safetensors_n(const vd_safetensors *file)
{
    return file->n;
}

const vd_st_tensor *vd_safetensors_at(const vd_safetensors *file, size_t i)
{
    return &file->tensor[i];
}

/* A whole number of at least 0. */
static bool read_size(const json_t *value, uint64_t *ret)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

static vd_status read_shape(const json_t *shape, vd_st_tensor *t, vd_err *err)
{
    size_t n_bytes = vd_st_dtype_bytes(t->dtype);
    if (!json_is_array(shape))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: shape must be an array of sizes",
                       t->name.data);
    if (json_array_size(shape) > VD_ST_DIMS_MAX)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %s has %zu dimensions; we read up to %d",
                       t->name.data, json_array_size(shape), VD_ST_DIMS_MAX);
    t->n_dims = (uint32_t)json_array_size(shape);
    bool empty = false;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (!read_size(json_array_get(shape, i), &t->dim[i]))
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: shape[%u] is no size", t->name.data, i);
        empty = empty || t->dim[i] == 0;
        if (!vd_mul_size(n_bytes, VD_MAX((size_t)t->dim[i], 1), &n_bytes))
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: its shape overflows", t->name.data);
    }
    t->n_bytes = empty ? 0 : n_bytes;
    return VD_OK;
}

static vd_status read_offsets(const json_t *offsets, uint64_t data_bytes, vd_st_tensor *t,
                              vd_err *err)
{
    uint64_t end = 0;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !read_size(json_array_get(offsets, 0), &t->begin) ||
        !read_size(json_array_get(offsets, 1), &end))
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "tensor %s: data_offsets must be [begin, end], two whole numbers",
                       t->name.data);
    if (end < t->begin || end > data_bytes)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "tensor %s: data_offsets are [%llu, %llu]; the file has %llu bytes of data",
                       t->name.data, (unsigned long long)t->begin, (unsigned long long)end,
                       (unsigned long long)data_bytes);
    if (end - t->begin != t->n_bytes)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "tensor %s: data_offsets span %llu bytes, but its shape in %s takes %llu",
                       t->name.data, (unsigned long long)(end - t->begin),
                       vd_st_dtype_name(t->dtype), (unsigned long long)t->n_bytes);
    return VD_OK;
}

static vd_status read_tensor(const char *name, const json_t *entry, uint64_t data_bytes,
                             vd_st_tensor *t, vd_err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(entry))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: an object is expected", name);
    json_object_foreach ((json_t *)entry, key, value)
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 &&
            strcmp(key, "data_offsets") != 0)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "tensor %s: field %.64s is not part of the format (dtype, shape, "
                           "data_offsets)", name, key);
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (dtype == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: dtype must be a string", name);
    t->name = (vd_str){name, strlen(name)};
    if (!vd_st_dtype_find(dtype, &t->dtype))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "tensor %s: type '%.32s' is not known", name,
                       dtype);
    vd_status st = read_shape(json_object_get(entry, "shape"), t, err);
    if (st == VD_OK)
        st = read_offsets(json_object_get(entry, "data_offsets"), data_bytes, t, err);
    return st;
}

static int by_place(const void *a, const void *b)
{
    const vd_st_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

/* By place, each tensor begins where the one before ends, and the last ends with the file. */
static vd_status check_cover(const vd_safetensors *file, uint64_t data_bytes, vd_err *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < file->n; i++) {
        const vd_st_tensor *t = &file->tensor[i];
        if (t->begin != end)
            return VD_FAIL(err, VD_ERR_FORMAT,
                           "tensor %s begins at byte %llu of the data, %s; %llu would be right",
                           t->name.data, (unsigned long long)t->begin,
                           t->begin < end ? "inside the tensor before it"
                                          : "with a hole in front of it",
                           (unsigned long long)end);
        end += t->n_bytes;
    }
    if (end != data_bytes)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "the last tensor ends at byte %llu of the data, but the file has %llu more",
                       (unsigned long long)end, (unsigned long long)(data_bytes - end));
    return VD_OK;
}

static vd_status check_metadata(const json_t *metadata, vd_err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return VD_FAIL(err, VD_ERR_FORMAT, "__metadata__ must be an object of strings");
    json_object_foreach ((json_t *)metadata, key, value)
        if (!json_is_string(value))
            return VD_FAIL(err, VD_ERR_FORMAT, "__metadata__: %.64s is no string", key);
    return VD_OK;
}

static vd_status read_tensors(vd_safetensors *file, const unsigned char *data, uint64_t data_bytes,
                              vd_err *err)
{
    const char *name;
    json_t *entry;
    vd_status st = vd_alloc_array(json_object_size(file->header), sizeof(*file->tensor),
                                  "the list of tensors", &file->tensor, err);
    if (st != VD_OK)
        return st;
    json_object_foreach (file->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0)
            st = check_metadata(entry, err);
        else
            st = read_tensor(name, entry, data_bytes, &file->tensor[file->n++], err);
        if (st != VD_OK)
            return st;
    }
    qsort(file->tensor, file->n, sizeof(*file->tensor), by_place);
    st = check_cover(file, data_bytes, err);
    for (size_t i = 0; st == VD_OK && i < file->n; i++)
        file->tensor[i].data = data + file->tensor[i].begin;
    return st;
}

static vd_status parse(vd_safetensors *file, const unsigned char *bytes, size_t size, vd_err *err)
{
    uint64_t n = 0;
    if (size < LENGTH_BYTES)
        return VD_FAIL(err, VD_ERR_FORMAT, "%zu bytes are no safetensors file: 8 bytes with the "
                       "size of its header come first", size);
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        n = n << 8 | bytes[i];
    if (n > size - LENGTH_BYTES)
        return VD_FAIL(err, VD_ERR_FORMAT, "the header's size (bytes 0 to 7) is %llu, but only "
                       "%zu bytes follow", (unsigned long long)n, size - LENGTH_BYTES);
    if (n > HEADER_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "the header's size (bytes 0 to 7) is %llu; at most %d "
                       "are allowed", (unsigned long long)n, HEADER_MAX);
    if (n == 0 || bytes[LENGTH_BYTES] != '{')
        return VD_FAIL(err, VD_ERR_FORMAT, "the header (byte 8) does not begin with '{'");
    vd_status st = vd_json_parse((const char *)bytes + LENGTH_BYTES, (size_t)n, &file->header,
                                 err);
    if (st != VD_OK) {
        vd_err_prefix(err, "the header (byte 8 on)");
        return st;
    }
    return read_tensors(file, bytes + LENGTH_BYTES + n, size - LENGTH_BYTES - n, err);
}

vd_status vd_safetensors_open_memory(const void *data, size_t size, vd_safetensors **ret_file,
                                     vd_err *err)
{
    vd_safetensors *file = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*file), "a safetensors file", &file, err);
    if (st == VD_OK)
        st = parse(file, data, size, err);
    if (st == VD_OK) {
        *ret_file = file;
        file = NULL; /* moved to the caller */
    }
    vd_safetensors_free(file);
    return st;
}

vd_status vd_safetensors_open(const char *path, vd_safetensors **ret_file, vd_err *err)
{
    vd_mapping mapping;
    vd_safetensors *file = NULL;
    vd_status st = vd_mapping_open(path, &mapping, err);
    if (st != VD_OK)
        return st;
    st = vd_safetensors_open_memory(mapping.data, mapping.size, &file, err);
    if (st != VD_OK) {
        vd_err_prefix(err, "%s", path);
        vd_mapping_close(&mapping);
        return st;
    }
    file->mapping = mapping;
    *ret_file = file;
    return VD_OK;
}
