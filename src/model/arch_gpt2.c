/*
 * arch_gpt2.c - GPT-2 (Radford et al. 2019): layer norms, biases everywhere, learned positions,
 * GELU without a gate.
 */
#include "model/arch.h"

const vd_arch vd_arch_gpt2 = {
    .name = "gpt2",
    .block = {.norm = VD_NORM_LAYER,
              .norm_bias = true,
              .norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_ALWAYS,
              .o_bias = VD_ALWAYS,
              .ffn_bias = VD_ALWAYS,
              .learned_positions = true,
              .ffn = VD_FFN_GELU},
};
