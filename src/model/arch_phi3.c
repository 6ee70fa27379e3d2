/*
 * arch_phi3.c - Phi-3 and Phi-4 (Abdin et al. 2024): Llama with q, k and v in one tensor, gate and
 * up in another, and LongRoPE where the context was made longer.
 *
 * attention.sliding_window may stand in the file, but the field's reference engine does not use it
 * (the converters wrote it for models that have none), and neither do we.
 */
#include "model/arch.h"

const vd_arch vd_arch_phi3 = {
    .name = "phi3",
    .block = {.norm_at = VD_NORM_INPUT,
              .rotation = VD_ROTATION_HALVES,
              .rope_factors = VD_MAYBE,
              .gate_in_up = true},
};
