/*
 * arch_qwen2moe.c - Qwen1.5-MoE and Qwen2-MoE (Yang et al. 2024): Qwen2 with experts, and one more
 * that every token passes, times a sigmoid.
 */
#include "model/arch.h"

const vd_arch vd_arch_qwen2moe = {
    .name = "qwen2moe",
    .block = {.norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_MAYBE,
              .rotation = VD_ROTATION_HALVES,
              .experts = VD_ALWAYS,
              .shared_expert = true},
};
