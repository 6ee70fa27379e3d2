/*
 * awq.h - activation-aware scaling (Lin et al. 2024, AWQ): the columns of a matrix that read large
 * inputs are multiplied by s, so that rounding harms them less, and what gives those inputs is
 * divided by s: the function stays, and the file is a plain one.
 *
 *   attn_norm / s     attn_q, attn_k, attn_v columns * s
 *   ffn_norm / s      ffn_gate, ffn_up columns * s
 *   ffn_up rows / s   ffn_down columns * s
 *   attn_v rows / s   attn_output columns * s, one s for the query heads that share a KV head
 *
 * s_j = (mean square of input j)^(alpha / 2), alpha the best of ten by the encoder's own error on
 * some rows, weighted by the inputs. We differ from the paper in that measure (theirs: the layer's
 * output), in the mean square instead of the mean magnitude, and in the last fold under grouped
 * queries. Single-owner.
 */
#ifndef VD_COMPRESS_AWQ_H
#define VD_COMPRESS_AWQ_H

#include "compress/layered.h"
#include "compress/mix.h"

typedef struct vd_awq vd_awq;

/* gguf and entries[n_entries] are borrowed. alpha: below 0 it is searched for.
 * VD_ERR_UNSUPPORTED for an architecture whose layers are put together otherwise. */
VD_NODISCARD vd_status vd_awq_create(const vd_gguf *gguf, const vd_mix_entry *entries,
                                     size_t n_entries, double alpha, vd_pool *pool,
                                     vd_awq **ret_awq, vd_err *err);
void vd_awq_free(vd_awq *awq);

/* Finds the scales of a layer, by what `layered` knows of its inputs. What is not quantized or not
 * known is not scaled. */
VD_NODISCARD vd_status vd_awq_enter(vd_awq *awq, vd_layered *layered, size_t layer, vd_err *err);

/* New value = value * column[j] / row[i]; either may be NULL. Of a norm: value / norm[j]. Valid
 * until the next layer. */
typedef struct vd_awq_scale {
    const float *column, *row, *norm;
} vd_awq_scale;

vd_awq_scale vd_awq_find(const vd_awq *awq, vd_str name);
/* values[n_rows, n_cols] scaled, or back. */
void vd_awq_apply(vd_awq_scale scale, float *values, size_t n_rows, size_t n_cols, bool back);

#endif
