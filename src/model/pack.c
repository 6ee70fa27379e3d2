/* pack.c - see pack.h. */
#include "model/pack.h"

#include <stdatomic.h>

#include "base/fail.h"
#include "base/file.h"
#include "kernels/sparse.h"

typedef struct pack_job {
    const vd_kernels *kernels;
    vd_precision precision;
    const vd_pack_task *task;
    size_t n_tasks;
    atomic_size_t next;
    atomic_bool failed;
    vd_err err; /* of the thread that set `failed` first */
    vd_status status;
} pack_job;

/* Rows that the file has sparse stay so; it is the loader's to expand what cannot. */
static vd_status run_sparse(const vd_pack_task *task, vd_err *err)
{
    const vd_gguf_tensor *tensor = task->tensor;
    size_t n_rows = (size_t)(tensor->dim[1] * tensor->dim[2] * tensor->dim[3]);
    vd_status st = vd_sparse_check(tensor->stored, (size_t)tensor->n_bytes, n_rows, task->n_cols,
                                   task->first_row, task->n_rows, err);
    if (st == VD_OK)
        st = vd_weight_prepare_sparse(tensor->stored, task->n_cols, task->first_row, task->n_rows,
                                      task->weight, err);
    if (st == VD_OK)
        vd_mapping_drop(tensor->stored, (size_t)tensor->n_bytes);
    else
        vd_err_prefix(err, "tensor %.*s", (int)tensor->name.n, tensor->name.data);
    return st;
}

static vd_status run_task(const pack_job *job, const vd_pack_task *task, vd_err *err)
{
    const vd_gguf_tensor *tensor = task->tensor;
    if (tensor->data == NULL)
        return run_sparse(task, err);
    size_t row_bytes = 0; /* a type or width that has none is refused below */
    (void)vd_dtype_row_bytes(tensor->dtype, task->n_cols, &row_bytes);
    const unsigned char *rows = tensor->data + task->first_row * row_bytes;
    vd_status st = vd_weight_prepare(job->kernels, job->precision, (vd_dtype)tensor->dtype,
                                     task->n_rows, task->n_cols, rows, task->weight, err);
    /* Rows that were expanded lie in memory of ours: there they would be lost, and others may read
     * them (tied embeddings). */
    if (st == VD_OK && task->weight->packed != NULL && tensor->stored == NULL)
        vd_mapping_drop(rows, task->n_rows * row_bytes);
    return st;
}

static void pack_worker(void *ctx, size_t thread, size_t n_threads)
{
    pack_job *job = ctx;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= job->n_tasks || atomic_load_explicit(&job->failed, memory_order_acquire))
            return;
        vd_err err = {0};
        vd_status st = run_task(job, &job->task[i], &err);
        bool no = false;
        if (st != VD_OK && atomic_compare_exchange_strong(&job->failed, &no, true)) {
            job->err = err;
            job->status = st;
        }
    }
}

vd_status vd_pack_run(const vd_kernels *kernels, vd_precision precision, vd_pool *pool,
                      const vd_pack_task *task, size_t n_tasks, vd_err *err)
{
    pack_job job = {
        .kernels = kernels, .precision = precision, .task = task, .n_tasks = n_tasks};
    vd_pool_run(pool, pack_worker, &job);
    if (!atomic_load(&job.failed))
        return VD_OK;
    if (err != NULL)
        *err = job.err;
    return job.status;
}
