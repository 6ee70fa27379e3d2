/* compress.c - see compress.h. */
#include "compress/compress.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "compress/compress_internal.h"
#include "compress/encode.h"
#include "compress/folder.h"
#include "compress/piece.h"
#include "model/gguf_sparse.h"

enum { PIECE_BYTES = 8 << 20, QUANTIZATION_VERSION = 2 };

typedef vd_compress_job job;

static bool is_edited(const job *j, const vd_mix_entry *entry)
{
    return entry->in_layer && (vd_edit_wanted(&j->options->edit) || entry->keep < 1);
}

static bool is_copied(const job *j, const vd_mix_entry *entry)
{
    return entry->dtype == entry->tensor->dtype && !is_edited(j, entry);
}

/* Whole matrices, layer by layer. (An importance file alone says how much values count, whatever
 * their order.) */
static bool is_layered(const job *j, const vd_mix_entry *entry)
{
    return j->layered != NULL && entry->in_layer &&
           (vd_layered_walks(j->layered) || j->awq != NULL ||
            vd_prune_is_calibrated(vd_edit_at(&j->options->edit, entry->keep).prune.method));
}

static vd_status report(job *j, const vd_gguf_tensor *tensor, size_t n_bytes, vd_err *err)
{
    const vd_compress_options *o = j->options;
    if (j->layered == NULL || !vd_layered_walks(j->layered))
        j->done += n_bytes;
    if (o->progress != NULL && !o->progress(o->ctx, j->done, j->total, tensor->name))
        return VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    return VD_OK;
}

static vd_status copy_tensor(job *j, const vd_gguf_tensor *tensor, vd_err *err)
{
    vd_status st = VD_OK;
    for (uint64_t at = 0; st == VD_OK && at < tensor->n_bytes; at += PIECE_BYTES) {
        size_t n = (size_t)VD_MIN(tensor->n_bytes - at, PIECE_BYTES);
        st = vd_job_put(j, tensor->data + at, n, err);
        if (st == VD_OK)
            st = report(j, tensor, n, err);
    }
    return st;
}

/* Rows of a tensor, all dimensions but the first taken as one. */
static size_t rows_of(const vd_gguf_tensor *tensor)
{
    return (size_t)(tensor->dim[1] * tensor->dim[2] * tensor->dim[3]);
}

static size_t experts_of(const vd_gguf_tensor *tensor)
{
    return VD_MAX((size_t)tensor->dim[2], 1);
}

/* How many rows go through the buffer at once. The larger side counts: eight megabytes of a small
 * type are many values, and nobody is asked whether to go on before they are done. */
static size_t rows_per_piece(size_t src_bytes, size_t dst_bytes)
{
    return VD_MAX(PIECE_BYTES / VD_MAX(VD_MAX(src_bytes, dst_bytes), 1), 1);
}

/* All rows of p's tensor, which lie at src, through the buffer, piece by piece. */
static vd_status convert_rows(job *j, const vd_gguf_tensor *tensor, vd_piece *p, vd_err *err)
{
    size_t n_rows = rows_of(tensor), step = rows_per_piece(p->src_bytes, p->dst_bytes);
    const unsigned char *src = p->src;
    float *values = p->values;
    vd_status st = VD_OK;
    for (size_t first = 0; st == VD_OK && first < n_rows; first += step) {
        p->first_row = first;
        p->n_rows = VD_MIN(n_rows - first, step);
        p->src = src + first * p->src_bytes;
        p->values = values != NULL ? values + first * p->n_cols : NULL;
        st = vd_piece_run(p, j->pool, tensor->name.data, tensor->name.n, err);
        if (st == VD_OK)
            st = vd_job_put(j, p->dst, p->n_rows * p->dst_bytes, err);
        if (st == VD_OK)
            st = report(j, tensor, p->n_rows * p->src_bytes, err);
    }
    return st;
}

