/*
 * arch_olmoe.c - OLMoE (Muennighoff et al. 2024): Llama with a norm over all heads of the queries
 * and one of the keys, and experts.
 */
#include "model/arch.h"

const vd_arch vd_arch_olmoe = {
    .name = "olmoe",
    .block = {.norm_at = VD_NORM_INPUT,
              .qk_norm = VD_QK_NORM_WIDTH,
              .rotation = VD_ROTATION_HALVES,
              .experts = VD_ALWAYS},
};
