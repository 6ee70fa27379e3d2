/* weights.c - see weights.h. */
#include "model/weights.h"

#include "base/checked.h"
#include "base/fail.h"
#include "model/gguf_sparse.h"

static vd_status load_norm(vd_loader *loader, int layer, const char *base, size_t n_cols,
                           size_t n_rows, vd_need bias, vd_norm *norm, vd_err *err)
{
    vd_status st = vd_loader_floats(loader, layer, base, "weight", n_cols, n_rows, VD_ALWAYS,
                                    &norm->weight, err);
    if (st == VD_OK)
        st = vd_loader_floats(loader, layer, base, "bias", n_cols, n_rows, bias, &norm->bias, err);
    return st;
}

static vd_status load_norms(vd_loader *loader, int i, vd_layer *layer, vd_err *err)
{
    const vd_hparams *hp = &loader->model->hp;
    const vd_block *block = &hp->block;
    const struct {
        const char *base;
        unsigned at;
        vd_norm *to;
    } norms[] = {
        {"attn_norm", VD_NORM_INPUT, &layer->attn_norm},
        {"ffn_norm", VD_NORM_INPUT, &layer->ffn_norm},
        {"post_attention_norm", VD_NORM_OUTPUT, &layer->attn_out_norm},
        {"post_ffw_norm", VD_NORM_OUTPUT, &layer->ffn_out_norm},
        {"attn_output_norm", VD_NORM_SUM, &layer->attn_sum_norm},
        {"layer_output_norm", VD_NORM_SUM, &layer->ffn_sum_norm},
    };
    vd_need bias = block->norm_bias ? VD_ALWAYS : VD_NEVER;
    vd_status st = VD_OK;
    for (size_t j = 0; st == VD_OK && j < VD_COUNT(norms); j++) {
        bool wanted = (block->norm_at & norms[j].at) != 0;
        if (block->parallel && norms[j].to == &layer->ffn_norm)
            wanted = false; /* the feed-forward reads what attention reads */
        if (wanted)
            st = load_norm(loader, i, norms[j].base, hp->n_embd, 1, bias, norms[j].to, err);
    }
    if (block->qk_norm == VD_QK_NORM_NONE || st != VD_OK)
        return st;
    size_t d = hp->head_dim, q_rows = 1, k_rows = 1, q_cols = d, k_cols = d;
    if (block->qk_norm == VD_QK_NORM_HEADS) {
        q_rows = layer->n_head;
        k_rows = layer->n_kv_head;
    } else if (block->qk_norm == VD_QK_NORM_WIDTH) {
        q_cols = layer->n_head * d;
        k_cols = layer->n_kv_head * d;
    }
    st = load_norm(loader, i, "attn_q_norm", q_cols, q_rows, VD_NEVER, &layer->q_norm, err);
    if (st == VD_OK)
        st = load_norm(loader, i, "attn_k_norm", k_cols, k_rows, VD_NEVER, &layer->k_norm, err);
    return st;
}

/* Queries, keys and values: three tensors, or one that holds them one after the other. */
static vd_status load_qkv(vd_loader *loader, int i, vd_layer *layer, vd_err *err)
{
    const vd_hparams *hp = &loader->model->hp;
    size_t q = layer->n_head * hp->head_dim, kv = layer->n_kv_head * hp->head_dim;
    struct {
        const char *base;
        size_t first_row, n_rows;
        vd_dense *to;
    } parts[] = {{"attn_q", 0, q, &layer->q},
                 {"attn_k", q, kv, &layer->k},
                 {"attn_v", q + kv, kv, &layer->v}};
    vd_need need = hp->block.qkv_bias;
    vd_status st = VD_OK;
    if (!vd_loader_has(loader, i, "attn_qkv", "weight")) {
        for (size_t j = 0; st == VD_OK && j < VD_COUNT(parts); j++)
            st = vd_loader_dense(loader, i, parts[j].base, hp->n_embd, parts[j].n_rows, need,
                                 parts[j].to, err);
        return st;
    }
    const vd_gguf_tensor *tensor = NULL;
    const float *bias = NULL;
    st = vd_loader_tensor(loader, i, "attn_qkv", "weight", hp->n_embd, q + 2 * kv, &tensor, err);
    if (st == VD_OK)
        st = vd_loader_floats(loader, i, "attn_qkv", "bias", q + 2 * kv, 1, need, &bias, err);
    for (size_t j = 0; st == VD_OK && j < VD_COUNT(parts); j++) {
        parts[j].to->bias = bias != NULL ? bias + parts[j].first_row : NULL;
        st = vd_loader_pack(loader, tensor, parts[j].first_row, parts[j].n_rows, hp->n_embd,
                            &parts[j].to->weight, err);
    }
    return st;
}

