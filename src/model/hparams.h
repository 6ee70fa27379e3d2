/*
 * hparams.h - the numbers that say what a transformer looks like, read from GGUF metadata.
 *
 * Letters as in docs/shapes.md: V vocabulary, C embedding width, H query heads, Hkv key/value
 * heads, D head dimension, F feed-forward width. Plain data; immutable once read.
 */
#ifndef VD_MODEL_HPARAMS_H
#define VD_MODEL_HPARAMS_H

#include <stdbool.h>

#include "model/block.h"
#include "model/gguf.h"

typedef enum vd_rope_scaling {
    VD_ROPE_SCALING_NONE,
    VD_ROPE_SCALING_LINEAR, /* positions divided by a factor (Chen et al. 2023) */
    VD_ROPE_SCALING_YARN,   /* Peng et al. 2023 */
    VD_ROPE_SCALING_LONG    /* LongRoPE (Ding et al. 2024): factors from the file, two sets */
} vd_rope_scaling;

enum { VD_HPARAMS_LAYERS_MAX = 1024 };

/* Rotary position embedding (Su et al. 2021) of one kind of layer. */
typedef struct vd_rope_params {
    size_t n_rot;      /* values rotated per head, even, at most D */
    float base;
    vd_rope_scaling scaling;
    float factor;      /* the context grew by this; 1 for NONE */
    float attn_factor; /* multiplies the rotated vectors */
    size_t ctx_original;
} vd_rope_params;

/* A mixture of experts (Shazeer et al. 2017). */
typedef struct vd_moe_params {
    size_t n_experts; /* 0: none */
    size_t n_used;    /* per token, the most probable ones */
    size_t n_ff;      /* width of one */
    size_t n_ff_shared;
} vd_moe_params;

typedef struct vd_hparams {
    vd_block block;
    size_t n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_vocab, ctx_train; /* heads and
                            neurons: the most of any layer */
    struct vd_layer_sizes {
        uint32_t n_head, n_kv_head, n_ff;
    } sizes[VD_HPARAMS_LAYERS_MAX]; /* [n_layer] of each; all alike but in block.uneven */
    vd_moe_params moe;
    float norm_eps;
    float embed_scale;   /* embeddings are multiplied by it */
    float resid_scale;   /* what attention and feed-forward add is multiplied by it */
    float attn_scale;    /* logits of attention are multiplied by it */
    float attn_softcap;  /* logits of attention become cap * tanh(logits / cap); 0: off */
    float logit_scale;   /* logits are multiplied by it */
    float logit_softcap; /* logits become cap * tanh(logits / cap); 0: off */
    vd_rope_params rope;       /* of global layers */
    vd_rope_params rope_local; /* of layers with a sliding window */
    size_t no_rope_period; /* every n-th layer is not rotated; 0: all are */
    size_t window; /* positions a local layer sees, itself included; 0 = none */
    bool local[VD_HPARAMS_LAYERS_MAX]; /* layers that look through the window */
} vd_hparams;

enum {
    VD_HPARAMS_HEADS_MAX = 1024,
    VD_HPARAMS_HEAD_DIM_MAX = 1024,
    VD_HPARAMS_WIDTH_MAX = 1 << 20,
    VD_HPARAMS_VOCAB_MAX = 1 << 24,
    VD_HPARAMS_EXPERTS_MAX = 1024
};

/* The keys that all architectures have, under "<arch>.", with checked ranges. Fields that an
 * architecture adds keep the defaults set here. VD_ERR_FORMAT names the key and what is right. */
VD_NODISCARD vd_status vd_hparams_read(const vd_gguf *gguf, const char *arch,
                                       const vd_block *block, vd_hparams *ret_hp, vd_err *err);

/* "<arch>.<suffix>" as an optional value: absent leaves *ret as it is; present and out of
 * [min, max], or of another type, is VD_ERR_FORMAT. */
VD_NODISCARD vd_status vd_hparams_u32(const vd_gguf *gguf, const char *arch, const char *suffix,
                                      size_t min, size_t max, size_t *ret, vd_err *err);
VD_NODISCARD vd_status vd_hparams_f32(const vd_gguf *gguf, const char *arch, const char *suffix,
                                      float min, float max, float *ret, vd_err *err);

VD_NODISCARD vd_status vd_hparams_bool(const vd_gguf *gguf, const char *arch, const char *suffix,
                                       bool *ret, vd_err *err);
/* False where it is absent or no string; *ret then stays as it is. */
bool vd_hparams_str(const vd_gguf *gguf, const char *arch, const char *suffix, vd_str *ret);

/* rope and rope_local, the same; part of vd_hparams_read. */
VD_NODISCARD vd_status vd_hparams_read_rope(const vd_gguf *gguf, const char *arch, vd_hparams *hp,
                                            vd_err *err);
/* moe; part of vd_hparams_read. */
VD_NODISCARD vd_status vd_hparams_read_moe(const vd_gguf *gguf, const char *arch, vd_hparams *hp,
                                           vd_err *err);
/* window and local, for architectures that have windows: every period-th layer sees everything,
 * where the file says nothing else. hp->window may hold a default. */
VD_NODISCARD vd_status vd_hparams_read_windows(const vd_gguf *gguf, const char *arch,
                                               size_t period, vd_hparams *hp, vd_err *err);

#endif
