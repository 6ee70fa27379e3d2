/*
 * arch_deci.c - Llama with as many heads and neurons in each layer as the file says of it (DeciLM,
 * Nemotron-NAS): what parts of a Llama are cut out of becomes (compress/structured). Layers that
 * have no attention or no feed-forward at all are not read.
 */
#include "model/arch.h"

static vd_status read_deci(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    return vd_hparams_f32(gguf, "deci", "attention.scale", 1e-6f, 1e3f, &hp->attn_scale, err);
}

const vd_arch vd_arch_deci = {
    .name = "deci",
    .block = {.norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_MAYBE,
              .o_bias = VD_MAYBE,
              .ffn_bias = VD_MAYBE,
              .rotation = VD_ROTATION_ADJACENT,
              .rope_factors = VD_MAYBE,
              .uneven = true},
    .read = read_deci,
};
