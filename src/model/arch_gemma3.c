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

static vd_status read_gemma3(const vd_gguf *gguf, vd_hparams *ret_hp, vd_err *err)
{
    vd_hparams hp;
    vd_status st = vd_hparams_read(gguf, "gemma3", &hp, err);
    if (st != VD_OK)
        return st;
    st = vd_hparams_u32(gguf, "gemma3", "attention.sliding_window", 0, UINT32_MAX, &hp.window, err);
    if (st != VD_OK)
        return st;
    hp.window_pattern = 6;
    hp.embed_scale = sqrtf((float)hp.n_embd);
    hp.gelu = hp.qk_norm = hp.post_norms = true;
    hp.rope.neox = true;
    hp.rope_local = hp.rope;
    hp.rope_local.base = 10000;
    hp.rope_local.scaling = VD_ROPE_SCALING_NONE;
    hp.rope_local.factor = 1;
    st = vd_hparams_f32(gguf, "gemma3", "rope.freq_base_swa", 1, 1e12f, &hp.rope_local.base, err);
    if (st == VD_OK)
        st = vd_hparams_f32(gguf, "gemma3", "final_logit_softcapping", 0, 1e6f, &hp.logit_softcap,
                            err);
    if (st != VD_OK)
        return st;
    /* The largest model scales its queries by the width per head instead of the head dimension. */
    if (hp.n_layer == LAYERS_OF_27B)
        hp.attn_scale = 1.0f / sqrtf((float)(hp.n_embd / hp.n_head));
    *ret_hp = hp;
    return VD_OK;
}

const vd_arch vd_arch_gemma3 = {.name = "gemma3", .read = read_gemma3};
