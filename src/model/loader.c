/* loader.c - see loader.h. */
#include "model/loader.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "kernels/sparse.h"
#include "model/gguf_sparse.h"

typedef struct tensor_name {
    char text[VD_TENSOR_NAME_MAX];
} tensor_name;

static tensor_name make_name(int layer, const char *base, const char *kind)
{
    tensor_name name;
    if (layer >= 0)
        snprintf(name.text, sizeof(name.text), "blk.%d.%s.%s", layer, base, kind);
    else
        snprintf(name.text, sizeof(name.text), "%s.%s", base, kind);
    return name;
}

vd_status vd_loader_init(vd_model *model, vd_loader *ret_loader, vd_err *err)
{
    vd_loader loader = {.model = model};
    vd_status st = vd_alloc_array(vd_gguf_n_tensors(model->gguf), sizeof(*loader.read),
                                  "the list of tensors", &loader.read, err);
    if (st == VD_OK)
        *ret_loader = loader;
    return st;
}

void vd_loader_done(vd_loader *loader)
{
    vd_free(loader->read);
    vd_free(loader->task);
    *loader = (vd_loader){0};
}

bool vd_loader_has(const vd_loader *loader, int layer, const char *base, const char *kind)
{
    return vd_gguf_find_tensor(loader->model->gguf, make_name(layer, base, kind).text) != NULL;
}

static vd_status find(vd_loader *loader, const tensor_name *name, size_t n_cols, size_t n_rows,
                      size_t n, const vd_gguf_tensor **ret_tensor, vd_err *err)
{
    const vd_gguf *gguf = loader->model->gguf;
    const vd_gguf_tensor *tensor = vd_gguf_find_tensor(gguf, name->text);
    if (tensor == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s is missing", name->text);
    if (!vd_dtype_decodable(tensor->dtype))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "tensor %s has type %s, which we cannot compute with yet", name->text,
                       vd_dtype_name(tensor->dtype));
    const uint64_t *dim = tensor->dim;
    if (dim[0] != n_cols || dim[1] != n_rows || dim[2] != n || dim[3] != 1)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "tensor %s has shape [%llu, %llu, %llu, %llu], expected [%zu, %zu, %zu, 1]",
                       name->text, (unsigned long long)dim[0], (unsigned long long)dim[1],
                       (unsigned long long)dim[2], (unsigned long long)dim[3], n_cols, n_rows, n);
    loader->read[tensor - vd_gguf_tensor_at(gguf, 0)] = true;
    *ret_tensor = tensor;
    return VD_OK;
}

/* The tensor's dense rows, where the file has it sparse. */
static vd_status expand(vd_loader *loader, const vd_gguf_tensor *tensor, vd_err *err)
{
    vd_gguf *gguf = loader->model->gguf;
    return vd_gguf_expand_tensor(gguf, (size_t)(tensor - vd_gguf_tensor_at(gguf, 0)), err);
}

/* Whether these rows can be computed with as the file has them: whole groups of them, by a table
 * that knows the sparse form. */
static bool stays_sparse(const vd_model *model, const vd_gguf_tensor *tensor, size_t first_row,
                         size_t n_rows)
{
    uint64_t all = tensor->dim[1] * tensor->dim[2] * tensor->dim[3];
    return model->precision == VD_PRECISION_FAST && model->kernels->sparse_keep > 0 &&
           first_row % VD_GROUP == 0 && (n_rows % VD_GROUP == 0 || first_row + n_rows == all);
}

vd_status vd_loader_tensor(vd_loader *loader, int layer, const char *base, const char *kind,
                           size_t n_cols, size_t n_rows, const vd_gguf_tensor **ret_tensor,
                           vd_err *err)
{
    tensor_name name = make_name(layer, base, kind);
    return find(loader, &name, n_cols, n_rows, 1, ret_tensor, err);
}

vd_status vd_loader_stack(vd_loader *loader, int layer, const char *base, size_t n_cols,
                          size_t n_rows, size_t n, const vd_gguf_tensor **ret_tensor, vd_err *err)
{
    tensor_name name = make_name(layer, base, "weight");
    return find(loader, &name, n_cols, n_rows, n, ret_tensor, err);
}

