/*
 * compress.h - a model file to a smaller one.
 *
 * Reads a GGUF file (or shards) tensor by tensor, writes one file. What needs no change is copied
 * byte for byte, metadata too but for general.file_type, general.quantization_version and split.*.
 * Memory does not grow with the model: rows go through buffers of a few megabytes per thread. (With
 * a calibration one layer is in memory, and what is known of its inputs.)
 * The new file appears whole or not at all.
 */
#ifndef VD_COMPRESS_COMPRESS_H
#define VD_COMPRESS_COMPRESS_H

#include "compress/calib.h"
#include "compress/edit.h"
#include "compress/filetype.h"
#include "compress/layered.h"
#include "compress/mix.h"

/* What became of a matrix whose values were edited. */
typedef struct vd_compress_edited {
    vd_str name;                    /* borrowed for the call */
    uint64_t n_values;
    uint64_t n_zeros_before, n_zeros_after; /* after: as the new file decodes */
    float clip;                     /* magnitudes were cut at it; infinity: none were */
} vd_compress_edited;

typedef struct vd_compress_options {
    const vd_filetype *type; /* NULL: every tensor keeps its own */
    vd_mix_options mix;
    vd_edit_options edit;    /* of the matrices of layers */
    /* A text by which edit.prune, where it is calibrated, and the encoders know what counts; or
     * instead an importance file, which is enough for VD_PRUNE_WANDA (NULL: none). */
    vd_calib_options calib;
    const char *imatrix;
    bool awq;                 /* columns scaled (awq.h); needs calib or imatrix */
    double awq_alpha;         /* below 0: searched for */
    bool gptq;                /* codes by GPTQ where there is X^T X and a grid; needs calib */
    bool keep_zeros;          /* by GPTQ also where `edit` makes none: the model comes pruned */
    double drift; /* of what a pruning or GPTQ by X^T X is made ready for, drift.h; 0..1 */
    const char *save_imatrix; /* what the matrices read of the text goes there; NULL: nowhere */
    size_t n_threads; /* 0: one per core */
    /* What is asked for, in words that are the same when it is asked for again: a run on a text
     * that was interrupted then goes on where it was (resume.h). NULL: nothing is kept. */
    const char *work;
    double keep_every_s; /* of work that may be lost; 0: behind every layer */
    int *ret_fd; /* NULL: the file appears at `target`. Else nothing does: it is open to read */
    /* Called between pieces of work by the thread that called vd_compress_run (NULL: never);
     * done and total are bytes of the source, or with a calibration its steps. False ends it with
     * VD_ERR_CANCELLED. */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total, vd_str tensor);
    /* Called once for each matrix that was edited, in file order, by the same thread (NULL). */
    void (*edited)(void *ctx, const vd_compress_edited *tensor);
    void *ctx;
} vd_compress_options;

typedef struct vd_compress_count {
    size_t n_tensors;
    uint64_t n_bytes;
} vd_compress_count;

typedef struct vd_compress_result {
    vd_compress_count before[VD_DTYPE_LIMIT], after[VD_DTYPE_LIMIT]; /* by tensor type */
    uint64_t file_bytes_before, file_bytes_after;
    uint64_t n_values;   /* of all tensors */
    size_t n_fell_back;  /* tensors whose rows do not suit the type they should have had */
    size_t n_requantized; /* tensors that were quantized before: their errors add up */
    size_t n_calib_tokens; /* of the calibration text */
    size_t n_weighted;     /* tensors that were encoded by what they read */
    size_t n_rounded;      /* of those, whose codes are GPTQ's */
    vd_layered_report calibration;
    uint64_t n_edited, n_zeros_before, n_zeros_after; /* values of edited matrices, zeros there */
    size_t n_sparse; /* matrices in the sparse form */
    size_t n_resumed; /* layers that an interrupted run had done */
    size_t n_threads;
} vd_compress_result;

/* Without a target only options->save_imatrix is written: what the matrices of the model as it is
 * read of the text. Then calib, n_threads and progress are read, nothing else.
 * VD_ERR_ARG where `target` is the source itself, a type does not suit, or a matrix that is to be
 * edited has and keeps a type that cannot be written; VD_ERR_FORMAT for a
 * malformed source or values that are not finite or too large, with the tensor's name; VD_ERR_IO,
 * VD_ERR_NOMEM, VD_ERR_CANCELLED. */
VD_NODISCARD vd_status vd_compress_run(const char *source, const char *target,
                                       const vd_compress_options *options,
                                       vd_compress_result *ret_result, vd_err *err);

#endif
