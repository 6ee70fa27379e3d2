/*
 * model.h - a model ready to compute: its numbers, its weights prepared for one kernel table.
 *
 * Owns the GGUF mapping and all prepared weights. Immutable after open; read by many threads.
 */
#ifndef VD_MODEL_MODEL_H
#define VD_MODEL_MODEL_H

#include "base/arena.h"
#include "base/pool.h"
#include "kernels/kernels.h"
#include "model/arch.h"
#include "model/rope.h"

/* One transformer block. Vectors are f32 in the model's arena, NULL where the model has none. */
typedef struct vd_layer {
    const float *attn_norm, *ffn_norm;           /* [C] */
    const float *attn_post_norm, *ffn_post_norm; /* [C], post_norms */
    const float *q_norm, *k_norm;                /* [D], qk_norm */
    vd_weight q, k, v;                           /* [H*D, C], [Hkv*D, C] twice */
    vd_weight o;                                 /* [C, H*D] */
    vd_weight gate, up;                          /* [F, C] */
    vd_weight down;                              /* [C, F] */
    const vd_rope *rope;
    bool local; /* sliding window */
} vd_layer;

typedef struct vd_model {
    vd_gguf *gguf;
    const vd_arch *arch;
    vd_hparams hp;
    const vd_kernels *kernels;
    vd_precision precision;
    vd_arena arena;
    const vd_gguf_tensor *embed; /* [V, C], rows decoded as they are needed */
    size_t embed_row_bytes;
    const float *output_norm;    /* [C] */
    vd_weight output;            /* [V, C]; the embedding's rows where the file has no own */
    vd_rope rope, rope_local;
    vd_layer *layer;             /* [n_layer] */
    size_t n_params, weight_bytes;
} vd_model;

/* `pool` packs weights with all its threads; not kept. VD_ERR_UNSUPPORTED names the architecture,
 * tensor or type that we lack; VD_ERR_FORMAT the tensor that is missing or of another shape. */
VD_NODISCARD vd_status vd_model_open(const char *path, vd_precision precision, vd_pool *pool,
                                     vd_model **ret_model, vd_err *err);
void vd_model_free(vd_model *model);

/* Row `token` of the embedding, scaled, to x[C]. token must lie in the vocabulary. */
void vd_model_embed(const vd_model *model, int32_t token, float *x);

#endif
