/*
 * block.h - what a transformer block is made of. An architecture says it once, in its own file; the
 * loader reads the tensors that follow from it (weights.c), the forward pass computes them.
 *
 * A block and the places of its norms:
 *
 *   x -INPUT-> attention -OUTPUT-> + x -SUM-> -INPUT-> feed-forward -OUTPUT-> + x -SUM->
 *
 * or, in parallel (Wang and Komatsuzaki 2021):
 *
 *   x -INPUT-> attention and feed-forward -> + x
 *
 * Plain data, immutable.
 */
#ifndef VD_MODEL_BLOCK_H
#define VD_MODEL_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

/* Of every norm of the model; its epsilon stands in the metadata under a name of its own. */
typedef enum vd_norm_kind {
    VD_NORM_RMS,  /* Zhang and Sennrich 2019 */
    VD_NORM_LAYER /* Ba, Kiros and Hinton 2016 */
} vd_norm_kind;

/* Where the norms stand, or-ed together. */
enum { VD_NORM_INPUT = 1, VD_NORM_OUTPUT = 2, VD_NORM_SUM = 4 };

/* Norms of queries and keys, before they are rotated. */
typedef enum vd_qk_norm {
    VD_QK_NORM_NONE,
    VD_QK_NORM_HEAD,  /* over D, all heads with the same weights */
    VD_QK_NORM_HEADS, /* over D, each head with its own */
    VD_QK_NORM_WIDTH  /* over all heads together */
} vd_qk_norm;

/* Which two values of a head a rotary embedding turns. */
typedef enum vd_rotation {
    VD_ROTATION_NONE,
    VD_ROTATION_ADJACENT, /* 2i and 2i + 1 */
    VD_ROTATION_HALVES    /* i and i + n_rot/2 ("NeoX") */
} vd_rotation;

typedef enum vd_ffn_kind {
    VD_FFN_SILU_GATE, /* down(silu(gate x) * up x) */
    VD_FFN_GELU_GATE, /* down(gelu(gate x) * up x) */
    VD_FFN_GELU       /* down(gelu(up x)) */
} vd_ffn_kind;

/* Whether a file of this architecture has such a tensor. */
typedef enum vd_need { VD_NEVER, VD_MAYBE, VD_ALWAYS } vd_need;

typedef struct vd_block {
    vd_norm_kind norm;
    bool norm_bias;   /* norms have a bias too, but those of queries and keys */
    unsigned norm_at; /* VD_NORM_INPUT | ... */
    vd_qk_norm qk_norm;
    vd_need qkv_bias, o_bias, ffn_bias;
    vd_rotation rotation;
    vd_need rope_factors; /* rope_freqs.weight, or LongRoPE's two: divisors of the frequencies */
    bool learned_positions; /* position_embd.weight, added to the embeddings */
    bool token_types;       /* so is the first row of token_types.weight, where there is one */
    bool embed_norm;        /* and their sum is normalized */
    bool encoder; /* every token sees the whole sequence; what leaves the last block is the result:
                     no output norm, no logits */
    bool parallel;
    vd_ffn_kind ffn;
    bool gate_in_up; /* ffn_up.weight holds the gate's rows, then its own */
    vd_need experts; /* many feed-forwards, of which a router chooses some for each token */
    bool expert_sum; /* the weights of the chosen ones are divided by their sum */
    bool uneven; /* layers may have different numbers of heads and neurons */
    bool shared_expert; /* one more that every token passes, times a sigmoid of its own */
} vd_block;

#endif
