/* compress_tensor.c - see compress_internal.h: one tensor, copied or edited and encoded. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/compress_internal.h"
#include "compress/finite.h"

typedef vd_compress_job job;

bool vd_job_edits(const job *j, const vd_mix_entry *entry)
{
    return entry->in_layer && (vd_edit_wanted(&j->options->edit) || entry->keep < 1);
}

bool vd_job_copies(const job *j, const vd_mix_entry *entry)
{
    return entry->dtype == entry->tensor->dtype && !vd_job_edits(j, entry);
}

bool vd_job_needs_weights(const job *j, const vd_mix_entry *entry)
{
    return entry->needs_weights && !vd_job_copies(j, entry);
}

/* Whole matrices, layer by layer. (An importance file alone says how much values count, whatever
 * their order.) */
static bool is_layered(const job *j, const vd_mix_entry *entry)
{
    return j->layered != NULL && entry->in_layer &&
           (vd_layered_walks(j->layered) || j->awq != NULL ||
            vd_prune_is_calibrated(vd_edit_at(&j->options->edit, entry->keep).prune.method));
}

static vd_status copy_tensor(job *j, const vd_gguf_tensor *tensor, vd_err *err)
{
    vd_status st = VD_OK;
    for (uint64_t at = 0; st == VD_OK && at < tensor->n_bytes; at += VD_JOB_PIECE_BYTES) {
        size_t n = (size_t)VD_MIN(tensor->n_bytes - at, VD_JOB_PIECE_BYTES);
        size_t width = tensor->dtype == VD_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
        st = vd_finite_copied(tensor, at / width, n / width, err);
        if (st == VD_OK)
            st = vd_job_put(j, tensor->data + at, n, err);
        if (st == VD_OK)
            st = vd_job_tell_bytes(j, tensor, n, err);
    }
    return st;
}

static vd_status tell_edited(job *j, const vd_gguf_tensor *tensor, const vd_piece *p, float clip,
                             vd_err *err)
{
    vd_compress_edited edited = {.name = tensor->name,
                                 .n_values = (uint64_t)vd_gguf_tensor_rows(tensor) * p->n_cols,
                                 .n_zeros_before = atomic_load(&p->n_zeros_before),
                                 .n_zeros_after = atomic_load(&p->n_zeros_after),
                                 .clip = clip};
    j->n_edited += edited.n_values;
    j->n_zeros_before += edited.n_zeros_before;
    j->n_zeros_after += edited.n_zeros_after;
    return vd_job_tell(j, &edited, err);
}

static vd_status prepare_edit(job *j, const vd_mix_entry *entry, const vd_piece *p,
                              vd_edit *ret_edit, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    vd_edit_options edit = vd_edit_at(&j->options->edit, entry->keep);
    vd_scan scan = {.pool = j->pool, .scratch = j->scratch};
    vd_rows rows = {p->from, tensor->data, vd_gguf_tensor_rows(tensor), p->n_cols, p->src_bytes};
    vd_status st = vd_edit_prepare(&edit, &scan, &rows, p->to, ret_edit, err);
    if (st != VD_OK)
        vd_err_prefix(err, "tensor %.*s", (int)tensor->name.n, tensor->name.data);
    return st;
}

/* A norm whose outputs are divided: f32, one row. */
static vd_status scale_norm(job *j, const vd_gguf_tensor *tensor, vd_err *err)
{
    size_t n = (size_t)tensor->dim[0];
    vd_awq_scale scale = {.column = vd_job_scale(j, tensor).norm};
    float *values = NULL;
    vd_status st = vd_alloc_array(n, sizeof(*values), "a norm", &values, err);
    if (st == VD_OK) {
        memcpy(values, tensor->data, n * sizeof(*values));
        vd_awq_apply(scale, values, 1, n, true);
        st = vd_job_put(j, values, n * sizeof(*values), err);
    }
    vd_free(values);
    return st == VD_OK ? vd_job_tell_bytes(j, tensor, tensor->n_bytes, err) : st;
}

