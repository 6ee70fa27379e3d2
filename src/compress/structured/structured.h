/*
 * structured.h - parts of a model cut out, so that a smaller dense one is left that any engine
 * loads: neurons of feed-forwards, KV heads with their query heads, whole layers, channels of the
 * residual stream.
 *
 * What goes is chosen on a calibration text, layer by layer, each for what the cut ones before it
 * give out (walk.h); the matrix that read it is repaired (units.h).
 */
#ifndef VD_COMPRESS_STRUCTURED_STRUCTURED_H
#define VD_COMPRESS_STRUCTURED_STRUCTURED_H

#include "compress/structured/options.h"

typedef struct vd_structured_result {
    size_t n_before, n_after; /* units in the whole model; of width: channels */
    size_t n_calib_tokens;
    bool uneven;              /* layers have different sizes: the architecture is "deci" */
} vd_structured_result;

/* The model at `source` with less of it, at `target`, whole or not at all. VD_ERR_UNSUPPORTED
 * names what cannot be cut (experts, encoders, unknown tensors), VD_ERR_ARG a share that leaves
 * everything or nothing. */
VD_NODISCARD vd_status vd_structured_run(const char *source, const char *target,
                                         const vd_structured *cut,
                                         const vd_structured_options *options,
                                         vd_structured_result *ret_result, vd_err *err);

#endif