static vd_status tell_edited(job *j, const vd_gguf_tensor *tensor, const vd_piece *p, float clip,
                             vd_err *err)
{
    vd_compress_edited edited = {.name = tensor->name,
                                 .n_values = (uint64_t)rows_of(tensor) * p->n_cols,
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
    vd_rows rows = {p->from, tensor->data, rows_of(tensor), p->n_cols, p->src_bytes};
    vd_status st = vd_edit_prepare(&edit, &scan, &rows, p->to, ret_edit, err);
    if (st != VD_OK)
        vd_err_prefix(err, "tensor %.*s", (int)tensor->name.n, tensor->name.data);
    return st;
}

static vd_awq_scale scale_of(const job *j, const vd_gguf_tensor *tensor)
{
    return j->awq != NULL ? vd_awq_find(j->awq, tensor->name) : (vd_awq_scale){NULL, NULL, NULL};
}

/* A norm whose outputs are divided: f32, one row. */
static vd_status scale_norm(job *j, const vd_gguf_tensor *tensor, vd_err *err)
{
    size_t n = (size_t)tensor->dim[0];
    vd_awq_scale scale = {.column = scale_of(j, tensor).norm};
    float *values = NULL;
    vd_status st = vd_alloc_array(n, sizeof(*values), "a norm", &values, err);
    if (st == VD_OK) {
        memcpy(values, tensor->data, n * sizeof(*values));
        vd_awq_apply(scale, values, 1, n, true);
        st = vd_job_put(j, values, n * sizeof(*values), err);
    }
    vd_free(values);
    return st == VD_OK ? report(j, tensor, tensor->n_bytes, err) : st;
}

/* As convert_rows for a whole matrix of F32, its codes by GPTQ where that can be. */
static vd_status convert_rounded(job *j, const vd_mix_entry *entry, vd_piece *p, float *values,
                                 vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    vd_edit_options edit = vd_edit_at(&j->options->edit, entry->keep);
    bool pruned = j->options->keep_zeros || vd_edit_zeroes(&edit), rounded = false;
    size_t n_rows = rows_of(tensor), n_experts = experts_of(tensor), n_bytes;
    unsigned char *rows = NULL;
    if (!vd_mul_size(n_rows, p->dst_bytes, &n_bytes))
        return VD_FAIL(err, VD_ERR_NOMEM, "%zu rows are too many", n_rows);
    vd_status st = vd_alloc_array(n_bytes, 1, "encoded rows", &rows, err);
    p->n_rows = n_rows;
    p->dst = rows;
    p->values = NULL;
    if (st == VD_OK)
        st = vd_piece_run(p, j->pool, tensor->name.data, tensor->name.n, err);
    if (st == VD_OK)
        st = vd_layered_round(j->layered, tensor->name, p->to, pruned,
                              scale_of(j, tensor).column, values, n_experts,
                              n_rows / n_experts, p->n_cols, rows, p->dst_bytes, &rounded, err);
    vd_piece back = {.from = p->to, .to = VD_DTYPE_F32, .src = rows, .values = values,
                     .n_rows = n_rows, .n_cols = p->n_cols, .src_bytes = p->dst_bytes,
                     .scratch = p->scratch, .count = p->count};
    if (st == VD_OK)
        st = vd_piece_run(&back, j->pool, tensor->name.data, tensor->name.n, err);
    atomic_store(&p->n_zeros_after, atomic_load(&back.n_zeros_after));
    if (st == VD_OK)
        st = vd_job_put(j, rows, n_bytes, err);
    vd_free(rows);
    return st == VD_OK ? report(j, tensor, 0, err) : st;
}

/* The whole matrix in memory: edited, pruned by what it reads, encoded; what it decodes to goes on
 * to compute the layers behind it. */
static vd_status convert_layered(job *j, const vd_mix_entry *entry, vd_piece *p, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    vd_prune prune = vd_edit_at(&j->options->edit, entry->keep).prune;
    size_t n_rows = rows_of(tensor), n_experts = experts_of(tensor), n_values;
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
        vd_awq_apply(scale_of(j, tensor), values, n_rows, p->n_cols, false);
    p->from = VD_DTYPE_F32;
    p->src = (const unsigned char *)values;
    p->src_bytes = p->n_cols * sizeof(*values);
    p->values = values;
    p->edit = NULL;
    if (st == VD_OK)
        st = j->options->gptq ? convert_rounded(j, entry, p, values, err)
                              : convert_rows(j, tensor, p, err);
    atomic_store(&p->n_zeros_before, atomic_load(&whole.n_zeros_before));
    /* The layers behind are computed with the norms as they were. */
    if (st == VD_OK && j->awq != NULL)
        vd_awq_apply(scale_of(j, tensor), values, n_rows, p->n_cols, true);
    if (st == VD_OK)
        return vd_layered_keep(j->layered, tensor->name, values, err);
    vd_free(values);
    return st;
}

/* What the matrix reads, for the encoder. */
static vd_status find_weights(job *j, const vd_gguf_tensor *tensor, vd_piece *p, float **ret,
                              vd_err *err)
{
    size_t n_experts = experts_of(tensor);
    if (j->layered == NULL)
        return VD_OK;
    vd_status st = vd_layered_importance(j->layered, tensor->name, n_experts, p->n_cols, ret, err);
    const float *s = scale_of(j, tensor).column;
    for (size_t i = 0; st == VD_OK && *ret != NULL && s != NULL && i < p->n_cols; i++)
        (*ret)[i] /= s[i] * s[i];
    p->weights = st == VD_OK ? *ret : NULL;
    p->rows_per_weights = rows_of(tensor) / n_experts;
    j->n_weighted += p->weights != NULL;
    return st;
}

static vd_status convert_tensor(job *j, const vd_mix_entry *entry, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    bool edited = is_edited(j, entry);
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
    if (st == VD_OK)
        st = is_layered(j, entry) ? convert_layered(j, entry, &p, err)
                                  : convert_rows(j, tensor, &p, err);
    if (st == VD_OK && edited)
        st = tell_edited(j, tensor, &p, clip, err);
    vd_edit_done(&edit);
    vd_free(weights);
    return st;
}

static bool starts_with(vd_str text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.n >= n && memcmp(text.data, prefix, n) == 0;
}

static bool equals(vd_str text, const char *other)
{
    return text.n == strlen(other) && starts_with(text, other);
}

/* The file type of the new file; NULL where no type changes. Of types that the user chose tensor by
 * tensor, the one that most weights have. */
static const vd_filetype *filetype_of(const job *j)
{
    uint64_t n_values[VD_DTYPE_LIMIT] = {0};
    uint32_t most = VD_DTYPE_F32;
    if (j->options->type != NULL || j->options->mix.types == NULL)
        return j->options->type;
    for (size_t i = 0; i < j->n_entries; i++)
        n_values[j->entries[i].dtype] += j->entries[i].tensor->dim[0] *
                                         rows_of(j->entries[i].tensor);
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++)
        most = n_values[i] > n_values[most] ? i : most;
    return vd_filetype_find(vd_dtype_name(most));
}

