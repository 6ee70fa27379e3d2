/*
 * finite.h - where a model computes what is no number, which weight of it is none.
 */
#ifndef VD_COMPRESS_FINITE_H
#define VD_COMPRESS_FINITE_H

#include <verdant/status.h>

#include "model/gguf.h"

/* VD_ERR_FORMAT always (VD_ERR_NOMEM where a row finds no room): names the first tensor, row and
 * value that is not finite; where all are, says that `what` ("layer 3") computes what is no number.
 * Reads all weights. */
VD_NODISCARD vd_status vd_finite_fail(const vd_gguf *gguf, const char *what, vd_err *err);

/* Of a tensor of plain floats that is copied as it is: VD_ERR_FORMAT where one of the n values from
 * the first-th on is NaN. (Infinities may be meant, as in masks.) Other types are not looked at. */
VD_NODISCARD vd_status vd_finite_copied(const vd_gguf_tensor *tensor, uint64_t first, size_t n,
                                        vd_err *err);

#endif
