/* weights.h - the tensors that a model's blocks are made of, by the names GGUF gives them. */
#ifndef VD_MODEL_WEIGHTS_H
#define VD_MODEL_WEIGHTS_H

#include "model/model.h"

/* Fills everything in `model` that comes from tensors; numbers and layers are there already. On
 * failure some of it is filled, for vd_model_free. */
VD_NODISCARD vd_status vd_weights_load(vd_model *model, vd_pool *pool, vd_err *err);

#endif
