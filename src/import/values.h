/* values.h - the values of a tensor that is written, a few rows at a time. Single-owner. */
#ifndef VD_IMPORT_VALUES_H
#define VD_IMPORT_VALUES_H

#include "import/tensors.h"

/* Called for what is ready: n bytes in the type of the tensor. */
typedef vd_status vd_values_fn(void *ctx, const void *bytes, size_t n, vd_err *err);

/* All values of `t`, in order, through buffers of some megabytes. VD_ERR_FORMAT names the tensor
 * where a value does not fit its type; VD_ERR_NOMEM; what `put` returns. */
VD_NODISCARD vd_status vd_values_write(const vd_plan *plan, const vd_out_tensor *t,
                                       vd_values_fn *put, void *ctx, vd_err *err);

#endif
