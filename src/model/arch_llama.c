/*
 * arch_llama.c - Llama (Touvron et al. 2023) and what is built alike: SmolLM2, Mistral, TinyLlama.
 *
 *   x += Wo attention(RoPE(Wq n), RoPE(Wk n), Wv n)    n = rms_norm(x)
 *   x += Wdown (silu(Wgate n) * Wup n)                 n = rms_norm(x)
 *
 * Mixtral (Jiang et al. 2024) goes under the same name, with experts.
 */
#include "model/arch.h"

static vd_status read_llama(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    return vd_hparams_f32(gguf, "llama", "attention.scale", 1e-6f, 1e3f, &hp->attn_scale, err);
}

const vd_arch vd_arch_llama = {
    .name = "llama",
    .block = {.norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_MAYBE,
              .o_bias = VD_MAYBE,
              .ffn_bias = VD_MAYBE,
              .rotation = VD_ROTATION_ADJACENT,
              .rope_factors = VD_MAYBE,
              .experts = VD_MAYBE,
              .expert_sum = true},
    .read = read_llama,
};
