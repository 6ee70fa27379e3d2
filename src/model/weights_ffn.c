/* weights_ffn.c - the tensors of feed-forward networks and of experts; see weights.h. */
#include "model/weights.h"

static vd_status load_gate_in_up(vd_loader *loader, int i, vd_ffn *ffn, vd_err *err)
{
    size_t c = loader->model->hp.n_embd, f = loader->model->hp.sizes[i].n_ff;
    const vd_gguf_tensor *tensor = NULL;
    vd_status st = vd_loader_tensor(loader, i, "ffn_up", "weight", c, 2 * f, &tensor, err);
    if (st == VD_OK)
        st = vd_loader_pack(loader, tensor, 0, f, c, &ffn->gate.weight, err);
    if (st == VD_OK)
        st = vd_loader_pack(loader, tensor, f, f, c, &ffn->up.weight, err);
    if (st == VD_OK)
        st = vd_loader_dense(loader, i, "ffn_down", f, c, VD_NEVER, &ffn->down, err);
    return st;
}

static vd_status load_ffn(vd_loader *loader, int i, vd_ffn *ffn, vd_err *err)
{
    const vd_hparams *hp = &loader->model->hp;
    size_t c = hp->n_embd, f = hp->sizes[i].n_ff;
    vd_need bias = hp->block.ffn_bias;
    vd_status st = VD_OK;
    if (hp->block.gate_in_up)
        return load_gate_in_up(loader, i, ffn, err);
    if (hp->block.ffn != VD_FFN_GELU)
        st = vd_loader_dense(loader, i, "ffn_gate", c, f, bias, &ffn->gate, err);
    if (st == VD_OK)
        st = vd_loader_dense(loader, i, "ffn_up", c, f, bias, &ffn->up, err);
    if (st == VD_OK)
        st = vd_loader_dense(loader, i, "ffn_down", f, c, bias, &ffn->down, err);
    return st;
}

static vd_status load_shared_expert(vd_loader *loader, int i, vd_layer *layer, vd_err *err)
{
    const vd_hparams *hp = &loader->model->hp;
    size_t c = hp->n_embd, f = hp->moe.n_ff_shared;
    vd_ffn *ffn = &layer->ffn;
    vd_status st = vd_loader_dense(loader, i, "ffn_gate_shexp", c, f, VD_NEVER, &ffn->gate, err);
    if (st == VD_OK)
        st = vd_loader_dense(loader, i, "ffn_up_shexp", c, f, VD_NEVER, &ffn->up, err);
    if (st == VD_OK)
        st = vd_loader_dense(loader, i, "ffn_down_shexp", f, c, VD_NEVER, &ffn->down, err);
    if (st == VD_OK)
        st = vd_loader_floats(loader, i, "ffn_gate_inp_shexp", "weight", c, 1, VD_ALWAYS,
                              &layer->shared_gate, err);
    return st;
}

/* The experts of a layer lie one after the other in three tensors. */
static vd_status load_experts(vd_loader *loader, int i, vd_layer *layer, vd_err *err)
{
    const vd_hparams *hp = &loader->model->hp;
    size_t n = hp->moe.n_experts, c = hp->n_embd, f = hp->moe.n_ff;
    const vd_gguf_tensor *gate = NULL, *up = NULL, *down = NULL;
    vd_status st = vd_loader_dense(loader, i, "ffn_gate_inp", c, n, VD_NEVER, &layer->router, err);
    if (st == VD_OK)
        st = vd_loader_stack(loader, i, "ffn_gate_exps", c, f, n, &gate, err);
    if (st == VD_OK)
        st = vd_loader_stack(loader, i, "ffn_up_exps", c, f, n, &up, err);
    if (st == VD_OK)
        st = vd_loader_stack(loader, i, "ffn_down_exps", f, c, n, &down, err);
    if (st == VD_OK)
        st = vd_arena_array(&loader->model->arena, n, sizeof(vd_ffn), "experts", &layer->expert,
                            err);
    for (size_t e = 0; st == VD_OK && e < n; e++) {
        vd_ffn *expert = &layer->expert[e];
        st = vd_loader_pack(loader, gate, e * f, f, c, &expert->gate.weight, err);
        if (st == VD_OK)
            st = vd_loader_pack(loader, up, e * f, f, c, &expert->up.weight, err);
        if (st == VD_OK)
            st = vd_loader_pack(loader, down, e * c, c, f, &expert->down.weight, err);
    }
    if (st == VD_OK && hp->block.shared_expert)
        st = load_shared_expert(loader, i, layer, err);
    return st;
}

vd_status vd_weights_load_ffn(vd_loader *loader, int layer, vd_layer *ret_layer, vd_err *err)
{
    if (loader->model->hp.moe.n_experts > 0)
        return load_experts(loader, layer, ret_layer, err);
    return load_ffn(loader, layer, &ret_layer->ffn, err);
}
