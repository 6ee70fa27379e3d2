/* compress_rows.c - see compress_internal.h: rows of a tensor on their way to the new file. */
#include "base/checked.h"
#include "base/fail.h"
#include "compress/compress_internal.h"

typedef vd_compress_job job;

vd_status vd_job_tell_bytes(job *j, const vd_gguf_tensor *tensor, size_t n_bytes, vd_err *err)
{
    const vd_compress_options *o = j->options;
    if (j->layered == NULL || !vd_layered_walks(j->layered))
        j->done += n_bytes;
    if (o->progress != NULL && !o->progress(o->ctx, j->done, j->total, tensor->name))
        return VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    return VD_OK;
}

size_t vd_job_rows_per_piece(size_t src_bytes, size_t dst_bytes)
{
    return VD_MAX(VD_JOB_PIECE_BYTES / VD_MAX(VD_MAX(src_bytes, dst_bytes), 1), 1);
}

vd_status vd_job_put_rows(job *j, const vd_gguf_tensor *tensor, const vd_piece *p, vd_err *err)
{
    if (j->layered != NULL)
        vd_layered_embeddings(j->layered, tensor->name, p->first_row, p->dst, p->n_rows);
    return vd_job_put(j, p->dst, p->n_rows * p->dst_bytes, err);
}

vd_status vd_job_convert_rows(job *j, const vd_gguf_tensor *tensor, vd_piece *p, vd_err *err)
{
    size_t n_rows = vd_gguf_tensor_rows(tensor);
    size_t step = vd_job_rows_per_piece(p->src_bytes, p->dst_bytes);
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
            st = vd_job_put_rows(j, tensor, p, err);
        if (st == VD_OK)
            st = vd_job_tell_bytes(j, tensor, p->n_rows * p->src_bytes, err);
    }
    return st;
}

vd_awq_scale vd_job_scale(const job *j, const vd_gguf_tensor *tensor)
{
    return j->awq != NULL ? vd_awq_find(j->awq, tensor->name) : (vd_awq_scale){NULL, NULL, NULL};
}
