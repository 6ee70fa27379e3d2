/*
 * pass.h - the inside of a forward pass: what forward.c, attention.c and ffn.c share.
 *
 * A pass is one job of the thread pool. Every thread walks the same steps with a vd_worker of its
 * own and meets the others at barriers, each the same number of times. Products are split by
 * output rows: a thread computes its rows for all tokens of the batch and adds them to x itself,
 * so no barrier stands between a product and its residual. What is cheap per token (norms,
 * rounding to int8) is done by every thread for itself while the batch is small (PRIVATE_MAX
 * tokens): that costs less than meeting.
 */
#ifndef VD_MODEL_PASS_H
#define VD_MODEL_PASS_H

#include <stdatomic.h>

#include "model/crew.h"
#include "model/forward.h"

enum { VD_PASS_PRIVATE_MAX = 2 };

/* See vd_pass_width: of any sequences, and of one or few that get several tokens each. */
enum { VD_PASS_FEW_MAX = 3, VD_PASS_SHORT_MAX = 48 };

/* Scratch of one thread. */
typedef struct vd_thread_space {
    float *rows;    /* [PRIVATE_MAX, C] normalized input of a small batch */
    void *act;      /* vd_act of a small batch */
    float *scratch; /* for vd_linear; at least [max K] */
    float *attn;    /* [vd_attn_scratch] */
} vd_thread_space;

/* Which experts the tokens of a batch go to, in one layer. */
typedef struct vd_routes {
    float *logit;         /* [T, E] of the router, then probabilities */
    uint32_t *expert;     /* [T, K] chosen, the most probable first */
    float *weight;        /* [T, K] of those */
    float *shared_weight; /* [T] of the shared expert */
    uint32_t *first;      /* [E + 1] where the rows of each expert begin in the next two */
    uint32_t *row_token;  /* [T * K] rows by expert, then by token */
    float *row_weight;    /* [T * K] */
    float *sum;           /* [T, C] what the experts add up to */
} vd_routes;

/* Batches of up to 1, 2, 4, 8 and 16 tokens run on as many threads as they do best on; larger ones
 * on all. */
enum { VD_PASS_CREWS = 5 };

struct vd_forward {
    const vd_model *model;
    vd_kv *kv;
    vd_pool *pool;
    size_t max_tokens;
    const vd_rope *rope, *rope_local; /* of layers that see everything, and of the others */
    float *x;                     /* [T, C] the residual stream */
    float *h;                     /* [R, C] normalized; the memory of y */
    float *q, *attn;              /* [T, H*D] */
    float *k, *v;                 /* [T, Hkv*D] */
    float *gate, *up;             /* [R, F], R rows at once: T, or with experts also n_used; the
                                     memory of q to v */
    float *y;                     /* [R, C] outputs that are to be added to x */
    float *angles, *angles_local; /* [T, n_rot] */
    uint32_t *n_kv;               /* [T] positions that a token sees */
    void *act;                    /* shared vd_act of a large batch */
    vd_routes routes;
    vd_thread_space *space;       /* [n_threads] */
    vd_crew crew[VD_PASS_CREWS];
    atomic_size_t n_threads;      /* of batches of one token: what others may ask for */
    void *memory;                 /* all of the above but `space` */
};

/* One job: the batch and what its threads share. */
typedef struct vd_pass {
    vd_forward *f;
    const vd_batch *batch;
    bool one_each; /* every token is of another sequence: attention needs only its own K and V */
} vd_pass;

typedef struct vd_worker {
    const vd_pass *pass;
    vd_forward *f;
    const vd_model *m;
    const vd_kernels *kn;
    size_t n_tokens, thread, n_threads;
    vd_thread_space *space;
} vd_worker;

/* ---- product.c -------------------------------------------------------------------------------*/

/* One row of n values normalized as this model does it. out may be x. */
void vd_pass_norm_row(const vd_worker *w, const vd_norm *norm, const float *x, float *out,
                      size_t n);
/* Bits that activations are rounded to: 8, or 16 for the products where rounding costs the most,
 * which take twice the multiplications. Divergence of SmolLM2 (Q4_1) from exact products, mean KL
 * over 6 chunks of 512 tokens: 9.0e-4 with 16 bits for q, k, v, down and the logits; 1.4e-3 with 8
 * for down, a quarter of all products; 1.7e-3 for q, k, v and 1.6e-3 for the logits, which are few;
 * 2.9e-3 for all. So down takes 8 in large batches, but in experts, where nobody measured. */
typedef enum vd_width { VD_WIDTH_NARROW, VD_WIDTH_WIDE } vd_width;
/* Bits for the products that can do with 8: 16 where they cost little, because few tokens wait for
 * memory anyway, or a prompt is short. SmolLM2's KL from exact products is then below 1e-6 with
 * AVX-512 (2 chunks of 512 tokens). */
vd_width vd_pass_width(const vd_worker *w);
/* Rows x[n, width] made ready for products; with a norm, its form of them. Meets the others where n
 * is large. */
vd_act vd_pass_input(vd_worker *w, const float *x, size_t n, size_t width, const vd_norm *norm,
                     vd_width bits);
/* The same for products that each take some of the rows (vd_act_rows); of rows pick[0..n) of x, in
 * that order, or with NULL of the first n. */
vd_act vd_pass_input_parts(vd_worker *w, const float *x, const uint32_t *pick, size_t n,
                           size_t width, const vd_norm *norm, vd_width bits);
/* This thread's share of the rows of a weight with n rows. */
void vd_pass_rows(const vd_worker *w, size_t n, size_t *ret_begin, size_t *ret_end);
/* y[T, N] = W act + bias, this thread's rows of W. */
void vd_pass_product(vd_worker *w, const vd_dense *dense, const vd_act *act, float *y);
/* n products of one input as if their weights were one: each thread takes as many bytes of them.
 * Few rows of one of them need not leave threads idle. */
void vd_pass_products(vd_worker *w, const vd_dense *const *dense, float *const *y, size_t n,
                      const vd_act *act);
/* x += y[T, C], with what stands between: scale, norm, and the norm of the sum. y holds this
 * thread's columns. Ends with a barrier. */
void vd_pass_add(vd_worker *w, float *y, const vd_norm *out_norm, const vd_norm *sum_norm);

/* ---- attention.c -----------------------------------------------------------------------------*/

/* q, k and v of a layer are there; rotates them, fills the cache, leaves f->attn. Ends with a
 * barrier. */
void vd_pass_attention(vd_worker *w, size_t layer);

/* ---- ffn.c -----------------------------------------------------------------------------------*/

/* Rows of f->gate from first_row on = what the down product reads, this thread's columns. */
void vd_pass_ffn_hidden(vd_worker *w, const vd_ffn *ffn, const vd_act *act, size_t first_row);
/* x += down product of f->gate. Begins and ends with a barrier. */
void vd_pass_ffn_down(vd_worker *w, const vd_layer *layer);

/* ---- moe.c -----------------------------------------------------------------------------------*/

/* x += what the experts of a layer make of it. Ends with a barrier. */
void vd_pass_moe(vd_worker *w, const vd_layer *layer);

#endif
