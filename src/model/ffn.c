/* ffn.c - the feed-forward network of a block: two products, a unit between them. */
#include "model/pass.h"

void vd_pass_ffn_hidden(vd_worker *w, const vd_ffn *ffn, const vd_act *act, size_t first_row)
{
    vd_ffn_kind kind = w->m->hp.block.ffn;
    size_t n_ff = ffn->up.weight.n_rows, begin, end;
    float *gate = w->f->gate + first_row * n_ff, *up = w->f->up + first_row * n_ff;
    vd_pass_product(w, &ffn->up, act, kind == VD_FFN_GELU ? gate : up);
    if (kind != VD_FFN_GELU)
        vd_pass_product(w, &ffn->gate, act, gate);
    vd_pass_rows(w, n_ff, &begin, &end);
    for (size_t at = begin; at < act->n_rows * n_ff; at += n_ff)
        switch (kind) {
        case VD_FFN_SILU_GATE:
            w->kn->silu_mul(gate + at, up + at, end - begin);
            break;
        case VD_FFN_GELU_GATE:
            w->kn->gelu_mul(gate + at, up + at, end - begin);
            break;
        case VD_FFN_GELU:
            w->kn->gelu(gate + at, end - begin);
            break;
        }
}

void vd_pass_ffn_down(vd_worker *w, const vd_layer *layer)
{
    vd_forward *f = w->f;
    const vd_dense *down = &layer->ffn.down;
    vd_pool_barrier(f->pool);
    vd_act act =
        vd_pass_input(w, f->gate, w->n_tokens, down->weight.n_cols, NULL, vd_pass_width(w));
    vd_pass_product(w, down, &act, f->y);
    vd_pass_add(w, f->y, &layer->ffn_out_norm, &layer->ffn_sum_norm);
}
