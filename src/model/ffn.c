/* ffn.c - the feed-forward network of a block: two products, a unit between them. */
#include "model/pass.h"

void vd_pass_ffn_hidden(vd_worker *w, const vd_layer *layer, const vd_act *act)
{
    vd_forward *f = w->f;
    vd_ffn_kind kind = w->m->hp.block.ffn;
    size_t n_ff = layer->up.weight.n_rows, begin, end;
    vd_pass_product(w, &layer->up, act, kind == VD_FFN_GELU ? f->gate : f->up);
    if (kind != VD_FFN_GELU)
        vd_pass_product(w, &layer->gate, act, f->gate);
    vd_pass_rows(w, n_ff, &begin, &end);
    for (size_t t = 0; t < act->n_rows; t++) {
        float *gate = f->gate + t * n_ff + begin;
        const float *up = f->up + t * n_ff + begin;
        switch (kind) {
        case VD_FFN_SILU_GATE:
            w->kn->silu_mul(gate, up, end - begin);
            break;
        case VD_FFN_GELU_GATE:
            w->kn->gelu_mul(gate, up, end - begin);
            break;
        case VD_FFN_GELU:
            w->kn->gelu(gate, end - begin);
            break;
        }
    }
}

void vd_pass_ffn_down(vd_worker *w, const vd_layer *layer)
{
    vd_pool_barrier(w->f->pool);
    vd_act act = vd_pass_input(w, w->f->gate, w->n_tokens, layer->down.weight.n_cols, NULL,
                               VD_WIDTH_WIDE);
    vd_pass_residual(w, &layer->down, &act, &layer->ffn_out_norm, &layer->ffn_sum_norm);
}
