/*
 * pack.h - matrices of the file made ready for the kernels, by all threads of a pool.
 *
 * A task is a run of rows of one tensor, so that a tensor which holds several matrices one after
 * the other (queries, keys and values; the experts of a layer) gives as many weights.
 */
#ifndef VD_MODEL_PACK_H
#define VD_MODEL_PACK_H

#include "base/pool.h"
#include "kernels/kernels.h"
#include "model/gguf.h"

typedef struct vd_pack_task {
    vd_weight *weight; /* where it goes */
    const vd_gguf_tensor *tensor;
    size_t first_row, n_rows, n_cols; /* within the tensor's rows, all dimensions but one as one */
} vd_pack_task;

/* Prepares the weights of all tasks. Those that were prepared stay so where a later one fails. */
VD_NODISCARD vd_status vd_pack_run(const vd_kernels *kernels, vd_precision precision,
                                   vd_pool *pool, const vd_pack_task *task, size_t n_tasks,
                                   vd_err *err);

#endif
