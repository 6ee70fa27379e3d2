/* arch_qwen3moe.c - Qwen3-MoE (Yang et al. 2025): Qwen3 with experts. */
#include "model/arch.h"

const vd_arch vd_arch_qwen3moe = {
    .name = "qwen3moe",
    .block = {.norm_at = VD_NORM_INPUT,
              .qk_norm = VD_QK_NORM_HEAD,
              .rotation = VD_ROTATION_HALVES,
              .experts = VD_ALWAYS,
              .expert_sum = true},
};
