/*
 * arch_command_r.c - Command R (Cohere 2024): attention and feed-forward in parallel behind one
 * layer norm without bias; logits times a scale. Command R+ also normalizes each head of queries
 * and keys, with weights of its own.
 */
#include "model/arch.h"

static vd_status read_command_r(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    if (vd_gguf_find_tensor(gguf, "blk.0.attn_q_norm.weight") != NULL)
        hp->block.qk_norm = VD_QK_NORM_HEADS;
    return vd_hparams_f32(gguf, "command-r", "logit_scale", 1e-6f, 1e6f, &hp->logit_scale, err);
}

const vd_arch vd_arch_command_r = {
    .name = "command-r",
    .block = {.norm = VD_NORM_LAYER,
              .norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_MAYBE,
              .rotation = VD_ROTATION_ADJACENT,
              .parallel = true},
    .read = read_command_r,
};
