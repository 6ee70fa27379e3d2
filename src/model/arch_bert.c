/*
 * arch_bert.c - BERT (Devlin et al. 2018) and the embedding models built on it: MiniLM, BGE, E5,
 * GTE.
 *
 * Norms of the sums behind attention and feed-forward, learned positions, token types (all tokens
 * are of the first), every token sees the whole sequence. GELU is the tanh form, as in the field's
 * reference engine, so that one file gives one result; the models were trained with the erf form,
 * of which it is at most 5e-4 off.
 */
#include "model/arch.h"

const vd_arch vd_arch_bert = {
    .name = "bert",
    .block = {.norm = VD_NORM_LAYER,
              .norm_bias = true,
              .norm_at = VD_NORM_SUM,
              .qkv_bias = VD_MAYBE,
              .o_bias = VD_MAYBE,
              .ffn_bias = VD_MAYBE,
              .learned_positions = true,
              .token_types = true,
              .embed_norm = true,
              .encoder = true,
              .ffn = VD_FFN_GELU},
};
