/* arch_qwen3.c - Qwen3 (Yang et al. 2025), dense: Llama with RMS norms on the heads of q and k. */
#include "model/arch.h"

const vd_arch vd_arch_qwen3 = {
    .name = "qwen3",
    .block = {.norm_at = VD_NORM_INPUT,
              .qk_norm = VD_QK_NORM_HEAD,
              .rotation = VD_ROTATION_HALVES},
};
