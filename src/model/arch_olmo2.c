/*
 * arch_olmo2.c - OLMo 2 (OLMo Team 2024) and OLMo 3: norms at the outputs of attention and
 * feed-forward, none at their inputs, and one over all heads of the queries and one of the keys.
 *
 * OLMo 3 adds a sliding window to three layers of four, whose positions are never stretched.
 */
#include "model/arch.h"

static vd_status read_olmo2(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    hp->rope_local.scaling = VD_ROPE_SCALING_NONE;
    hp->rope_local.factor = hp->rope_local.attn_factor = 1;
    return vd_hparams_read_windows(gguf, "olmo2", 4, hp, err);
}

const vd_arch vd_arch_olmo2 = {
    .name = "olmo2",
    .block = {.norm_at = VD_NORM_OUTPUT,
              .qk_norm = VD_QK_NORM_WIDTH,
              .rotation = VD_ROTATION_HALVES},
    .read = read_olmo2,
};
