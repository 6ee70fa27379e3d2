/* weights.h - the tensors that a model's blocks are made of, by the names GGUF gives them. */
#ifndef VD_MODEL_WEIGHTS_H
#define VD_MODEL_WEIGHTS_H

#include "model/loader.h"

/* Fills everything in `model` that comes from tensors; numbers and layers are there already. On
 * failure some of it is filled, for vd_model_free. */
VD_NODISCARD vd_status vd_weights_load(vd_model *model, vd_pool *pool, vd_err *err);

/* Part of it: the feed-forward network of a layer, or its router and experts. */
VD_NODISCARD vd_status vd_weights_load_ffn(vd_loader *loader, int layer, vd_layer *ret_layer,
                                           vd_err *err);

#endif
