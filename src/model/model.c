/* model.c - opening a model: find its architecture, read its numbers, load its weights. */
#include "model/model.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "model/weights.h"

enum { ARENA_LIMIT = 1 << 30 };

static size_t count_params(const vd_gguf *gguf)
{
    size_t total = 0;
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        total += (size_t)(t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]);
    }
    return total;
}

vd_status vd_model_open(const char *path, vd_precision precision, vd_pool *pool,
                        vd_model **ret_model, vd_err *err)
{
    vd_model *model = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*model), "the model", &model, err);
    if (st != VD_OK)
        return st;
    vd_arena_init(&model->arena, ARENA_LIMIT);
    model->kernels = vd_kernels_get();
    model->precision = precision;
    st = vd_gguf_open(path, NULL, &model->gguf, err); /* names the file itself */
    if (st != VD_OK)
        goto out;
    st = vd_arch_find(model->gguf, &model->arch, err);
    if (st == VD_OK)
        st = vd_arch_read(model->arch, model->gguf, &model->hp, err);
    if (st != VD_OK)
        goto out;
    if (model->hp.n_vocab == 0) {
        st = VD_FAIL(err, VD_ERR_FORMAT,
                     "tensor token_embd.weight is missing or its vocabulary too large: the file "
                     "holds no weights to run");
        goto out;
    }
    st = vd_arena_array(&model->arena, model->hp.n_layer, sizeof(vd_layer), "layers",
                        &model->layer, err);
    if (st == VD_OK)
        st = vd_weights_load(model, pool, err);
    if (st != VD_OK)
        goto out;
    model->n_params = count_params(model->gguf);
    *ret_model = model;
    model = NULL;
out:
    if (st != VD_OK && model->gguf != NULL)
        vd_err_prefix(err, "%s", path);
    vd_model_free(model);
    return st;
}

static void free_ffn(vd_ffn *ffn)
{
    vd_weight_done(&ffn->gate.weight);
    vd_weight_done(&ffn->up.weight);
    vd_weight_done(&ffn->down.weight);
}

static void free_layer(vd_layer *layer, size_t n_experts)
{
    vd_dense *all[] = {&layer->q, &layer->k, &layer->v, &layer->o, &layer->router};
    for (size_t i = 0; i < VD_COUNT(all); i++)
        vd_weight_done(&all[i]->weight);
    free_ffn(&layer->ffn);
    for (size_t i = 0; layer->expert != NULL && i < n_experts; i++)
        free_ffn(&layer->expert[i]);
}

void vd_model_free(vd_model *model)
{
    if (model == NULL)
        return;
    for (size_t i = 0; model->layer != NULL && i < model->hp.n_layer; i++)
        free_layer(&model->layer[i], model->hp.moe.n_experts);
    vd_weight_done(&model->output.weight);
    vd_gguf_free(model->gguf);
    vd_arena_done(&model->arena);
    vd_free(model);
}

size_t vd_model_ctx_max(const vd_model *model)
{
    return model->positions != NULL ? model->hp.ctx_train : SIZE_MAX;
}

void vd_model_embed(const vd_model *model, int32_t token, size_t pos, float *x)
{
    size_t c = model->hp.n_embd;
    vd_dtype_decode((vd_dtype)model->embed->dtype,
                    model->embed->data + (size_t)token * model->embed_row_bytes, x, c);
    if (model->hp.embed_scale != 1)
        for (size_t i = 0; i < c; i++)
            x[i] *= model->hp.embed_scale;
    if (model->token_type != NULL)
        model->kernels->add(x, model->token_type, c);
    if (model->positions != NULL)
        model->kernels->add(x, model->positions + pos * c, c);
}