vd_status vd_loader_floats(vd_loader *loader, int layer, const char *base, const char *kind,
                           size_t n_cols, size_t n_rows, vd_need need, const float **ret,
                           vd_err *err)
{
    if (need == VD_NEVER || (need == VD_MAYBE && !vd_loader_has(loader, layer, base, kind)))
        return VD_OK;
    const vd_gguf_tensor *tensor = NULL;
    float *values = NULL;
    vd_status st = vd_loader_tensor(loader, layer, base, kind, n_cols, n_rows, &tensor, err);
    if (st == VD_OK)
        st = vd_arena_array(&loader->model->arena, n_cols * n_rows, sizeof(float), base, &values,
                            err);
    if (st == VD_OK)
        st = expand(loader, tensor, err);
    if (st != VD_OK)
        return st;
    vd_dtype_decode((vd_dtype)tensor->dtype, tensor->data, values, n_cols * n_rows);
    *ret = values;
    return VD_OK;
}

vd_status vd_loader_pack(vd_loader *loader, const vd_gguf_tensor *tensor, size_t first_row,
                         size_t n_rows, size_t n_cols, vd_weight *weight, vd_err *err)
{
    if (!stays_sparse(loader->model, tensor, first_row, n_rows)) {
        vd_status st = expand(loader, tensor, err);
        if (st != VD_OK)
            return st;
    }
    if (loader->n_tasks == loader->capacity) {
        size_t bytes, capacity = loader->capacity == 0 ? 256 : 2 * loader->capacity;
        vd_pack_task *task = NULL;
        if (vd_mul_size(capacity, sizeof(*task), &bytes))
            task = vd_realloc(loader->task, bytes);
        if (task == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu packing tasks", capacity);
        loader->task = task;
        loader->capacity = capacity;
    }
    loader->task[loader->n_tasks++] = (vd_pack_task){.weight = weight,
                                                     .tensor = tensor,
                                                     .first_row = first_row,
                                                     .n_rows = n_rows,
                                                     .n_cols = n_cols};
    return VD_OK;
}

vd_status vd_loader_dense(vd_loader *loader, int layer, const char *base, size_t n_cols,
                          size_t n_rows, vd_need bias, vd_dense *ret_dense, vd_err *err)
{
    const vd_gguf_tensor *tensor = NULL;
    vd_status st = vd_loader_tensor(loader, layer, base, "weight", n_cols, n_rows, &tensor, err);
    if (st == VD_OK)
        st = vd_loader_pack(loader, tensor, 0, n_rows, n_cols, &ret_dense->weight, err);
    if (st == VD_OK)
        st = vd_loader_floats(loader, layer, base, "bias", n_rows, 1, bias, &ret_dense->bias, err);
    return st;
}

static vd_status refuse_unread(const vd_loader *loader, vd_err *err)
{
    const vd_gguf *gguf = loader->model->gguf;
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++)
        if (!loader->read[i]) {
            vd_str name = vd_gguf_tensor_at(gguf, i)->name;
            return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                           "tensor %.*s belongs to a variant of architecture %s that we lack",
                           (int)VD_MIN(name.n, (size_t)VD_TENSOR_NAME_MAX), name.data,
                           loader->model->arch->name);
        }
    return VD_OK;
}

vd_status vd_loader_finish(vd_loader *loader, vd_pool *pool, vd_err *err)
{
    vd_model *model = loader->model;
    vd_status st = refuse_unread(loader, err);
    if (st == VD_OK)
        st = vd_pack_run(model->kernels, model->precision, pool, loader->task, loader->n_tasks,
                         err);
    for (size_t i = 0; st == VD_OK && i < loader->n_tasks; i++) {
        const vd_weight *w = loader->task[i].weight;
        model->weight_bytes += w->packed != NULL ? w->packed_bytes : w->row_bytes * w->n_rows;
    }
    return st;
}