/* Metadata and the tensor table. */
static vd_status write_head(job *j, vd_err *err)
{
    static const char version[] = "general.quantization_version", type[] = "general.file_type";
    const vd_filetype *mostly = filetype_of(j);
    for (size_t i = 0; i < vd_gguf_n_kv(j->gguf); i++) {
        const vd_gguf_kv *kv = vd_gguf_kv_at(j->gguf, i);
        bool retyped = mostly != NULL && (equals(kv->key, version) || equals(kv->key, type));
        if (!retyped && !starts_with(kv->key, "split.") &&
            !starts_with(kv->key, VD_GGUF_SPARSE_PREFIX))
            vd_gguf_out_kv(j->out, kv);
    }
    if (mostly != NULL) {
        vd_gguf_out_u32(j->out, version, QUANTIZATION_VERSION);
        vd_gguf_out_u32(j->out, type, mostly->number);
    }
    for (size_t i = 0; i < j->n_entries; i++) {
        const vd_gguf_tensor *t = j->entries[i].tensor;
        vd_gguf_out_tensor(j->out, t->name, j->entries[i].dtype, t->n_dims, t->dim);
    }
    return vd_gguf_out_begin(j->out, err);
}

/* What the largest row and the largest piece need. */
static vd_status take_buffers(job *j, vd_err *err)
{
    size_t cols = 1, bytes = 1, src_row = 0, row = 0, n_floats;
    for (size_t i = 0; i < j->n_entries; i++) {
        const vd_mix_entry *entry = &j->entries[i];
        if (is_copied(j, entry) ||
            !vd_dtype_row_bytes(entry->tensor->dtype, (size_t)entry->tensor->dim[0], &src_row) ||
            !vd_dtype_row_bytes(entry->dtype, (size_t)entry->tensor->dim[0], &row))
            continue;
        size_t n_rows = VD_MIN(rows_per_piece(src_row, row), rows_of(entry->tensor));
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

static void count(const job *j, vd_compress_result *result)
{
    *result = (vd_compress_result){.file_bytes_before = vd_gguf_file_bytes(j->gguf),
                                   .file_bytes_after = vd_gguf_out_file_bytes(j->out),
                                   .n_threads = vd_pool_n_threads(j->pool),
                                   .n_calib_tokens = j->layered != NULL
                                                         ? vd_layered_n_tokens(j->layered)
                                                         : 0,
                                   .n_weighted = j->n_weighted,
                                   .calibration = vd_job_report(j),
                                   .n_edited = j->n_edited,
                                   .n_zeros_before = j->n_zeros_before,
                                   .n_zeros_after = j->n_zeros_after};
    for (size_t i = 0; i < j->n_entries; i++) {
        const vd_mix_entry *entry = &j->entries[i];
        const vd_gguf_tensor *t = entry->tensor;
        size_t row = 0;
        (void)vd_dtype_row_bytes(entry->dtype, (size_t)t->dim[0], &row);
        result->before[t->dtype].n_tensors++;
        result->before[t->dtype].n_bytes += t->n_bytes;
        result->after[entry->dtype].n_tensors++;
        result->after[entry->dtype].n_bytes += row * rows_of(t);
        result->n_values += t->dim[0] * rows_of(t);
        result->n_fell_back += entry->fell_back;
        result->n_requantized += !is_copied(j, entry) && vd_dtype_get(t->dtype)->block > 1;
    }
}

/* What is edited must be written anew, in a type that can be. */
static vd_status check_types(const job *j, vd_err *err)
{
    for (size_t i = 0; i < j->n_entries; i++) {
        const vd_mix_entry *entry = &j->entries[i];
        if (is_edited(j, entry) && !vd_encodable(entry->dtype))
            return VD_FAIL(err, VD_ERR_ARG, "tensor %.*s is %s, which can be read but not "
                           "written; give it another type with --quant",
                           (int)entry->tensor->name.n, entry->tensor->name.data,
                           vd_dtype_name(entry->dtype));
        if (entry->keep < 1 && j->options->calib.path == NULL && j->options->imatrix == NULL)
            return VD_FAIL(err, VD_ERR_ARG, "keep-rates of tensors need --calib or --imatrix");
    }
    return VD_OK;
}

static bool on_walk(void *ctx, size_t layer, size_t done, size_t total)
{
    job *j = ctx;
    const vd_compress_options *o = j->options;
    char note[32];
    int n = snprintf(note, sizeof(note), "layer %zu", layer);
    j->total = (uint64_t)j->n_layer * total;
    j->done = (uint64_t)layer * total + done;
    return o->progress == NULL || o->progress(o->ctx, j->done, j->total, (vd_str){note, (size_t)n});
}

/* Each size now and not after half of the work, and whether it is of this model at all. */
static vd_status check_imatrix(job *j, vd_err *err)
{
    size_t n_known = 0;
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < j->n_entries; i++) {
        const vd_gguf_tensor *t = j->entries[i].tensor;
        float *means = NULL;
        st = vd_layered_importance(j->layered, t->name, experts_of(t), (size_t)t->dim[0], &means,
                                   err);
        n_known += means != NULL;
        vd_free(means);
    }
    if (st == VD_OK && n_known == 0)
        st = VD_FAIL(err, VD_ERR_ARG, "%s knows none of the model's tensors", j->options->imatrix);
    return st;
}

/* What a calibration needs: the model again, to be computed. */
static vd_status open_layers(job *j, const char *source, const char *target, vd_err *err)
{
    const vd_compress_options *o = j->options;
    char *folder = NULL;
    if (o->calib.path == NULL && o->imatrix == NULL)
        return VD_OK;
    vd_status st = vd_compress_folder(target, &folder, err);
    if (st != VD_OK)
        return st;
    vd_layered_options layers = {
        .walk = {.calib = o->calib, .folder = folder, .progress = on_walk, .ctx = j},
        .imatrix = o->imatrix,
        .gram = vd_prune_needs_gram(o->edit.prune.method),
        .gptq = o->gptq,
        .drift = o->drift};
    for (size_t i = 0; i < j->n_entries; i++) {
        j->n_layer = VD_MAX(j->n_layer, (size_t)(j->entries[i].layer + 1));
        if (equals(j->entries[i].tensor->name, "token_embd.weight"))
            layers.walk.embed_dtype = j->entries[i].dtype;
    }
    st = vd_layered_open(source, &layers, j->pool, &j->layered, err);
    vd_free(folder);
    if (st == VD_OK && o->imatrix != NULL)
        st = check_imatrix(j, err);
    if (st == VD_OK && o->awq)
        st = vd_awq_create(j->gguf, j->entries, j->n_entries, o->awq_alpha, j->pool, &j->awq, err);
    if (st == VD_OK && o->save_imatrix != NULL)
        st = vd_imatrix_create(&j->saved, err);
    return st;
}

/* What a matrix of a layer reads, for the file. */
static vd_status save_importance(job *j, const vd_mix_entry *entry, vd_err *err)
{
    const vd_gguf_tensor *t = entry->tensor;
    if (j->saved == NULL || !entry->in_layer)
        return VD_OK;
    vd_status st = j->out != NULL ? vd_layered_enter(j->layered, (size_t)entry->layer, err)
                                  : vd_layered_visit(j->layered, (size_t)entry->layer, err);
    return st == VD_OK ? vd_layered_tell(j->layered, t->name, experts_of(t), (size_t)t->dim[0],
                                         j->saved, err)
                       : st;
}

static vd_status write_imatrix(const job *j, vd_err *err)
{
    const vd_calib_options *calib = &j->options->calib;
    size_t ctx = calib->ctx != 0 ? calib->ctx : (size_t)VD_CALIB_CTX;
    if (j->saved == NULL)
        return VD_OK;
    vd_imatrix_text text = {calib->path, vd_layered_n_tokens(j->layered) / ctx, ctx};
    return vd_imatrix_write(j->saved, j->options->save_imatrix, &text, err);
}

/* Only the importance file; all entries keep their types. */
static vd_status run_imatrix(job *j, const char *source, vd_compress_result *ret_result,
                             vd_err *err)
{
    size_t first = 0;
    vd_status st = vd_pool_create(j->options->n_threads, &j->pool, err);
    if (st == VD_OK)
        st = open_layers(j, source, j->options->save_imatrix, err);
    if (st == VD_OK)
        st = vd_job_keep(j, j->options->save_imatrix, err);
    if (st == VD_OK)
        st = vd_job_go_on(j, &first, err);
    for (size_t i = first; st == VD_OK && i < j->n_entries; i++) {
        st = vd_job_pause(j, i, err);
        if (st == VD_OK)
            st = save_importance(j, &j->entries[i], err);
    }
    if (st == VD_OK)
        st = write_imatrix(j, err);
    if (st == VD_OK)
        *ret_result = (vd_compress_result){.n_calib_tokens = vd_layered_n_tokens(j->layered),
                                           .n_weighted = vd_imatrix_n(j->saved),
                                           .file_bytes_before = vd_gguf_file_bytes(j->gguf),
                                           .n_threads = vd_pool_n_threads(j->pool)};
    return st;
}

/* The scales of the layer, which its norm needs before its matrices. */
static vd_status enter_awq(job *j, const vd_mix_entry *entry, vd_err *err)
{
    if (j->awq == NULL || entry->layer < 0)
        return VD_OK;
    vd_status st = vd_layered_enter(j->layered, (size_t)entry->layer, err);
    return st == VD_OK ? vd_awq_enter(j->awq, j->layered, (size_t)entry->layer, err) : st;
}

static vd_status run(job *j, const char *source, const char *target,
                     vd_compress_result *ret_result, vd_err *err)
{
    size_t first = 0;
    vd_status st = vd_pool_create(j->options->n_threads, &j->pool, err);
    if (st == VD_OK)
        st = take_buffers(j, err);
    if (st == VD_OK)
        st = vd_gguf_out_open(target, vd_gguf_alignment(j->gguf), &j->out, err);
    if (st == VD_OK)
        st = open_layers(j, source, target, err);
    if (st == VD_OK)
        st = vd_job_keep(j, target, err);
    if (st == VD_OK)
        st = write_head(j, err);
    if (st == VD_OK)
        st = vd_job_go_on(j, &first, err);
    for (size_t i = first; st == VD_OK && i < j->n_entries; i++) {
        const vd_mix_entry *entry = &j->entries[i];
        st = vd_job_pause(j, i, err);
        if (st == VD_OK)
            st = save_importance(j, entry, err);
        if (st == VD_OK)
            st = enter_awq(j, entry, err);
        if (st == VD_OK && scale_of(j, entry->tensor).norm != NULL)
            st = scale_norm(j, entry->tensor, err);
        else if (st == VD_OK)
            st = is_copied(j, entry) ? copy_tensor(j, entry->tensor, err)
                                     : convert_tensor(j, entry, err);
        if (entry->tensor->stored == NULL) /* else it was expanded, into memory */
            vd_mapping_drop(entry->tensor->data, (size_t)entry->tensor->n_bytes);
    }
    if (st == VD_OK)
        st = write_imatrix(j, err);
    if (st == VD_OK) {
        count(j, ret_result);
        st = vd_gguf_out_commit(j->out, err);
    }
    return st;
}

vd_status vd_compress_run(const char *source, const char *target,
                          const vd_compress_options *options, vd_compress_result *ret_result,
                          vd_err *err)
{
    job j = {.options = options};
    vd_compress_result result;
    vd_status st = vd_gguf_open(source, NULL, &j.gguf, err);
    if (st != VD_OK)
        return st;
    j.n_entries = vd_gguf_n_tensors(j.gguf);
    const char *files[] = {target, options->save_imatrix};
    for (size_t i = 0; i < VD_COUNT(files); i++)
        if (files[i] != NULL && vd_gguf_is_file(j.gguf, files[i])) {
            st = VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file",
                         files[i]);
            goto out;
        }
    if (j.n_entries == 0) {
        st = VD_FAIL(err, VD_ERR_ARG, "%s holds no tensors, only a vocabulary", source);
        goto out;
    }
    st = vd_alloc_array(j.n_entries, sizeof(*j.entries), "the list of tensors", &j.entries, err);
    if (st == VD_OK)
        st = vd_gguf_expand(j.gguf, err);
    if (st == VD_OK)
        st = vd_mix_choose(j.gguf, options->type, &options->mix, j.entries, err);
    if (st == VD_OK)
        st = check_types(&j, err);
    for (size_t i = 0; i < j.n_entries; i++)
        j.total += vd_gguf_tensor_at(j.gguf, i)->n_bytes;
    if (st == VD_OK)
        st = target != NULL ? run(&j, source, target, &result, err)
                            : run_imatrix(&j, source, &result, err);
    if (st == VD_OK) {
        *ret_result = result;
        ret_result->n_resumed = j.resumed;
    }
out:
    st = vd_job_say_kept(&j, st, err);
    vd_job_keep_end(&j, st == VD_OK);
    vd_gguf_out_free(j.out);
    vd_awq_free(j.awq);
    vd_layered_free(j.layered);
    vd_imatrix_free(j.saved);
    vd_pool_free(j.pool);
    vd_free(j.scratch);
    vd_free(j.buffer);
    vd_free(j.entries);
    vd_gguf_free(j.gguf);
    return st;
}
