/* compress_calib.c - see compress_internal.h: what a run knows of what matrices read. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/compress_internal.h"
#include "compress/folder.h"

typedef vd_compress_job job;

static bool on_walk(void *ctx, size_t layer, size_t done, size_t total)
{
    job *j = ctx;
    const vd_compress_options *o = j->options;
    char note[32] = "output";
    size_t n = strlen(note);
    j->total = total;
    j->done = done;
    if (layer != VD_WALK_HEAD) {
        n = (size_t)snprintf(note, sizeof(note), "layer %zu", layer);
        j->total *= j->n_layer;
        j->done += (uint64_t)layer * total;
    }
    return o->progress == NULL || o->progress(o->ctx, j->done, j->total, (vd_str){note, n});
}

/* Each size now and not after half of the work, and whether it is of this model at all. */
static vd_status check_imatrix(job *j, vd_err *err)
{
    size_t n_known = 0;
    const vd_mix_entry *unknown = NULL; /* the first that must be known */
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < j->n_entries; i++) {
        const vd_gguf_tensor *t = j->entries[i].tensor;
        float *means = NULL;
        st = vd_layered_importance(j->layered, t->name, vd_gguf_tensor_experts(t),
                                   (size_t)t->dim[0], &means, err);
        n_known += means != NULL;
        if (means == NULL && unknown == NULL && vd_job_needs_weights(j, &j->entries[i]))
            unknown = &j->entries[i];
        vd_free(means);
    }
    if (st == VD_OK && n_known == 0)
        st = VD_FAIL(err, VD_ERR_ARG, "%s knows none of the model's tensors", j->options->imatrix);
    if (st == VD_OK && unknown != NULL)
        st = vd_mix_refuse_unweighted(unknown, j->options->imatrix, NULL, err);
    return st;
}

/* The matrix that logits come from: a file without it has the embeddings serve for both. */
static const vd_mix_entry *find_head(const job *j)
{
    const vd_mix_entry *embed = NULL;
    for (size_t i = 0; i < j->n_entries; i++) {
        if (vd_str_is(j->entries[i].tensor->name, "output.weight"))
            return &j->entries[i];
        if (vd_str_is(j->entries[i].tensor->name, "token_embd.weight"))
            embed = &j->entries[i];
    }
    return embed;
}

vd_status vd_job_open_layers(job *j, const char *source, const char *target, vd_err *err)
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
    const vd_mix_entry *head = find_head(j);
    layers.walk.head = head != NULL && (o->save_imatrix != NULL || !vd_job_copies(j, head));
    for (size_t i = 0; i < j->n_entries; i++) {
        j->n_layer = VD_MAX(j->n_layer, (size_t)(j->entries[i].layer + 1));
        if (vd_str_is(j->entries[i].tensor->name, "token_embd.weight"))
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

static vd_status save_importance(job *j, const vd_mix_entry *entry, vd_err *err)
{
    const vd_gguf_tensor *t = entry->tensor;
    vd_status st = VD_OK;
    if (j->saved == NULL || (entry->layer >= 0 && !entry->in_layer))
        return VD_OK;
    if (entry->layer >= 0)
        st = j->out != NULL ? vd_layered_enter(j->layered, (size_t)entry->layer, err)
                            : vd_layered_visit(j->layered, (size_t)entry->layer, err);
    if (st == VD_OK)
        st = vd_layered_tell(j->layered, t->name, vd_gguf_tensor_experts(t), (size_t)t->dim[0],
                             j->saved, err);
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

vd_status vd_job_enter(job *j, const vd_mix_entry *entry, vd_err *err)
{
    vd_status st = save_importance(j, entry, err);
    return st == VD_OK ? enter_awq(j, entry, err) : st;
}

vd_status vd_job_write_imatrix(const job *j, vd_err *err)
{
    const vd_calib_options *calib = &j->options->calib;
    size_t ctx = calib->ctx != 0 ? calib->ctx : (size_t)VD_CALIB_CTX;
    if (j->saved == NULL)
        return VD_OK;
    vd_imatrix_text text = {calib->path, vd_layered_n_tokens(j->layered) / ctx, ctx};
    return vd_imatrix_write(j->saved, j->options->save_imatrix, &text, err);
}

vd_status vd_job_run_imatrix(job *j, const char *source, vd_compress_result *ret_result,
                             vd_err *err)
{
    size_t first = 0;
    vd_status st = vd_pool_create(j->options->n_threads, &j->pool, err);
    if (st == VD_OK)
        st = vd_job_open_layers(j, source, j->options->save_imatrix, err);
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
        st = vd_job_write_imatrix(j, err);
    if (st == VD_OK)
        *ret_result = (vd_compress_result){.n_calib_tokens = vd_layered_n_tokens(j->layered),
                                           .n_weighted = vd_imatrix_n(j->saved),
                                           .file_bytes_before = vd_gguf_file_bytes(j->gguf),
                                           .n_threads = vd_pool_n_threads(j->pool)};
    return st;
}
