/*
 * arch_nomic_bert.c - Nomic Embed (Nussbaum et al. 2024): BERT with rotary positions and a SiLU
 * gate.
 */
#include "model/arch.h"

const vd_arch vd_arch_nomic_bert = {
    .name = "nomic-bert",
    .block = {.norm = VD_NORM_LAYER,
              .norm_bias = true,
              .norm_at = VD_NORM_SUM,
              .qkv_bias = VD_MAYBE,
              .o_bias = VD_MAYBE,
              .rotation = VD_ROTATION_HALVES,
              .token_types = true,
              .embed_norm = true,
              .encoder = true},
};
