/*
 * search.h - the types of a model's tensors that harm its answers least for the bytes they take,
 * and where the file may hold matrices sparse, the share of each that is kept.
 *
 * What a type does to a tensor is the squared error of its values, weighted by how large what they
 * multiply is on a text (as an importance matrix does), times how much the model's answers mind:
 * for one or two types of each tensor the divergence is measured, with this tensor alone in that
 * type. Those costs make a knapsack (knapsack.h), its solutions the front of bytes against
 * divergence. The chosen point is measured whole, since harms do not add up exactly, and built.
 *
 * Papers: HAWQ-V2 (Dong et al. 2020) takes the error times a sensitivity too; ours is measured on
 * the model's output and not by curvature. EvoPress (Sieberling et al. 2025) searches by
 * whole-model divergence alone, which costs hours.
 */
#ifndef VD_COMPRESS_SEARCH_SEARCH_H
#define VD_COMPRESS_SEARCH_SEARCH_H

#include <stdbool.h>

#include "compress/calib.h"
#include "compress/search/target.h"
#include "compress/types.h"

enum { VD_SEARCH_KEEPS = 8 };

typedef struct vd_search_options {
    vd_target target;
    vd_calib_options calib;   /* path is needed */
    size_t n_measured;        /* chunks on which divergence is measured; 0: 2 */
    bool type[VD_DTYPE_LIMIT]; /* that may be used; none: all that encode, above 2 bits */
    /* Matrices of layers may also be Q8_0 of which a share is kept, in the sparse form of files
     * (compress/sparse_file.h), pruned by Wanda. */
    bool sparse;
    double keep[VD_SEARCH_KEEPS]; /* [n_keeps] those shares, each in (0, 1); n_keeps 0: the usual */
    size_t n_keeps;
    /* Instead of a text: costs are squared errors weighted by this file's squares, and nothing is
     * computed by the model. There is no divergence then, and no loss can be asked for. */
    const char *imatrix;
    /* With a text: the point that is found is rounded by GPTQ on it (gptq.h), `drift` as in
     * vd_compress_options, and measured again; where it diverges more then, or loses more than the
     * target allows, it is written without. */
    bool gptq;
    double drift;
    const char *save_imatrix; /* what the matrices read of the text goes there, too; NULL */
    size_t n_threads;
    /* As vd_compress_options.progress; false ends it, what was measured is kept. */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total, vd_str note);
    double (*joules)(void *ctx); /* since any moment; NULL: there is no meter */
    void *ctx;
} vd_search_options;

/* A point of the front. */
typedef struct vd_search_point {
    uint64_t file_bytes, tensor_bytes;
    double predicted;   /* nats, the sum of the tensors' own; without a text a squared error */
    double kl, loss;    /* of the whole; NaN where it was not measured */
    double tps, jpt;    /* NaN the same */
    size_t n_pruned;    /* tensors of which a share is kept */
} vd_search_point;

typedef struct vd_search_tensor_type {
    char *name; /* owned */
    vd_wanted wanted;
} vd_search_tensor_type;

typedef struct vd_search_result {
    uint64_t source_bytes, n_values;
    double source_ppl;
    size_t n_tokens, n_scored; /* of the text: read, and compared */
    bool by_error;             /* no text was there: squared errors instead of divergences */
    size_t n_resumed;          /* measurements that an interrupted search had left */
    bool began_anew;           /* one of another model, text or options had left some */
    vd_search_point *point;    /* [n_points] by falling bytes, the smallest last */
    size_t n_points;
    vd_search_point chosen;
    vd_search_tensor_type *type; /* [n_types] of the chosen point: what may change */
    size_t n_types;
    size_t n_rounded;            /* of those, whose codes are GPTQ's */
    bool gptq_harms;             /* it was left out: options->gptq says why */
    size_t n_requantized;        /* of those, that were quantized before and change */
} vd_search_result;

/* Finds the point and writes it to `target`, a file that appears whole or not at all. Meanwhile
 * what was measured is kept in `target`.search, which a later run with the same source, text and
 * options goes on from. VD_ERR_LIMIT where the target cannot be met: the message has the nearest
 * that can. */
VD_NODISCARD vd_status vd_search_run(const char *source, const char *target,
                                     const vd_search_options *options,
                                     vd_search_result *ret_result, vd_err *err);
void vd_search_result_done(vd_search_result *result);

#endif