/* What the matrix reads, for the encoder. */
static vd_status find_weights(job *j, const vd_gguf_tensor *tensor, vd_piece *p, float **ret,
                              vd_err *err)
{
    size_t n_experts = vd_gguf_tensor_experts(tensor);
    if (j->layered == NULL)
        return VD_OK;
    vd_status st = vd_layered_importance(j->layered, tensor->name, n_experts, p->n_cols, ret, err);
    const float *s = vd_job_scale(j, tensor).column;
    for (size_t i = 0; st == VD_OK && *ret != NULL && s != NULL && i < p->n_cols; i++)
        (*ret)[i] /= s[i] * s[i];
    p->weights = st == VD_OK ? *ret : NULL;
    p->rows_per_weights = vd_gguf_tensor_rows(tensor) / n_experts;
    j->n_weighted += p->weights != NULL;
    return st;
}

static vd_status convert_tensor(job *j, const vd_mix_entry *entry, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    bool edited = vd_job_edits(j, entry);
    vd_piece p = {.from = (vd_dtype)tensor->dtype, .to = (vd_dtype)entry->dtype,
                  .src = tensor->data, .dst = j->buffer, .n_cols = (size_t)tensor->dim[0],
                  .scratch = j->scratch, .count = edited};
    vd_edit edit = {0};
    float *weights = NULL;
    vd_status st = VD_OK;
    if (!vd_dtype_row_bytes(p.from, p.n_cols, &p.src_bytes) ||
        !vd_dtype_row_bytes(p.to, p.n_cols, &p.dst_bytes))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s: its rows are no whole blocks",
                       (int)tensor->name.n, tensor->name.data);
    if (edited)
        st = prepare_edit(j, entry, &p, &edit, err);
    float clip = edit.clip;
    p.edit = edited ? &edit : NULL;
    if (st == VD_OK && is_layered(j, entry))
        st = vd_layered_enter(j->layered, (size_t)entry->layer, err);
    if (st == VD_OK)
        st = find_weights(j, tensor, &p, &weights, err);
    if (st == VD_OK && weights == NULL && vd_job_needs_weights(j, entry))
        st = vd_mix_refuse_unweighted(entry, j->options->imatrix, j->options->calib.path, err);
    bool rounded = st == VD_OK && j->layered != NULL &&
                   vd_layered_rounds(j->layered, tensor->name, p.to,
                                     vd_gguf_tensor_experts(tensor), p.n_cols);
    if (st == VD_OK)
        st = is_layered(j, entry) ? vd_job_convert_layered(j, entry, &p, err)
             : rounded            ? vd_job_convert_head(j, entry, &p, err)
                                  : vd_job_convert_rows(j, tensor, &p, err);
    j->n_rounded += st == VD_OK && rounded;
    if (st == VD_OK && edited)
        st = tell_edited(j, tensor, &p, clip, err);
    vd_edit_done(&edit);
    vd_free(weights);
    return st;
}

vd_status vd_job_take_buffers(job *j, vd_err *err)
{
    size_t cols = 1, bytes = 1, src_row = 0, row = 0, n_floats;
    for (size_t i = 0; i < j->n_entries; i++) {
        const vd_mix_entry *entry = &j->entries[i];
        if (vd_job_copies(j, entry) ||
            !vd_dtype_row_bytes(entry->tensor->dtype, (size_t)entry->tensor->dim[0], &src_row) ||
            !vd_dtype_row_bytes(entry->dtype, (size_t)entry->tensor->dim[0], &row))
            continue;
        size_t n_rows = VD_MIN(vd_job_rows_per_piece(src_row, row),
                               vd_gguf_tensor_rows(entry->tensor));
        cols = VD_MAX(cols, (size_t)entry->tensor->dim[0]);
        bytes = VD_MAX(bytes, row * n_rows);
    }
    if (!vd_mul_size(cols, vd_pool_n_threads(j->pool), &n_floats))
        return VD_FAIL(err, VD_ERR_NOMEM, "rows of %zu values are too long", cols);
    vd_status st = vd_alloc_array(n_floats, sizeof(float), "rows", &j->scratch, err);
    if (st == VD_OK)
        st = vd_alloc_array(bytes, 1, "encoded rows", &j->buffer, err);
    return st;
}

vd_status vd_job_write(job *j, const vd_mix_entry *entry, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    if (vd_job_scale(j, tensor).norm != NULL)
        return scale_norm(j, tensor, err);
    return vd_job_copies(j, entry) ? copy_tensor(j, tensor, err) : convert_tensor(j, entry, err);
}