static vd_status load_layer(vd_loader *loader, size_t index, vd_err *err)
{
    const vd_hparams *hp = &loader->model->hp;
    vd_layer *layer = &loader->model->layer[index];
    int i = (int)index;
    layer->n_head = hp->sizes[index].n_head;
    layer->n_kv_head = hp->sizes[index].n_kv_head;
    layer->local = hp->local[index];
    layer->rotated = hp->block.rotation != VD_ROTATION_NONE &&
                     (hp->no_rope_period == 0 || (index + 1) % hp->no_rope_period != 0);
    vd_status st = load_norms(loader, i, layer, err);
    if (st == VD_OK)
        st = load_qkv(loader, i, layer, err);
    if (st == VD_OK)
        st = vd_loader_dense(loader, i, "attn_output", layer->n_head * hp->head_dim, hp->n_embd,
                             hp->block.o_bias, &layer->o, err);
    if (st == VD_OK)
        st = vd_weights_load_ffn(loader, i, layer, err);
    return st;
}

/* LongRoPE's two sets of factors, or Llama 3's one, where the file has them. */
static vd_status load_rope(vd_loader *loader, vd_err *err)
{
    vd_model *model = loader->model;
    vd_arena *arena = &model->arena;
    vd_rope_params *p = &model->hp.rope;
    const float *factors = NULL, *beyond = NULL;
    vd_need need = model->hp.block.rope_factors;
    size_t n = p->n_rot / 2;
    bool two = need != VD_NEVER && vd_loader_has(loader, -1, "rope_factors_short", "weight");
    const char *base = two ? "rope_factors_short" : "rope_freqs";
    if (!two && p->scaling == VD_ROPE_SCALING_LONG)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "rope.scaling.type is longrope, but rope_factors_short.weight is missing");
    vd_status st = vd_loader_floats(loader, -1, base, "weight", n, 1, need, &factors, err);
    if (st == VD_OK && two)
        st = vd_loader_floats(loader, -1, "rope_factors_long", "weight", n, 1, VD_ALWAYS, &beyond,
                              err);
    if (st == VD_OK)
        st = vd_rope_init(p, factors, arena, &model->rope, err);
    if (st == VD_OK && two)
        st = vd_rope_init(p, beyond, arena, &model->rope_long, err);
    if (st == VD_OK)
        st = vd_rope_init(&model->hp.rope_local, NULL, arena, &model->rope_local, err);
    return st;
}

/* Token types and the norm of the embeddings, as BERT has them. */
static vd_status load_embed_extras(vd_loader *loader, vd_err *err)
{
    vd_model *model = loader->model;
    const vd_block *block = &model->hp.block;
    uint32_t n_types = 0;
    vd_status st = VD_OK;
    if (block->token_types && vd_loader_has(loader, -1, "token_types", "weight"))
        st = vd_gguf_require_u32(model->gguf, "tokenizer.ggml.token_type_count", &n_types, err);
    if (st == VD_OK && n_types > 0)
        st = vd_loader_floats(loader, -1, "token_types", "weight", model->hp.n_embd, n_types,
                              VD_ALWAYS, &model->token_type, err);
    if (st == VD_OK && block->embed_norm)
        st = load_norm(loader, -1, "token_embd_norm", model->hp.n_embd, 1,
                       block->norm_bias ? VD_ALWAYS : VD_NEVER, &model->embed_norm, err);
    return st;
}

/* The rows that tokens become, and those that the last ones are compared with. */
static vd_status load_ends(vd_loader *loader, vd_err *err)
{
    vd_model *model = loader->model;
    const vd_hparams *hp = &model->hp;
    size_t c = hp->n_embd;
    vd_status st = vd_loader_tensor(loader, -1, "token_embd", "weight", c, hp->n_vocab,
                                    &model->embed, err);
    if (st == VD_OK) /* rows are read one at a time */
        st = vd_gguf_expand_tensor(
            model->gguf, (size_t)(model->embed - vd_gguf_tensor_at(model->gguf, 0)), err);
    if (st != VD_OK)
        return st;
    if (!vd_dtype_row_bytes(model->embed->dtype, c, &model->embed_row_bytes))
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "tensor token_embd.weight: a row of %zu values is no whole block", c);
    st = vd_loader_floats(loader, -1, "position_embd", "weight", c, hp->ctx_train,
                          hp->block.learned_positions ? VD_ALWAYS : VD_NEVER, &model->positions,
                          err);
    if (st == VD_OK)
        st = load_embed_extras(loader, err);
    if (st != VD_OK || hp->block.encoder)
        return st;
    bool tied = !vd_loader_has(loader, -1, "output", "weight");
    st = vd_loader_dense(loader, -1, tied ? "token_embd" : "output", c, hp->n_vocab, VD_NEVER,
                         &model->output, err);
    if (st == VD_OK)
        st = load_norm(loader, -1, "output_norm", c, 1, hp->block.norm_bias ? VD_ALWAYS : VD_NEVER,
                       &model->output_norm, err);
    return st;
}

vd_status vd_weights_load(vd_model *model, vd_pool *pool, vd_err *err)
{
    vd_loader loader = {0};
    vd_status st = vd_loader_init(model, &loader, err);
    if (st == VD_OK)
        st = load_ends(&loader, err);
    if (st == VD_OK)
        st = load_rope(&loader, err);
    for (size_t i = 0; st == VD_OK && i < model->hp.n_layer; i++)
        st = load_layer(&loader, i, err);
    if (st == VD_OK)
        st = vd_loader_finish(&loader, pool, err);
    vd_loader_done(&loader);
    return st;
}
