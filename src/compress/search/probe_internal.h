/* probe_internal.h - what probe.c and probe_tensors.c share. */
#ifndef VD_COMPRESS_SEARCH_PROBE_INTERNAL_H
#define VD_COMPRESS_SEARCH_PROBE_INTERNAL_H

#include "compress/imatrix.h"
#include "compress/search/probe.h"
#include "model/forward.h"

/* A tensor of the file and what is known of it. */
typedef struct vd_probe_tensor {
    const vd_gguf_tensor *tensor;
    unsigned char *rows;  /* others in its place, or NULL */
    size_t layer;
    size_t n_products;    /* that read it */
    double *sum;          /* [experts, dim[0]] of squares, or NULL */
    uint64_t *n_tokens;   /* [experts] */
    float *mean;          /* [experts, dim[0]], as an encoder gets them */
} vd_probe_tensor;

/* A product and where its rows come from. */
typedef struct vd_probe_product {
    vd_dense *dense;
    vd_weight own; /* as the model was opened */
    size_t tensor, first_row, expert;
} vd_probe_product;

struct vd_probe {
    vd_probe_options options;
    vd_pool *pool;
    vd_model *model;
    vd_calib calib;
    vd_kv *kv;
    vd_kv_seq seq;
    vd_forward *forward;
    const vd_kv_seq **seqs;   /* [ctx] */
    uint32_t *pos;            /* [ctx], also the rows that are wanted */
    vd_probe_tensor *tensor;  /* [n_tensors] in the file's order */
    size_t n_tensors;
    vd_probe_product *product;
    size_t n_products;
    vd_imatrix *imatrix;      /* what all of them read */
    size_t embed;             /* the tensor of the embeddings */
    const vd_gguf_tensor *own_embed;
    size_t own_embed_row_bytes;
    vd_gguf_tensor new_embed;
    float *stream;            /* [n_layer + 1, n_measured, ctx, C] */
    float *hidden;            /* [ctx, C] */
    /* scored positions: */
    size_t n_scored, step;    /* in all, and whose logits are computed at once */
    float *logits;            /* [step, V] */
    float *base;              /* [n_scored, V] probabilities of the source */
    double *base_sum;         /* [n_scored] what they give: sum of p * (logit - log Z) */
    double base_nll;
};

/* The list of tensors and of products. */
VD_NODISCARD vd_status vd_probe_list(vd_probe *probe, vd_err *err);
void vd_probe_unlist(vd_probe *probe); /* the model is again as it was opened */
/* A vd_input_fn: adds the squares of what a product reads. */
void vd_probe_on_input(void *ctx, const vd_dense *dense, const float *x, size_t n, size_t width,
                       size_t ld_x);
/* Sums to means. */
VD_NODISCARD vd_status vd_probe_average(vd_probe *probe, vd_err *err);

#endif
