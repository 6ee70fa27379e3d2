/*
 * layered.h - the matrices of a model compressed by what they read: with a calibration text layer
 * by layer (walk.h), or with an importance file (imatrix.h), which knows mean squares and needs no
 * pass over a text. calibrated.h prunes.
 */
#ifndef VD_COMPRESS_LAYERED_H
#define VD_COMPRESS_LAYERED_H

#include "compress/calibrated.h"
#include "compress/imatrix.h"
#include "compress/resume.h"

typedef struct vd_layered vd_layered;

typedef struct vd_layered_options {
    vd_walk_options walk; /* as for vd_walk_open; gram is set here */
    const char *imatrix;  /* an importance file instead of walk.calib; NULL: none */
    bool gram;            /* vd_layered_prune will need X^T X */
    bool gptq;            /* vd_layered_round will be called */
    double drift;         /* vd_layered_prune corrects for it first, so much of the way; 0: no */
} vd_layered_options;

/* What a calibration had to do, of which nothing is seen in the new file. */
typedef struct vd_layered_report {
    double damping;       /* the most that was added to make an inverse, in means of a diagonal; 0
                             where none was made */
    size_t n_diagonal;    /* inverses that could not be made with any: columns were taken alone */
} vd_layered_report;

/* path: the model. pool borrowed. */
VD_NODISCARD vd_status vd_layered_open(const char *path, const vd_layered_options *options,
                                       vd_pool *pool, vd_layered **ret_layered, vd_err *err);
void vd_layered_free(vd_layered *layered);

/* Whether the model is computed: then its layers must be entered, and what becomes of them kept. */
bool vd_layered_walks(const vd_layered *layered);
/* Those that it reads; NULL and 0 with an importance file. */
const int32_t *vd_layered_tokens(const vd_layered *layered, size_t *ret_n);
size_t vd_layered_n_tokens(const vd_layered *layered); /* 0 with an importance file */
/* The matrices of this layer follow, in any order; layers come in order, from 0. Nothing to do with
 * an importance file. */
VD_NODISCARD vd_status vd_layered_enter(vd_layered *layered, size_t layer, vd_err *err);
/* As above for a model of which nothing changes: then vd_layered_keep must not be called. */
VD_NODISCARD vd_status vd_layered_visit(vd_layered *layered, size_t layer, vd_err *err);
/* Layers before this one are over; its own matrices need not be entered yet. */
VD_NODISCARD vd_status vd_layered_advance(vd_layered *layered, size_t layer, vd_err *err);
/* What an interrupted run needs to go on before `state->layer`, which the model has advanced to;
 * and going on so. */
VD_NODISCARD vd_status vd_layered_save(vd_layered *layered, vd_resume *resume,
                                       const vd_resume_state *state, vd_err *err);
VD_NODISCARD vd_status vd_layered_restore(vd_layered *layered, vd_resume *resume, size_t layer,
                                          vd_err *err);
/* Mean squares of what the matrix reads, [n_experts, n_cols] (vd_free); NULL where nothing is
 * known. 1 throughout an expert that no token chose. VD_ERR_NOMEM; VD_ERR_FORMAT where the
 * importance file is of another model. */
VD_NODISCARD vd_status vd_layered_importance(vd_layered *layered, vd_str name, size_t n_experts,
                                             size_t n_cols, float **ret_importance, vd_err *err);
/* The same as an entry of a file to be written; none where nothing is known. */
VD_NODISCARD vd_status vd_layered_tell(vd_layered *layered, vd_str name, size_t n_experts,
                                       size_t n_cols, vd_imatrix *imatrix, vd_err *err);
/* values[n_experts, n_rows, n_cols] of the matrix `name`, corrected, and pruned where `prune` goes
 * by what it reads, in place. One that no product reads is then pruned by magnitude alone. */
VD_NODISCARD vd_status vd_layered_prune(vd_layered *layered, const vd_prune *prune, vd_str name,
                                        float *values, size_t n_experts, size_t n_rows,
                                        size_t n_cols, vd_err *err);
/* Whether GPTQ can round the matrix to the type: there is a grid (grid.h), and X^T X is known, not
 * so of experts. */
bool vd_layered_rounds(vd_layered *layered, vd_str name, uint32_t to, size_t n_experts,
                       size_t n_cols);
/* GPTQ of some rows of it, or all, [n_rows, row_bytes] of type `to`, which the encoder has made:
 * better codes; values become what GPTQ makes of them. keep_zeros: what is zero stays so.
 * scale[n_cols]: the matrix's new inputs are divided by it, NULL: they are not. Nothing where it
 * cannot be. */
VD_NODISCARD vd_status vd_layered_round(vd_layered *layered, vd_str name, uint32_t to,
                                        bool keep_zeros, const float *scale, float *values,
                                        size_t n_experts, size_t n_rows, size_t n_cols,
                                        unsigned char *rows, size_t row_bytes, vd_err *err);
/* Rows of the new file, of a matrix that is in no layer: vd_walk_embeddings. */
void vd_layered_embeddings(vd_layered *layered, vd_str name, size_t first,
                           const unsigned char *rows, size_t n);
vd_layered_report vd_layered_report_of(const vd_layered *layered);
/* What has become of it; taken over (vd_free). */
VD_NODISCARD vd_status vd_layered_keep(vd_layered *layered, vd_str name, float *values,
                                       vd_err *err);

#endif
