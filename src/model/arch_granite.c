/*
 * arch_granite.c - Granite 3 (IBM 2024), dense: Llama with a scale at the embeddings, at
 * attention, at what each block adds, and at the logits, which are divided by it.
 */
#include "model/arch.h"

static vd_status read_granite(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    float divisor = 1;
    bool rotated = true;
    const struct {
        const char *suffix;
        float *to;
    } scales[] = {{"embedding_scale", &hp->embed_scale},
                  {"residual_scale", &hp->resid_scale},
                  {"attention.scale", &hp->attn_scale},
                  {"logit_scale", &divisor}};
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < sizeof(scales) / sizeof(scales[0]); i++)
        st = vd_hparams_f32(gguf, "granite", scales[i].suffix, 1e-6f, 1e6f, scales[i].to, err);
    if (st == VD_OK) /* what llama.cpp takes as "has positions at all" */
        st = vd_hparams_bool(gguf, "granite", "rope.scaling.finetuned", &rotated, err);
    hp->logit_scale = 1 / divisor;
    if (!rotated)
        hp->block.rotation = VD_ROTATION_NONE;
    return st;
}

const vd_arch vd_arch_granite = {
    .name = "granite",
    .block = {.norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_MAYBE,
              .o_bias = VD_MAYBE,
              .ffn_bias = VD_MAYBE,
              .rotation = VD_ROTATION_ADJACENT,
              .rope_factors = VD_MAYBE},
    .read = read_granite,
};
