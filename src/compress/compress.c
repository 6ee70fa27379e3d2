/* compress.c - see compress.h. */
#include "compress/compress.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "compress/compress_internal.h"
#include "compress/encode.h"
#include "model/gguf_sparse.h"

enum { QUANTIZATION_VERSION = 2 };

typedef vd_compress_job job;

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
                                         vd_gguf_tensor_rows(j->entries[i].tensor);
    for (uint32_t i = 0; i < VD_DTYPE_LIMIT; i++)
        most = n_values[i] > n_values[most] ? i : most;
    return vd_filetype_of(most);
}

/* Metadata and the tensor table. */
static vd_status write_head(job *j, vd_err *err)
{
    static const char version[] = "general.quantization_version", type[] = "general.file_type";
    const vd_filetype *mostly = filetype_of(j);
    for (size_t i = 0; i < vd_gguf_n_kv(j->gguf); i++) {
        const vd_gguf_kv *kv = vd_gguf_kv_at(j->gguf, i);
        bool retyped = mostly != NULL && (vd_str_is(kv->key, version) || vd_str_is(kv->key, type));
        if (!retyped && !vd_str_starts(kv->key, "split.") &&
            !vd_str_starts(kv->key, VD_GGUF_SPARSE_PREFIX))
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

static void count(const job *j, vd_compress_result *result)
{
    *result = (vd_compress_result){.file_bytes_before = vd_gguf_file_bytes(j->gguf),
                                   .file_bytes_after = vd_gguf_out_file_bytes(j->out),
                                   .n_threads = vd_pool_n_threads(j->pool),
                                   .n_calib_tokens = j->layered != NULL
                                                         ? vd_layered_n_tokens(j->layered)
                                                         : 0,
                                   .n_weighted = j->n_weighted,
                                   .n_rounded = j->n_rounded,
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
        result->after[entry->dtype].n_bytes += row * vd_gguf_tensor_rows(t);
        result->n_values += t->dim[0] * vd_gguf_tensor_rows(t);
        result->n_fell_back += entry->fell_back;
        result->n_requantized += !vd_job_copies(j, entry) && vd_dtype_get(t->dtype)->block > 1;
    }
}

/* What is edited must be written anew, in a type that can be. */
static vd_status check_types(const job *j, vd_err *err)
{
    for (size_t i = 0; i < j->n_entries; i++) {
        const vd_mix_entry *entry = &j->entries[i];
        if (vd_job_edits(j, entry) && !vd_encodable(entry->dtype))
            return VD_FAIL(err, VD_ERR_ARG, "tensor %.*s is %s, which can be read but not "
                           "written; give it another type with --quant",
                           (int)entry->tensor->name.n, entry->tensor->name.data,
                           vd_dtype_name(entry->dtype));
        if (entry->keep < 1 && j->options->calib.path == NULL && j->options->imatrix == NULL)
            return VD_FAIL(err, VD_ERR_ARG, "keep-rates of tensors need --calib or --imatrix");
        if (vd_job_needs_weights(j, entry) && j->options->calib.path == NULL &&
            j->options->imatrix == NULL)
            return vd_mix_refuse_unweighted(entry, NULL, NULL, err);
    }
    return VD_OK;
}

static vd_status run(job *j, const char *source, const char *target,
                     vd_compress_result *ret_result, vd_err *err)
{
    size_t first = 0;
    vd_status st = vd_pool_create(j->options->n_threads, &j->pool, err);
    if (st == VD_OK)
        st = vd_job_take_buffers(j, err);
    if (st == VD_OK)
        st = vd_gguf_out_open(target, vd_gguf_alignment(j->gguf), &j->out, err);
    if (st == VD_OK)
        st = vd_job_open_layers(j, source, target, err);
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
            st = vd_job_enter(j, entry, err);
        if (st == VD_OK)
            st = vd_job_write(j, entry, err);
        if (entry->tensor->stored == NULL) /* else it was expanded, into memory */
            vd_mapping_drop(entry->tensor->data, (size_t)entry->tensor->n_bytes);
    }
    if (st == VD_OK)
        st = vd_job_write_imatrix(j, err);
    if (st == VD_OK) {
        count(j, ret_result);
        st = j->options->ret_fd != NULL ? vd_gguf_out_take(j->out, j->options->ret_fd, err)
                                        : vd_gguf_out_commit(j->out, err);
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
    if (options->save_imatrix != NULL) /* now, not behind the last layer */
        st = vd_atomic_file_check(options->save_imatrix, err);
    if (st != VD_OK)
        goto out;
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
                            : vd_job_run_imatrix(&j, source, &result, err);
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
