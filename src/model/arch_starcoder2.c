/*
 * arch_starcoder2.c - StarCoder2 (Lozhkov et al. 2024): as GPT-2, with rotary positions and groups
 * of queries.
 */
#include "model/arch.h"

const vd_arch vd_arch_starcoder2 = {
    .name = "starcoder2",
    .block = {.norm = VD_NORM_LAYER,
              .norm_bias = true,
              .norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_MAYBE,
              .o_bias = VD_ALWAYS,
              .ffn_bias = VD_ALWAYS,
              .rotation = VD_ROTATION_HALVES,
              .ffn = VD_FFN_GELU},
};
