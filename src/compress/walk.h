/*
 * walk.h - a model computed one layer at a time over a calibration text, so that each layer is
 * compressed for what the compressed layers before it give out (as the programs of SparseGPT, GPTQ
 * and Wanda do), and no more of the model than one layer is in memory in full.
 *
 *   vd_walk_open                                   what the output matrix reads
 *   vd_walk_embeddings                             their new rows
 *   for each layer:
 *     vd_walk_gather                               what its products read, of all tokens
 *     vd_walk_moments(tensor) ... vd_walk_replace  each of its matrices, in any order
 *     vd_walk_next                                 all tokens through the layer as it is now
 *
 * The residual stream of all tokens lies in an unlinked file that is mapped: memory only while it
 * is needed. Products are exact (f32). Single-owner.
 */
#ifndef VD_COMPRESS_WALK_H
#define VD_COMPRESS_WALK_H

#include "base/pool.h"
#include "compress/calib.h"
#include "compress/linalg.h"

typedef struct vd_walk vd_walk;

/* Of the inputs x[t, n] of a product: what of X^T X is known. */
typedef struct vd_moments {
    size_t n;
    uint64_t n_tokens;
    double *square; /* [n] its diagonal */
    double *gram;   /* [n, n] its lower triangle; NULL where only squares were asked for, and for
                       experts, which are many */
    double *cross;  /* [n, n] X'^T X, where X' is what the product reads in the model as it was;
                       NULL where it was not asked for, or there is no gram */
} vd_moments;

/* 1 where no token was seen. In f32, so that a file of them says the same. */
float vd_moments_mean(const vd_moments *moments, size_t i);

#define VD_WALK_HEAD SIZE_MAX

typedef struct vd_walk_options {
    vd_calib_options calib;
    bool gram;           /* also X^T X, by `linalg` */
    bool cross;          /* with gram: the model as it was is computed too, beside */
    const char *folder;  /* where the unlinked file goes; read by vd_walk_open */
    uint32_t embed_dtype; /* the type that the embeddings will have: where it is another than they
                             have, vd_walk_embeddings has the rows */
    bool head;            /* vd_walk_open also finds what the output matrix reads, in the model as
                             it was, on the first tokens of the text */
    bool head_gram;       /* and X^T X of that, by `linalg` */
    /* As vd_compress_options.progress: called between chunks; false ends it. layer is VD_WALK_HEAD
     * while what the output matrix reads is found. */
    bool (*progress)(void *ctx, size_t layer, size_t done, size_t total);
    void *ctx;
    /* What n tokens [n, C] were before a layer and behind it, when vd_walk_next has them pass: a
     * chunk at a time. NULL: nobody asks. */
    void (*passed)(void *ctx, size_t layer, const float *in, const float *out, size_t n);
    void *passed_ctx;
} vd_walk_options;

/* path: the model. pool and linalg (NULL without `gram`) are borrowed. */
VD_NODISCARD vd_status vd_walk_open(const char *path, const vd_walk_options *options,
                                    vd_pool *pool, const vd_linalg *linalg, vd_walk **ret_walk,
                                    vd_err *err);
void vd_walk_free(vd_walk *walk);

/* The residual stream of all tokens before the layer that is computed now, [tokens, C]. */
float *vd_walk_stream(vd_walk *walk, size_t *ret_bytes);
/* The stream has been set to that of another walk, before `layer`. VD_ERR_FORMAT where the model
 * has no such layer. */
VD_NODISCARD vd_status vd_walk_go_on(vd_walk *walk, size_t layer, vd_err *err);
size_t vd_walk_layer(const vd_walk *walk); /* the one that is computed now */
const int32_t *vd_walk_tokens(const vd_walk *walk); /* [vd_walk_n_tokens] */
size_t vd_walk_n_tokens(const vd_walk *walk);

/* VD_ERR_CANCELLED, VD_ERR_NOMEM; VD_ERR_FORMAT where the model computes nonsense. */
VD_NODISCARD vd_status vd_walk_gather(vd_walk *walk, vd_err *err);
/* The same for a layer that stays as it is: one pass instead of two. Then no vd_walk_replace, and
 * vd_walk_next computes nothing. */
VD_NODISCARD vd_status vd_walk_through(vd_walk *walk, vd_err *err);
/* What the matrix `name` of this layer reads; with experts, expert `e` of it. NULL where no product
 * reads it. Valid until the next gathering. */
vd_moments *vd_walk_moments(vd_walk *walk, vd_str name, size_t e);
/* The same of the output matrix, if `name` is that and it was asked for, at any time; no cross. */
vd_moments *vd_walk_head(vd_walk *walk, vd_str name);
/* Rows first to first + n of the matrix `name`, as the new file has them: kept where they are the
 * text's tokens' embeddings. All of them before layer 0 is gathered. */
void vd_walk_embeddings(vd_walk *walk, vd_str name, size_t first, const unsigned char *rows,
                        size_t n);
/* From now on the matrix has these values [n_rows, n_cols]; taken over (vd_free), also on
 * failure. */
VD_NODISCARD vd_status vd_walk_replace(vd_walk *walk, vd_str name, float *values, vd_err *err);
VD_NODISCARD vd_status vd_walk_next(vd_walk *walk, vd_err *err);

#endif
