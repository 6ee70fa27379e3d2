/*
 * arch_gemma3.c - Gemma 3 (Gemma Team 2025), text only.
 *
 * Differences from Llama: embeddings times sqrt(C); RMS norm on q and k; norms also behind
 * attention and feed-forward; GELU gate; five layers with a sliding window and their own RoPE base
 * for each layer that sees everything. GGUF stores the norm weights with their 1 already added.
 */
#include <math.h>

#include "model/arch.h"

enum { LAYERS_OF_27B = 62 };

static vd_status read_gemma3(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    vd_status st = vd_hparams_read_windows(gguf, "gemma3", 6, hp, err);
    hp->embed_scale = sqrtf((float)hp->n_embd);
    hp->rope_local.base = 10000;
    hp->rope_local.scaling = VD_ROPE_SCALING_NONE;
    hp->rope_local.factor = 1;
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, "gemma3", "rope.freq_base_swa", 1, 1e12f, &hp->rope_local.base,
                            err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, "gemma3", "final_logit_softcapping", 0, 1e6f, &hp->logit_softcap,
                            err);
    /* The largest model scales its queries by the width per head instead of the head dimension. */
    if (hp->n_layer == LAYERS_OF_27B)
        hp->attn_scale = 1.0f / sqrtf((float)(hp->n_embd / hp->n_head));
    return st;
}

const vd_arch vd_arch_gemma3 = {
    .name = "gemma3",
    .block = {.norm_at = VD_NORM_INPUT | VD_NORM_OUTPUT,
              .qk_norm = VD_QK_NORM_HEAD,
              .rotation = VD_ROTATION_HALVES,
              .ffn = VD_FFN_GELU_GATE},
    .read = read_gemma3,
};
