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

/* The scale and shift of a norm, f32 in the model's arena. No weight: no norm stands here. */
typedef struct vd_norm {
    const float *weight, *bias;
} vd_norm;

/* y = W x + bias. */
typedef struct vd_dense {
    vd_weight weight;
    const float *bias; /* [N], in the model's arena, or NULL */
} vd_dense;

/* A feed-forward network. */
typedef struct vd_ffn {
    vd_dense gate, up; /* [F, C]; gate only where the block has one */
    vd_dense down;     /* [C, F] */
} vd_ffn;

/* One transformer block; block.h says which parts there are. */
typedef struct vd_layer {
    vd_norm attn_norm, ffn_norm;         /* [C], at the inputs */
    vd_norm attn_out_norm, ffn_out_norm; /* [C], at the outputs */
    vd_norm attn_sum_norm, ffn_sum_norm; /* [C], of the sums */
    vd_norm q_norm, k_norm;              /* [D], [H, D] and [Hkv, D], or [H*D] and [Hkv*D] */
    vd_dense q, k, v;                    /* [H*D, C], [Hkv*D, C] twice */
    vd_dense o;                          /* [C, H*D] */
    vd_ffn ffn;                          /* with experts: the one that all tokens share, if any */
    vd_dense router;                     /* [E, C] where there are experts */
    vd_ffn *expert;                      /* [E], or NULL */
    const float *shared_gate;            /* [C] where the shared expert has a gate */
    size_t n_head, n_kv_head;
    bool local;                          /* looks through the sliding window */
    bool rotated;                        /* queries and keys turn with their position */
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
    const float *positions;      /* [ctx_train, C], learned_positions */
    const float *token_type;     /* [C] of the first type, or NULL */
    vd_norm embed_norm;          /* [C], embed_norm */
    vd_norm output_norm;         /* [C]; none in an encoder */
    vd_dense output;             /* [V, C]; the embedding's rows where the file has no own; none
                                    in an encoder */
    vd_rope rope, rope_local;    /* of layers that see everything, and of the others */
    vd_rope rope_long;           /* LongRoPE: of layers that see everything, beyond the context
                                    that was trained first; else n_pairs is 0 */
    vd_layer *layer;             /* [n_layer] */
    size_t n_params, weight_bytes;
} vd_model;

/* `pool` packs weights with all its threads; not kept. VD_ERR_UNSUPPORTED names the architecture,
 * tensor or type that we lack; VD_ERR_FORMAT the tensor that is missing or of another shape. */
VD_NODISCARD vd_status vd_model_open(const char *path, vd_precision precision, vd_pool *pool,
                                     vd_model **ret_model, vd_err *err);
void vd_model_free(vd_model *model);

/* How many positions a sequence may have: SIZE_MAX where they are not learned. */
size_t vd_model_ctx_max(const vd_model *model);
/* What a token at a position is to the model, before the norm that some have, to x[C]. The token
 * lies in the vocabulary, the position below vd_model_ctx_max. */
void vd_model_embed(const vd_model *model, int32_t token, size_t pos, float *x);

#endif
