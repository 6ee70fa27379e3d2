/*
 * encode.h - f32 values to the blocks of a tensor type: the inverse of vd_dtype_decode.
 *
 * One file per family of types in encode/, each of which says what it minimizes. With weights from
 * a calibration (an importance matrix: the mean squares of what a matrix reads) it is the sum of
 * w * (x - value)^2; without, all values of a row count alike but for their own size.
 * Threads: pure functions of their arguments and the floating-point environment, see
 * vd_encode_floats_begin.
 */
#ifndef VD_COMPRESS_ENCODE_H
#define VD_COMPRESS_ENCODE_H

#include <fenv.h>

#include "kernels/dtype.h"

/* True where vd_encode_row works. */
bool vd_encodable(uint32_t dtype);

/* True of the types that are of no use to a matrix of which nobody knows what it reads (IQ1, IQ2,
 * IQ3_XXS): callers refuse them then. vd_encode_row itself takes them without w. */
bool vd_encode_needs_weights(uint32_t dtype);

/* The largest magnitude that a row may hold: beyond it a scale could overflow. */
float vd_encode_max(vd_dtype dtype);

/* n values, a multiple of the block, all finite and none above vd_encode_max, to n / block blocks.
 * w[n]: how much the square of each value's error counts, finite and not negative; NULL: as the
 * type's file says. Where nothing is searched for (floats, Q8_0) and in MXFP4 w changes
 * nothing. dst need not be aligned. */
void vd_encode_row(vd_dtype dtype, const float *x, const float *w, void *dst, size_t n);

/* Threads of a pool flush denormals to zero, which changes scales: each thread that encodes does so
 * between these two. */
void vd_encode_floats_begin(fenv_t *ret_before);
void vd_encode_floats_end(const fenv_t *before);

#endif
