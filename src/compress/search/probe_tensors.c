/* probe_tensors.c - see probe.h: a model's products, what they read, other rows in their place. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/search/probe_internal.h"

/* Calls fn for every product whose matrix may be had in another type. */
typedef vd_status (*product_fn)(vd_probe *p, vd_dense *dense, size_t layer, size_t expert,
                                vd_err *err);

static vd_status each_product(vd_probe *p, product_fn fn, vd_err *err)
{
    const vd_hparams *hp = &p->model->hp;
    vd_status st = VD_OK;
    for (size_t l = 0; l < hp->n_layer; l++) {
        vd_layer *layer = &p->model->layer[l];
        vd_dense *some[] = {&layer->q, &layer->k, &layer->v, &layer->o, &layer->ffn.gate,
                            &layer->ffn.up, &layer->ffn.down};
        for (size_t i = 0; st == VD_OK && i < VD_COUNT(some); i++)
            st = fn(p, some[i], l, 0, err);
        for (size_t e = 0; layer->expert != NULL && e < hp->moe.n_experts; e++) {
            vd_ffn *ffn = &layer->expert[e];
            vd_dense *three[] = {&ffn->gate, &ffn->up, &ffn->down};
            for (size_t i = 0; st == VD_OK && i < VD_COUNT(three); i++)
                st = fn(p, three[i], l, e, err);
        }
    }
    return st == VD_OK ? fn(p, &p->model->output, hp->n_layer, 0, err) : st;
}

static vd_status count_product(vd_probe *p, vd_dense *dense, size_t layer, size_t expert,
                               vd_err *err)
{
    p->n_products += dense->weight.n_rows > 0;
    return VD_OK;
}

static vd_status add_product(vd_probe *p, vd_dense *dense, size_t layer, size_t expert, vd_err *err)
{
    const unsigned char *rows = dense->weight.rows;
    for (size_t i = 0; dense->weight.n_rows > 0 && i < p->n_tensors; i++) {
        vd_probe_tensor *t = &p->tensor[i];
        if (rows < t->tensor->data || rows >= t->tensor->data + t->tensor->n_bytes)
            continue;
        size_t first = (size_t)(rows - t->tensor->data) / dense->weight.row_bytes;
        if (vd_gguf_tensor_experts(t->tensor) == 1)
            expert = 0;
        p->product[p->n_products++] = (vd_probe_product){dense, dense->weight, i, first, expert};
        t->layer = t->n_products++ == 0 && i != p->embed ? layer : VD_MIN(t->layer, layer);
        if (t->sum != NULL)
            return VD_OK;
        size_t n_experts = vd_gguf_tensor_experts(t->tensor), n;
        if (!vd_mul_size(n_experts, (size_t)t->tensor->dim[0], &n))
            return VD_FAIL(err, VD_ERR_LIMIT, "a tensor is too wide");
        vd_status st = vd_alloc_array(n, sizeof(*t->sum), "squares", &t->sum, err);
        if (st == VD_OK)
            st = vd_alloc_array(n_experts, sizeof(*t->n_tokens), "squares", &t->n_tokens, err);
        return st;
    }
    return VD_OK;
}

vd_status vd_probe_list(vd_probe *p, vd_err *err)
{
    const vd_gguf *gguf = p->model->gguf;
    size_t n = vd_gguf_n_tensors(gguf);
    vd_status st = vd_alloc_array(n, sizeof(*p->tensor), "the tensors", &p->tensor, err);
    if (st != VD_OK)
        return st;
    p->n_tensors = n;
    p->embed = n;
    for (size_t i = 0; i < n; i++) {
        p->tensor[i].tensor = vd_gguf_tensor_at(gguf, i);
        if (p->tensor[i].tensor == p->model->embed)
            p->embed = i;
    }
    p->own_embed = p->model->embed;
    p->own_embed_row_bytes = p->model->embed_row_bytes;
    st = each_product(p, count_product, err);
    if (st == VD_OK)
        st = vd_alloc_array(VD_MAX(p->n_products, (size_t)1), sizeof(*p->product), "the products",
                            &p->product, err);
    p->n_products = 0;
    return st == VD_OK ? each_product(p, add_product, err) : st;
}

void vd_probe_unlist(vd_probe *p)
{
    for (size_t i = 0; i < p->n_products && p->product != NULL; i++)
        p->product[i].dense->weight = p->product[i].own;
    if (p->own_embed != NULL) {
        p->model->embed = p->own_embed;
        p->model->embed_row_bytes = p->own_embed_row_bytes;
    }
    for (size_t i = 0; i < p->n_tensors; i++) {
        vd_free(p->tensor[i].rows);
        vd_free(p->tensor[i].sum);
        vd_free(p->tensor[i].n_tokens);
        vd_free(p->tensor[i].mean);
    }
    vd_imatrix_free(p->imatrix);
    vd_free(p->tensor);
    vd_free(p->product);
}

