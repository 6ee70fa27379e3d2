/*
 * loader.h - tensors of a file by name, each checked for type and shape before it is used.
 *
 * Remembers what was asked for: a tensor that nobody read must not be passed over in silence.
 * Single-owner, alive while a model is being opened.
 */
#ifndef VD_MODEL_LOADER_H
#define VD_MODEL_LOADER_H

#include "model/model.h"
#include "model/pack.h"

typedef struct vd_loader {
    vd_model *model;
    bool *read;         /* [n_tensors] */
    vd_pack_task *task; /* what is to be packed when all is found */
    size_t n_tasks, capacity;
} vd_loader;

VD_NODISCARD vd_status vd_loader_init(vd_model *model, vd_loader *ret_loader, vd_err *err);
void vd_loader_done(vd_loader *loader);

enum { VD_TENSOR_NAME_MAX = 96 };

/* A tensor is named by its layer and the rest: (3, "attn_q", "weight") is blk.3.attn_q.weight, and
 * a negative layer gives no prefix. [n_cols, n_rows] as in vd_weight; n_rows 1 is a vector. */

bool vd_loader_has(const vd_loader *loader, int layer, const char *base, const char *kind);
/* Its shape is checked and it counts as read; VD_ERR_FORMAT where it is missing. */
VD_NODISCARD vd_status vd_loader_tensor(vd_loader *loader, int layer, const char *base,
                                        const char *kind, size_t n_cols, size_t n_rows,
                                        const vd_gguf_tensor **ret_tensor, vd_err *err);
/* The same of n matrices in one tensor. */
VD_NODISCARD vd_status vd_loader_stack(vd_loader *loader, int layer, const char *base,
                                       size_t n_cols, size_t n_rows, size_t n,
                                       const vd_gguf_tensor **ret_tensor, vd_err *err);
/* Its values as f32 in the model's arena. Where VD_MAYBE finds none, and with VD_NEVER, *ret stays
 * as it is. */
VD_NODISCARD vd_status vd_loader_floats(vd_loader *loader, int layer, const char *base,
                                        const char *kind, size_t n_cols, size_t n_rows,
                                        vd_need need, const float **ret, vd_err *err);
/* Rows [first_row, first_row + n_rows) of a tensor become a weight when vd_loader_finish packs. */
VD_NODISCARD vd_status vd_loader_pack(vd_loader *loader, const vd_gguf_tensor *tensor,
                                      size_t first_row, size_t n_rows, size_t n_cols,
                                      vd_weight *weight, vd_err *err);
/* The matrix `base`.weight with its bias. */
VD_NODISCARD vd_status vd_loader_dense(vd_loader *loader, int layer, const char *base,
                                       size_t n_cols, size_t n_rows, vd_need bias,
                                       vd_dense *ret_dense, vd_err *err);

/* Refuses a file with tensors that nobody asked for, and packs the rest. */
VD_NODISCARD vd_status vd_loader_finish(vd_loader *loader, vd_pool *pool, vd_err *err);

#endif
