/*
 * arch_gemma2.c - Gemma 2 (Gemma Team 2024).
 *
 * Differences from Llama: embeddings times sqrt(C); norms also behind attention and feed-forward;
 * GELU gate; caps on the logits of attention and of the model; every other layer looks through a
 * sliding window. GGUF stores the norm weights with their 1 already added.
 */
#include <math.h>

#include "model/arch.h"

enum { LAYERS_OF_27B = 46, WINDOW = 4096 };

static vd_status read_gemma2(const vd_gguf *gguf, vd_hparams *hp, vd_err *err)
{
    hp->window = WINDOW;
    hp->embed_scale = sqrtf((float)hp->n_embd);
    hp->attn_softcap = 50;
    hp->logit_softcap = 30;
    vd_status st = vd_hparams_read_windows(gguf, "gemma2", 2, hp, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, "gemma2", "attn_logit_softcapping", 1e-3f, 1e6f,
                            &hp->attn_softcap, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, "gemma2", "final_logit_softcapping", 1e-3f, 1e6f,
                            &hp->logit_softcap, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, "gemma2", "rope.freq_base_swa", 1, 1e12f, &hp->rope_local.base,
                            err);
    /* The largest model scales its queries by the width per head instead of the head dimension. */
    if (hp->n_layer == LAYERS_OF_27B)
        hp->attn_scale = 1.0f / sqrtf((float)(hp->n_embd / hp->n_head));
    return st;
}

const vd_arch vd_arch_gemma2 = {
    .name = "gemma2",
    .block = {.norm_at = VD_NORM_INPUT | VD_NORM_OUTPUT,
              .rotation = VD_ROTATION_HALVES,
              .ffn = VD_FFN_GELU_GATE},
    .read = read_gemma2,
};
