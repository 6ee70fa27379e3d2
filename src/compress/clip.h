/* clip.h - the clip of least squared error for a type. */
#ifndef VD_COMPRESS_CLIP_H
#define VD_COMPRESS_CLIP_H

#include "compress/select.h"

/* The magnitude T at which sum (w - Q(clip(w, T)))^2 is least over some thousand rows of the
 * tensor; the largest magnitude where clipping does not help, as for float types. The idea is
 * ACIQ's (Banner, Nahshan and Soudry 2019, Post training 4-bit quantization), which has formulas
 * for two distributions; here the error is measured. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_clip_search(const vd_scan *scan, const vd_rows *rows, vd_dtype to,
                                      float *ret, vd_err *err);

#endif
