/* arch_smollm3.c - SmolLM3 (Bakouch et al. 2025): Llama, but no positions in every fourth layer. */
#include "model/arch.h"

static vd_status read_smollm3(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    hp->no_rope_period = 4;
    return vd_hparams_f32(gguf, "smollm3", "attention.scale", 1e-6f, 1e3f, &hp->attn_scale, err);
}

const vd_arch vd_arch_smollm3 = {
    .name = "smollm3",
    .block = {.norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_MAYBE,
              .rotation = VD_ROTATION_ADJACENT},
    .read = read_smollm3,
};
