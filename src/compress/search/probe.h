/*
 * probe.h - a model in memory whose matrices can be had in other types, and what that does to its
 * answers on a text.
 *
 * The text is computed once as the model is: the residual stream before each layer is kept, so
 * that a change in one layer is computed from there on, and what the model says at the scored
 * positions (the second half of each chunk, as perplexity is counted) is what answers are compared
 * with. Products are exact (f32 activations): what the machine's fast ones round would hide what
 * one matrix does.
 *
 * Single-owner. Memory: the stream, [n_layer + 1, tokens, C] f32, and a row of the vocabulary for
 * each scored position, of the chunks that are measured.
 */
#ifndef VD_COMPRESS_SEARCH_PROBE_H
#define VD_COMPRESS_SEARCH_PROBE_H

#include "base/pool.h"
#include "compress/calib.h"
#include "kernels/dtype.h"

typedef struct vd_probe vd_probe;

typedef struct vd_probe_options {
    vd_calib_options calib;
    size_t n_measured; /* chunks of it, from all its parts, on which answers are compared */
    /* Called between chunks; false ends it with VD_ERR_CANCELLED. NULL: never. */
    bool (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
} vd_probe_options;

typedef struct vd_probe_result {
    double kl;       /* nats, mean over the scored positions, D(source || changed) */
    double loss;     /* the perplexity's ratio to the source's, less 1 */
    size_t n_scored;
} vd_probe_result;

/* pool is borrowed. VD_ERR_UNSUPPORTED for an encoder, VD_ERR_ARG for a text too short. */
VD_NODISCARD vd_status vd_probe_open(const char *path, const vd_probe_options *options,
                                     vd_pool *pool, vd_probe **ret_probe, vd_err *err);
void vd_probe_free(vd_probe *probe); /* NULL is a no-op */

const vd_gguf *vd_probe_gguf(const vd_probe *probe);
/* [n_tokens] of the whole text, borrowed. */
const int32_t *vd_probe_tokens(const vd_probe *probe, size_t *ret_n);
size_t vd_probe_n_scored(const vd_probe *probe);
double vd_probe_ppl(const vd_probe *probe); /* of the source, at the scored positions */

/* Mean squares of what the matrix reads, [experts, dim[0]], borrowed; NULL where no product reads
 * it. A matrix that is the embedding and the output reads as the output. */
const float *vd_probe_squares(const vd_probe *probe, const vd_gguf_tensor *tensor);
/* All of them as an importance file. */
VD_NODISCARD vd_status vd_probe_save_squares(const vd_probe *probe, const char *path, vd_err *err);
/* The first layer that the matrix changes: 0 for embeddings, n_layer for the output. */
size_t vd_probe_layer(const vd_probe *probe, const vd_gguf_tensor *tensor);

/* From now on the matrix has these rows; taken over (vd_free), also on failure. NULL: its own. */
VD_NODISCARD vd_status vd_probe_put(vd_probe *probe, const vd_gguf_tensor *tensor, vd_dtype dtype,
                                    unsigned char *rows, vd_err *err);
/* All layers before `first` are as in the source. VD_ERR_FORMAT where no numbers come out. */
VD_NODISCARD vd_status vd_probe_measure(vd_probe *probe, size_t first, vd_probe_result *ret,
                                        vd_err *err);

#endif
