/* arch_qwen2.c - Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on q, k and v. */
#include "model/arch.h"

const vd_arch vd_arch_qwen2 = {
    .name = "qwen2",
    .block = {.norm_at = VD_NORM_INPUT,
              .qkv_bias = VD_ALWAYS,
              .rotation = VD_ROTATION_HALVES},
};
