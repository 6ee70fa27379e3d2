/*
 * compress.h - the weights of a matrix made easier to store: clipped, set to zero, in fewer bits.
 *
 * For weights in memory, w[n_rows, n_cols], row-major; whole model files are for the command
 * `verdant compress`. examples/compress shows every function on a small network.
 *
 *   vd_weights_clip(w, n_rows, n_cols, 0.25f, &err);         |w| at most 0.25
 *   vd_weights_prune(w, n_rows, n_cols, 0.5, &err);          the larger half stays
 *   vd_weights_bytes("Q4_0", n_rows, n_cols, &n_bytes, &err);
 *   vd_weights_quantize("Q4_0", w, NULL, n_rows, n_cols, blocks, n_bytes, &err);
 *   vd_weights_dequantize("Q4_0", blocks, n_bytes, n_rows, n_cols, w, &err);
 *
 * Nothing is kept: all memory is the caller's. Values must be finite: else VD_ERR_FORMAT, and the
 * matrix stays as it was. Statuses that all can return: VD_ERR_ARG for an argument that makes no
 * sense, VD_ERR_NOMEM. Threads: each call works in the thread that makes it; calls on different
 * matrices may run at once.
 */
#ifndef VERDANT_COMPRESS_H
#define VERDANT_COMPRESS_H

#include <stddef.h>
#include <verdant/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Magnitudes above `limit` become `limit`, the sign stays. limit: not negative. */
VD_API VD_NODISCARD vd_status vd_weights_clip(float *w, size_t n_rows, size_t n_cols, float limit,
                                              vd_err *err);

/* Weights of a magnitude below `threshold` become zero; the other sets those above it to zero. */
VD_API VD_NODISCARD vd_status vd_weights_threshold(float *w, size_t n_rows, size_t n_cols,
                                                   float threshold, vd_err *err);
VD_API VD_NODISCARD vd_status vd_weights_threshold_above(float *w, size_t n_rows, size_t n_cols,
                                                         float threshold, vd_err *err);

/* The share `keep` of the matrix stays, its largest magnitudes, and the rest becomes zero: 1 keeps
 * all, 0 nothing. Exactly: n - floor((1 - keep) n) weights stay; of equal ones the last. */
VD_API VD_NODISCARD vd_status vd_weights_prune(float *w, size_t n_rows, size_t n_cols, double keep,
                                               vd_err *err);

/* The bytes that a matrix has in a type of GGUF tensors: "F16", "Q8_0", "Q4_K", "Q2_0", "Q1_0" ...
 * VD_ERR_ARG where there is no such type to write, or where rows are no multiple of its block (32
 * for Q4_0 and Q8_0, 256 for Q4_K). */
VD_API VD_NODISCARD vd_status vd_weights_bytes(const char *type, size_t n_rows, size_t n_cols,
                                               size_t *ret_bytes, vd_err *err);

/* To blocks[n_bytes], n_bytes as vd_weights_bytes says. importance[n_cols]: how much the square of
 * an error in each column counts, finite and not negative, such as the mean square of what the
 * column is multiplied with; NULL: all alike. */
VD_API VD_NODISCARD vd_status vd_weights_quantize(const char *type, const float *w,
                                                  const float *importance, size_t n_rows,
                                                  size_t n_cols, void *blocks, size_t n_bytes,
                                                  vd_err *err);

/* And back: ret_w[n_rows, n_cols]. */
VD_API VD_NODISCARD vd_status vd_weights_dequantize(const char *type, const void *blocks,
                                                    size_t n_bytes, size_t n_rows, size_t n_cols,
                                                    float *ret_w, vd_err *err);

#ifdef __cplusplus
}
#endif
#endif
