/*
 * stage.h - structured cuts, then the rest of a compression or a search, in one go.
 *
 * Each cut writes a model; the next stage reads it. So does a recovery by training (recover.h).
 * What lies between is a file that has lost its name before anybody reads it, beside the target:
 * nothing of it remains, however the run ends. (A program that trains reads and writes by names,
 * on a desk that remains where this process is killed, until the next run beside it: desk.h.)
 */
#ifndef VD_COMPRESS_STRUCTURED_STAGE_H
#define VD_COMPRESS_STRUCTURED_STAGE_H

#include "compress/recover.h"
#include "compress/sparse_file.h"
#include "compress/structured/structured.h"

enum { VD_STAGE_CUTS_MAX = 8 };

typedef struct vd_stage_options {
    vd_structured cut[VD_STAGE_CUTS_MAX];
    size_t n_cuts; /* 0: the rest alone */
    bool sparse;   /* by vd_compress_run_sparse */
    vd_unit_score score;
    bool score_said; /* it is not the default */
    size_t multiple;
    bool uniform;
    vd_recover recover; /* of what was cut and pruned, before it is quantized; {0}: nothing is */
} vd_stage_options;

typedef struct vd_stage_result {
    vd_compress_result compress; /* before: of the source */
    vd_structured_result cut[VD_STAGE_CUTS_MAX];
} vd_stage_result;

/* rest: what follows, also calibration text, threads and progress of the cuts. Statuses as of
 * vd_structured_run and vd_compress_run. */
VD_NODISCARD vd_status vd_stage_run(const char *source, const char *target,
                                    const vd_stage_options *options,
                                    const vd_compress_options *rest, vd_stage_result *ret_result,
                                    vd_err *err);

/* The cuts alone, of which there is at least one, and then `then` with what they leave: a model
 * that is gone when it returns. Of `rest` nothing else is done. ret_result: `cut`, and what the
 * source holds. */
typedef vd_status (*vd_stage_then_fn)(void *ctx, const char *model, vd_err *err);
VD_NODISCARD vd_status vd_stage_cut(const char *source, const char *target,
                                    const vd_stage_options *options,
                                    const vd_compress_options *rest, vd_stage_then_fn then,
                                    void *ctx, vd_stage_result *ret_result, vd_err *err);

#endif
