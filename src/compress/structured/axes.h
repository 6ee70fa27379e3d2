/*
 * axes.h - which of a tensor's two axes runs over what: the width of the model, the neurons of a
 * feed-forward, the heads. Decided by the tensor's name, as the loader decides what to read
 * (model/weights.c); what is not known here cannot be cut.
 */
#ifndef VD_COMPRESS_STRUCTURED_AXES_H
#define VD_COMPRESS_STRUCTURED_AXES_H

#include "model/model.h"

/* What can be cut. */
typedef enum vd_cut_list {
    VD_CUT_LIST_NONE,
    VD_CUT_LIST_WIDTH,   /* channels of the residual stream */
    VD_CUT_LIST_NEURONS, /* of a layer's feed-forward */
    VD_CUT_LIST_GROUPS   /* a KV head and its query heads */
} vd_cut_list;

enum { VD_AXIS_PARTS_MAX = 3 };

/* One part after the other (a fused q, k, v), each of all units of the list; `unit` values each. */
typedef struct vd_axis {
    vd_cut_list list;
    size_t n_parts, unit[VD_AXIS_PARTS_MAX];
} vd_axis;

typedef struct vd_axes {
    int layer;     /* -1: in none */
    vd_axis axis[2]; /* of dim[0] (inputs) and dim[1] (outputs) */
} vd_axes;

/* group: query heads of one KV head. VD_ERR_UNSUPPORTED for a tensor that is not known. */
VD_NODISCARD vd_status vd_axes_find(const vd_hparams *hp, size_t group,
                                    const vd_gguf_tensor *tensor, vd_axes *ret_axes, vd_err *err);

/* The layer in "blk.12.attn_q.weight" and what follows, or -1 and the whole name. */
int vd_axes_layer(vd_str name, vd_str *ret_rest);

#endif
