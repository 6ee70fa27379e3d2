/* gguf_sparse.c - see gguf_sparse.h. */
#include "model/gguf_sparse.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "kernels/sparse.h"
#include "model/gguf_internal.h"

enum { VERSION = 1, DTYPE_I8 = 24 };

static vd_status read_shape(const vd_gguf_kv *shapes, size_t i, vd_gguf_tensor *t, vd_err *err)
{
    size_t n_values = 1;
    bool good = true;
    t->n_dims = 1;
    for (size_t d = 0; d < VD_GGUF_DIMS_MAX; d++) {
        good &= vd_gguf_item_u64(shapes, VD_GGUF_DIMS_MAX * i + d, &t->dim[d]) && t->dim[d] > 0 &&
                t->dim[d] <= INT32_MAX && vd_mul_size(n_values, (size_t)t->dim[d], &n_values);
        if (t->dim[d] > 1)
            t->n_dims = (uint32_t)d + 1;
    }
    if (!good || t->dim[0] % VD_BLOCK != 0 || n_values > SIZE_MAX / 8)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "metadata '" VD_GGUF_SPARSE_SHAPES "': tensor %s has no shape of four "
                       "numbers from 1 on, the first a multiple of %d",
                       vd_gguf_quote(t->name).text, VD_BLOCK);
    return VD_OK;
}

/* Tensor NAME.sparse, the i-th of the list, becomes NAME. */
static vd_status rename_tensor(vd_gguf *gguf, vd_str name, size_t i, const vd_gguf_kv *shapes,
                               vd_err *err)
{
    static const char suffix[] = VD_GGUF_SPARSE_SUFFIX;
    char full[VD_GGUF_NAME_MAX + 1];
    uint32_t at = 0;
    bool was_there = false;
    bool fits = name.n + sizeof suffix <= sizeof full;
    if (fits) {
        memcpy(full, name.data, name.n);
        memcpy(full + name.n, suffix, sizeof suffix);
    }
    if (!fits ||
        !vd_strmap_get(&gguf->tensor_index, full, name.n + sizeof suffix - 1, &at)) {
        /* The list of a file that was written anew by a program that does not know it. */
        if (vd_strmap_get(&gguf->tensor_index, name.data, name.n, &at))
            return VD_OK;
        return VD_FAIL(err, VD_ERR_FORMAT, "metadata '" VD_GGUF_SPARSE_TENSORS "' names %s, but "
                       "there is no tensor of this name with %s behind it",
                       vd_gguf_quote(name).text, suffix);
    }
    vd_gguf_tensor *t = &gguf->tensor[at];
    if (t->is_sparse || t->dtype != DTYPE_I8 || t->n_dims != 1)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s%s: a row of I8 is demanded, once",
                       vd_gguf_quote(name).text, suffix);
    t->name.n -= sizeof suffix - 1;
    t->dtype = VD_DTYPE_Q8_0;
    t->is_sparse = true;
    t->stored = t->data;
    t->data = NULL;
    vd_status st = read_shape(shapes, i, t, err);
    if (st == VD_OK)
        st = vd_strmap_put(&gguf->tensor_index, t->name.data, t->name.n, at, &was_there, err);
    if (st == VD_OK && was_there)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s is there twice, dense and sparse",
                       vd_gguf_quote(t->name).text);
    return st;
}

vd_status vd_gguf_find_sparse(vd_gguf *gguf, vd_err *err)
{
    const vd_gguf_kv *names = vd_gguf_find(gguf, VD_GGUF_SPARSE_TENSORS);
    const vd_gguf_kv *shapes = vd_gguf_find(gguf, VD_GGUF_SPARSE_SHAPES);
    uint32_t version = 0;
    vd_status st = VD_OK;
    if (names == NULL)
        return VD_OK;
    if (!vd_gguf_get_u32(gguf, VD_GGUF_SPARSE_VERSION, &version) || version != VERSION)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "metadata '" VD_GGUF_SPARSE_VERSION "' is %u, %d "
                       "is what we read", (unsigned)version, VERSION);
    if (names->type != VD_GGUF_TYPE_ARRAY || names->item_type != VD_GGUF_TYPE_STRING ||
        shapes == NULL || shapes->type != VD_GGUF_TYPE_ARRAY ||
        shapes->n_items % VD_GGUF_DIMS_MAX != 0 ||
        shapes->n_items / VD_GGUF_DIMS_MAX != names->n_items)
        return VD_FAIL(err, VD_ERR_FORMAT, "metadata '" VD_GGUF_SPARSE_TENSORS "' and '"
                       VD_GGUF_SPARSE_SHAPES "' are no lists of names and of four numbers for "
                       "each");
    const unsigned char *cursor = names->data;
    for (uint64_t i = 0; st == VD_OK && i < names->n_items; i++)
        st = rename_tensor(gguf, vd_gguf_next_str(&cursor), (size_t)i, shapes, err);
    return st;
}

vd_status vd_gguf_expand_tensor(vd_gguf *gguf, size_t i, vd_err *err)
{
    vd_gguf_tensor *t = &gguf->tensor[i];
    size_t n_rows = (size_t)(t->dim[1] * t->dim[2] * t->dim[3]), row_bytes = 0, n_bytes = 0;
    if (t->stored == NULL || t->data != NULL)
        return VD_OK;
    vd_status st = vd_sparse_check(t->stored, (size_t)t->n_bytes, n_rows, (size_t)t->dim[0], 0,
                                   n_rows, err);
    unsigned char *rows = NULL;
    if (st == VD_OK && (!vd_dtype_row_bytes(t->dtype, (size_t)t->dim[0], &row_bytes) ||
                        !vd_mul_size(n_rows, row_bytes, &n_bytes) ||
                        (rows = vd_alloc_aligned(n_bytes, 64)) == NULL))
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for its dense form");
    if (st != VD_OK) {
        vd_err_prefix(err, "tensor %s", vd_gguf_quote(t->name).text);
        return st;
    }
    vd_sparse_to_rows(t->stored, n_rows, (size_t)t->dim[0], rows);
    t->data = rows;
    t->n_bytes = n_bytes;
    return VD_OK;
}

vd_status vd_gguf_expand(vd_gguf *gguf, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < gguf->n_tensors; i++)
        st = vd_gguf_expand_tensor(gguf, i, err);
    return st;
}

void vd_gguf_free_expanded(vd_gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_tensors; i++)
        if (gguf->tensor[i].is_sparse)
            vd_free((void *)(uintptr_t)gguf->tensor[i].data);
}
