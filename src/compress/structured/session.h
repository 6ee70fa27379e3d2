/* session.h - what the cuts share while one of them is made. Owned by structured.c. */
#ifndef VD_COMPRESS_STRUCTURED_SESSION_H
#define VD_COMPRESS_STRUCTURED_SESSION_H

#include "compress/structured/options.h"
#include "compress/structured/shrink.h"
#include "compress/walk.h"

typedef struct vd_cut_session {
    const vd_structured *cut;
    const vd_structured_options *options;
    const char *source, *target;
    vd_cut_plan plan;
    vd_pool *pool;
    vd_linalg *linalg;
    vd_shrink *shrink;
    size_t n_calib_tokens;
    size_t pass, n_passes; /* over the text, for the progress */
} vd_cut_session;

/* What is wanted of a walk. */
typedef struct vd_session_ear {
    bool gram;
    /* As vd_walk_options.passed, with its ctx. */
    void (*passed)(void *ctx, size_t layer, const float *in, const float *out, size_t n);
    void *passed_ctx;
    bool cross; /* also the model as it was, beside */
} vd_session_ear;

/* A walk over the source. */
VD_NODISCARD vd_status vd_session_walk(vd_cut_session *session, vd_session_ear ear,
                                       vd_walk **ret_walk, vd_err *err);
/* The values of a matrix in double precision, [n_rows, n_cols]; freed by the caller. */
VD_NODISCARD vd_status vd_session_values(const vd_gguf_tensor *tensor, double **ret_values,
                                         vd_err *err);

#endif
