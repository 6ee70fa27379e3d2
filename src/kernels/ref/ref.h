/*
 * ref.h - the plain-C table: obvious loops with wide accumulators, never tuned, never removed.
 *
 * Shapes, aliasing and tolerances stand in kernels.h above the entry of the same name.
 */
#ifndef VD_KERNELS_REF_REF_H
#define VD_KERNELS_REF_REF_H

#include "kernels/kernels.h"

void vd_ref_quantize_row(const float *x, int8_t *q, int8_t *q_low, float *scale, float *sum,
                         int32_t *neg_sum, size_t n);
float vd_ref_dot_row(vd_dtype dtype, const void *row, const float *x, size_t n, float *scratch);
void vd_ref_linear_rows(const vd_weight *weight, const vd_act *act, float *y, size_t ld_y,
                        size_t begin, size_t end, float *scratch);
void vd_ref_rms_norm(const float *x, const float *weight, float eps, float *out, size_t n);
void vd_ref_layer_norm(const float *x, const float *weight, const float *bias, float eps,
                       float *out, size_t n);
void vd_ref_rope(float *x, const float *cos_sin, size_t n_rot, int neox);
void vd_ref_add(float *x, const float *y, size_t n);
void vd_ref_silu_mul(float *gate, const float *up, size_t n);
void vd_ref_gelu_mul(float *gate, const float *up, size_t n);
void vd_ref_gelu(float *x, size_t n);
void vd_ref_attn(const vd_attn *args);
void vd_ref_store_kv(vd_dtype dtype, const float *x, void *dst, size_t n);
void vd_ref_fit_sums(vd_fit *fit);
void vd_ref_fit_errors(vd_fit *fit);
void vd_ref_linear_packed(int layout, const void *packed, size_t n_rows, size_t n_cols,
                          const vd_act *act, float *y, size_t ld_y, size_t begin, size_t end);
void vd_ref_sparse_expand(const uint8_t *stream, size_t n_cols, uint8_t *group);
uint8_t *vd_ref_sparse_pack(const uint8_t *src, size_t row_bytes, size_t n_rows, uint8_t *block);
void vd_ref_round_row(const float *x, uint16_t *b, size_t n);
void vd_ref_panel_unpack(const vd_weight *weight, size_t n, size_t n_rows, uint16_t *panel);
void vd_ref_panel_product(const vd_panel *args);

#endif