void vd_probe_on_input(void *ctx, const vd_dense *dense, const float *x, size_t n, size_t width,
                       size_t ld_x)
{
    vd_probe *p = ctx;
    for (size_t i = 0; i < p->n_products; i++) {
        const vd_probe_product *product = &p->product[i];
        vd_probe_tensor *t = &p->tensor[product->tensor];
        if (product->dense != dense)
            continue;
        if (product->first_row % VD_MAX((size_t)t->tensor->dim[1], (size_t)1) != 0)
            return; /* a later part of a fused matrix reads the same */
        double *sum = t->sum + product->expert * width;
        for (size_t row = 0; row < n; row++)
            for (size_t k = 0; k < width; k++) {
                double value = (double)x[row * ld_x + k];
                sum[k] += value * value;
            }
        t->n_tokens[product->expert] += n;
        return;
    }
}

/* Through the form of an importance file, so that who reads it encodes the same bytes. */
static vd_status average(vd_probe *p, vd_probe_tensor *t, vd_err *err)
{
    size_t n_experts = vd_gguf_tensor_experts(t->tensor), width = (size_t)t->tensor->dim[0];
    vd_imatrix_entry *entry = NULL;
    vd_status st = vd_alloc_array(n_experts * width, sizeof(float), "squares", &t->mean, err);
    if (st == VD_OK)
        st = vd_imatrix_add(p->imatrix, t->tensor->name, n_experts, width, &entry, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n_experts * width; i++)
        entry->sum[i] = (float)t->sum[i];
    for (size_t e = 0; e < n_experts; e++)
        entry->count[e] = (float)t->n_tokens[e];
    return vd_imatrix_means(entry, n_experts, width, t->mean, err);
}

vd_status vd_probe_average(vd_probe *p, vd_err *err)
{
    vd_status st = vd_imatrix_create(&p->imatrix, err);
    for (size_t i = 0; st == VD_OK && i < p->n_tensors; i++)
        if (p->tensor[i].sum != NULL)
            st = average(p, &p->tensor[i], err);
    return st;
}

static vd_probe_tensor *find(const vd_probe *p, const vd_gguf_tensor *tensor)
{
    for (size_t i = 0; i < p->n_tensors; i++)
        if (p->tensor[i].tensor == tensor)
            return &p->tensor[i];
    return NULL;
}

const float *vd_probe_squares(const vd_probe *p, const vd_gguf_tensor *tensor)
{
    const vd_probe_tensor *t = find(p, tensor);
    return t != NULL ? t->mean : NULL;
}

size_t vd_probe_layer(const vd_probe *p, const vd_gguf_tensor *tensor)
{
    const vd_probe_tensor *t = find(p, tensor);
    return t != NULL ? t->layer : 0;
}

vd_status vd_probe_put(vd_probe *p, const vd_gguf_tensor *tensor, vd_dtype dtype,
                       unsigned char *rows, vd_err *err)
{
    vd_probe_tensor *t = find(p, tensor);
    vd_status st = VD_OK;
    size_t row_bytes = 0;
    vd_dtype now = rows != NULL ? dtype : (vd_dtype)tensor->dtype;
    if (t == NULL || !vd_dtype_row_bytes(now, (size_t)tensor->dim[0], &row_bytes)) {
        vd_free(rows);
        return VD_FAIL(err, VD_ERR_ARG, "rows of %.*s do not suit %s", (int)tensor->name.n,
                       tensor->name.data, vd_dtype_name(now));
    }
    for (size_t i = 0; st == VD_OK && i < p->n_products; i++) {
        vd_probe_product *product = &p->product[i];
        vd_weight *weight = &product->dense->weight;
        if (p->tensor + product->tensor != t)
            continue;
        if (rows == NULL) /* exact products read the rows themselves: nothing to be let go */
            *weight = product->own;
        else
            st = vd_weight_prepare(p->model->kernels, VD_PRECISION_EXACT, now, weight->n_rows,
                                   weight->n_cols, rows + product->first_row * row_bytes, weight,
                                   err);
    }
    if (t == &p->tensor[p->embed]) {
        p->new_embed = *tensor;
        p->new_embed.dtype = (uint32_t)now;
        p->new_embed.data = rows;
        p->model->embed = rows != NULL ? &p->new_embed : p->own_embed;
        p->model->embed_row_bytes = rows != NULL ? row_bytes : p->own_embed_row_bytes;
    }
    vd_free(t->rows);
    t->rows = rows;
    return st;
}
