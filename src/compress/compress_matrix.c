/* compress_matrix.c - see compress_internal.h: a matrix pruned and rounded by what it reads. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/compress_internal.h"

typedef vd_compress_job job;

/* Rows of F32 that lie at `values` to p's, their codes by GPTQ where that can be. */
static vd_status encode_rounded(job *j, const vd_mix_entry *entry, vd_piece *p, float *values,
                                vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    vd_edit_options edit = vd_edit_at(&j->options->edit, entry->keep);
    bool pruned = j->options->keep_zeros || (entry->in_layer && vd_edit_zeroes(&edit));
    size_t n_experts = vd_gguf_tensor_experts(tensor);
    p->from = VD_DTYPE_F32;
    p->src = (const unsigned char *)values;
    p->src_bytes = p->n_cols * sizeof(*values);
    p->values = NULL;
    p->edit = NULL;
    vd_status st = vd_piece_run(p, j->pool, tensor->name.data, tensor->name.n, err);
    if (st != VD_OK)
        return st;
    st = vd_layered_round(j->layered, tensor->name, p->to, pruned, vd_job_scale(j, tensor).column,
                          values, n_experts, p->n_rows / n_experts, p->n_cols, p->dst,
                          p->dst_bytes, err);
    if (st != VD_OK)
        vd_err_prefix(err, "tensor %.*s", (int)tensor->name.n, tensor->name.data);
    return st;
}

/* As convert_rows for a whole matrix of F32. */
static vd_status convert_rounded(job *j, const vd_mix_entry *entry, vd_piece *p, float *values,
                                 vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    size_t n_rows = vd_gguf_tensor_rows(tensor), n_bytes;
    unsigned char *rows = NULL;
    if (!vd_mul_size(n_rows, p->dst_bytes, &n_bytes))
        return VD_FAIL(err, VD_ERR_NOMEM, "%zu rows are too many", n_rows);
    vd_status st = vd_alloc_array(n_bytes, 1, "encoded rows", &rows, err);
    p->n_rows = n_rows;
    p->dst = rows;
    if (st == VD_OK)
        st = encode_rounded(j, entry, p, values, err);
    vd_piece back = {.from = p->to, .to = VD_DTYPE_F32, .src = rows, .values = values,
                     .n_rows = n_rows, .n_cols = p->n_cols, .src_bytes = p->dst_bytes,
                     .scratch = p->scratch, .count = p->count};
    if (st == VD_OK)
        st = vd_piece_run(&back, j->pool, tensor->name.data, tensor->name.n, err);
    atomic_store(&p->n_zeros_after, atomic_load(&back.n_zeros_after));
    if (st == VD_OK)
        st = vd_job_put(j, rows, n_bytes, err);
    vd_free(rows);
    return st == VD_OK ? vd_job_tell_bytes(j, tensor, 0, err) : st;
}

vd_status vd_job_convert_head(job *j, const vd_mix_entry *entry, const vd_piece *p, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    size_t n_rows = vd_gguf_tensor_rows(tensor);
    size_t step = vd_job_rows_per_piece(p->src_bytes, p->dst_bytes);
    float *values = NULL;
    vd_status st = vd_alloc_array(VD_MIN(step, n_rows) * p->n_cols, sizeof(*values), "rows",
                                  &values, err);
    for (size_t first = 0; st == VD_OK && first < n_rows; first += step) {
        vd_piece from = *p, to = *p;
        from.first_row = to.first_row = first;
        from.n_rows = to.n_rows = VD_MIN(n_rows - first, step);
        from.src = p->src + first * p->src_bytes;
        from.dst = NULL;
        from.values = values;
        st = vd_piece_run(&from, j->pool, tensor->name.data, tensor->name.n, err);
        if (st == VD_OK)
            st = encode_rounded(j, entry, &to, values, err);
        if (st == VD_OK)
            st = vd_job_put_rows(j, tensor, &to, err);
        if (st == VD_OK)
            st = vd_job_tell_bytes(j, tensor, from.n_rows * p->src_bytes, err);
    }
    vd_free(values);
    return st;
}

vd_status vd_job_convert_layered(job *j, const vd_mix_entry *entry, vd_piece *p, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    vd_prune prune = vd_edit_at(&j->options->edit, entry->keep).prune;
    size_t n_rows = vd_gguf_tensor_rows(tensor), n_values;
    size_t n_experts = vd_gguf_tensor_experts(tensor);
    float *values = NULL;
    if (!vd_mul_size(n_rows, p->n_cols, &n_values))
        return VD_FAIL(err, VD_ERR_NOMEM, "%zu rows are too many", n_rows);
    vd_status st = vd_alloc_array(n_values, sizeof(*values), "a matrix", &values, err);
    if (st != VD_OK)
        return st;
    vd_piece whole = *p;
    whole.src = tensor->data;
    whole.dst = NULL;
    whole.values = values;
    whole.n_rows = n_rows;
    st = vd_piece_run(&whole, j->pool, tensor->name.data, tensor->name.n, err);
    if (st == VD_OK)
        st = vd_layered_prune(j->layered, &prune, tensor->name, values, n_experts,
                              n_rows / n_experts, p->n_cols, err);
    if (st == VD_OK && j->awq != NULL)
        vd_awq_apply(vd_job_scale(j, tensor), values, n_rows, p->n_cols, false);
    p->from = VD_DTYPE_F32;
    p->src = (const unsigned char *)values;
    p->src_bytes = p->n_cols * sizeof(*values);
    p->values = values;
    p->edit = NULL;
    if (st == VD_OK)
        st = j->options->gptq ? convert_rounded(j, entry, p, values, err)
                              : vd_job_convert_rows(j, tensor, p, err);
    atomic_store(&p->n_zeros_before, atomic_load(&whole.n_zeros_before));
    /* The layers behind are computed with the norms as they were. */
    if (st == VD_OK && j->awq != NULL)
        vd_awq_apply(vd_job_scale(j, tensor), values, n_rows, p->n_cols, true);
    if (st == VD_OK)
        return vd_layered_keep(j->layered, tensor->name, values, err);
    vd_free(values);
    return st;
}
