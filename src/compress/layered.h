/*
 * layered.h - the matrices of a model compressed layer by layer on a calibration text: walk.h gives
 * what they read, calibrated.h prunes.
 */
#ifndef VD_COMPRESS_LAYERED_H
#define VD_COMPRESS_LAYERED_H

#include "compress/calibrated.h"

typedef struct vd_layered vd_layered;

/* path: the model; prune: by a method that is calibrated. `options` as for vd_walk_open; its gram
 * is set here. pool borrowed. */
VD_NODISCARD vd_status vd_layered_open(const char *path, const vd_walk_options *options,
                                       const vd_prune *prune, vd_pool *pool,
                                       vd_layered **ret_layered, vd_err *err);
void vd_layered_free(vd_layered *layered);

size_t vd_layered_n_tokens(const vd_layered *layered);
/* The matrices of this layer follow, in any order; layers come in order, from 0. */
VD_NODISCARD vd_status vd_layered_enter(vd_layered *layered, size_t layer, vd_err *err);
/* values[n_experts, n_rows, n_cols] of the matrix `name`, pruned in place. One that no product
 * reads is pruned by magnitude alone. */
VD_NODISCARD vd_status vd_layered_prune(vd_layered *layered, vd_str name, float *values,
                                        size_t n_experts, size_t n_rows, size_t n_cols,
                                        vd_err *err);
/* What has become of it; taken over (vd_free). */
VD_NODISCARD vd_status vd_layered_keep(vd_layered *layered, vd_str name, float *values,
                                       vd_err *err);

#endif
