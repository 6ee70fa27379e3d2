/* walk_internal.h - what walk.c and walk_layer.c share. */
#ifndef VD_COMPRESS_WALK_INTERNAL_H
#define VD_COMPRESS_WALK_INTERNAL_H

#include "compress/walk.h"
#include "model/forward.h"

/* What the matrices of a layer read. Those of an expert follow: two each. */
enum { SLOT_QKV, SLOT_O, SLOT_FFN, SLOT_DOWN, SLOT_EXPERTS };

/* Values that a matrix of the layer has now. */
typedef struct changed {
    const vd_gguf_tensor *tensor;
    float *values;
    struct changed *next;
} changed;

struct vd_walk {
    vd_walk_options options;
    vd_pool *pool;
    const vd_linalg *linalg;
    vd_model *model;
    vd_calib calib;
    vd_kv *kv;
    vd_kv_seq seq;
    vd_forward *forward;
    const vd_kv_seq **seqs;  /* [ctx] */
    uint32_t *pos;           /* [ctx] */
    float *x;                /* [n_chunks, ctx, C], mapped */
    size_t x_bytes;
    float *whole;            /* the same in the model as it was; NULL: not asked for. Mapped too */
    size_t whole_layer;      /* that it is before */
    size_t layer;
    bool passed;             /* x is behind the layer already */
    vd_moments *slot;        /* [n_slots] */
    size_t n_slots;
    struct {                 /* inputs of the chunk, until the pass over it is done */
        float *x;            /* [ctx, width] */
        float *whole;        /* of the model as it was, or NULL */
        size_t n, n_whole;
    } kept[SLOT_EXPERTS];
    float *gram;             /* [width, width] of one of them */
    size_t gram_width;
    changed *changes;
    vd_layer now;            /* the layer with those */
    vd_ffn *experts;         /* [E] of it, or NULL */
    vd_gguf_tensor embed;    /* the embeddings as they will be; rows of the text's tokens */
    unsigned char *embed_rows; /* NULL: they stay as they are */
    bool *in_text;           /* [V] tokens, with embed_rows */
    bool embedded;           /* x has begun */
    vd_moments head;         /* of what the output matrix reads; square NULL: nobody asks */
};

/* What the output matrix reads, where that is wanted, and room for new embeddings; where they stay
 * as they are, the stream begins. */
VD_NODISCARD vd_status vd_walk_begin(vd_walk *walk, vd_err *err);
/* The stream begins with the embeddings as they are now. Once. */
void vd_walk_begin_stream(vd_walk *walk);
/* Whether the product reads rows of the tensor `name`. */
bool vd_walk_reads(const vd_walk *walk, vd_str name, const vd_dense *dense);
/* All moments of the layer that is computed now, empty. */
VD_NODISCARD vd_status vd_walk_prepare_moments(vd_walk *walk, vd_err *err);
/* Adds what a product reads to the moments: a vd_input_fn, ctx the walk. */
void vd_walk_on_input(void *ctx, const vd_dense *dense, const float *x, size_t n, size_t width,
                      size_t ld_x);
/* Keeps what it reads in the model as it was: the same. */
void vd_walk_on_whole_input(void *ctx, const vd_dense *dense, const float *x, size_t n,
                            size_t width, size_t ld_x);
/* Adds X^T X of x[n, m->n], by way of scratch [m->n, m->n]. */
void vd_walk_add_gram(const vd_walk *walk, const vd_moments *m, const float *x, size_t n,
                      float *scratch);
/* X^T X of the inputs of a chunk; after its pass, so that BLAS has the processor for itself. */
void vd_walk_add_grams(vd_walk *walk);
/* The changed values of a layer that is over. */
void vd_walk_drop_changes(vd_walk *walk);

#endif
