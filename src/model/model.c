/* model.c - opening a model: find the architecture, check every tensor, prepare the weights. */
#include "model/model.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { ARENA_LIMIT = 1 << 30, MATRICES_PER_LAYER = 7, NAME_MAX_BYTES = 64 };

/* A tensor of the file by name; with layer >= 0 the name is "blk.<layer>.<suffix>". */
static const vd_gguf_tensor *find(const vd_model *model, int layer, const char *suffix,
                                  char name[NAME_MAX_BYTES])
{
    if (layer >= 0)
        snprintf(name, NAME_MAX_BYTES, "blk.%d.%s", layer, suffix);
    else
        snprintf(name, NAME_MAX_BYTES, "%s", suffix);
    return vd_gguf_find_tensor(model->gguf, name);
}

static vd_status check_tensor(const vd_gguf_tensor *tensor, const char *name, size_t n_cols,
                              size_t n_rows, vd_err *err)
{
    if (tensor == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s is missing", name);
    if (!vd_dtype_decodable(tensor->dtype))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "tensor %s has type %s, which we cannot compute with yet", name,
                       vd_dtype_name(tensor->dtype));
    if (tensor->dim[0] != n_cols || tensor->dim[1] != n_rows || tensor->dim[2] != 1 ||
        tensor->dim[3] != 1)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "tensor %s has shape [%llu, %llu, %llu, %llu], expected [%zu, %zu, 1, 1]",
                       name, (unsigned long long)tensor->dim[0],
                       (unsigned long long)tensor->dim[1], (unsigned long long)tensor->dim[2],
                       (unsigned long long)tensor->dim[3], n_cols, n_rows);
    return VD_OK;
}

/* A vector as f32 in the arena. Optional ones that are absent give NULL. */
static vd_status load_vector(vd_model *model, int layer, const char *suffix, size_t n,
                             bool optional, const float **ret, vd_err *err)
{
    char name[NAME_MAX_BYTES];
    const vd_gguf_tensor *tensor = find(model, layer, suffix, name);
    if (tensor == NULL && optional)
        return VD_OK;
    vd_status st = check_tensor(tensor, name, n, 1, err);
    if (st != VD_OK)
        return st;
    float *values = NULL;
    st = vd_arena_array(&model->arena, n, sizeof(float), name, &values, err);
    if (st != VD_OK)
        return st;
    vd_dtype_decode((vd_dtype)tensor->dtype, tensor->data, values, n);
    *ret = values;
    return VD_OK;
}

/* What one packing task is about; tasks are shared out among the pool's threads. */
typedef struct pack_task {
    vd_weight *weight;
    const vd_gguf_tensor *tensor;
    size_t n_rows, n_cols;
} pack_task;

typedef struct pack_job {
    const vd_model *model;
    pack_task *task;
    size_t n_tasks;
    atomic_size_t next;
    atomic_bool failed;
    vd_err err; /* of the thread that set `failed` first */
    vd_status status;
} pack_job;

/* Rows that were packed are not read again: their pages go back to the page cache. */
static void drop_pages(const void *data, size_t n_bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + n_bytes) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static void pack_worker(void *ctx, size_t thread, size_t n_threads)
{
    pack_job *job = ctx;
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= job->n_tasks || atomic_load_explicit(&job->failed, memory_order_acquire))
            return;
        const pack_task *task = &job->task[i];
        vd_err err = {0};
        vd_status st = vd_weight_prepare(job->model->kernels, job->model->precision,
                                         (vd_dtype)task->tensor->dtype, task->n_rows, task->n_cols,
                                         task->tensor->data, task->weight, &err);
        bool no = false;
        if (st != VD_OK && atomic_compare_exchange_strong(&job->failed, &no, true)) {
            job->err = err;
            job->status = st;
        }
        if (st == VD_OK && task->weight->packed != NULL)
            drop_pages(task->tensor->data, (size_t)task->tensor->n_bytes);
    }
}

static vd_status add_task(vd_model *model, pack_job *job, int layer, const char *suffix,
                          size_t n_cols, size_t n_rows, vd_weight *weight, vd_err *err)
{
    char name[NAME_MAX_BYTES];
    const vd_gguf_tensor *tensor = find(model, layer, suffix, name);
    vd_status st = check_tensor(tensor, name, n_cols, n_rows, err);
    if (st != VD_OK)
        return st;
    job->task[job->n_tasks++] = (pack_task){weight, tensor, n_rows, n_cols};
    return VD_OK;
}

static vd_status load_layer(vd_model *model, pack_job *job, size_t index, vd_err *err)
{
    const vd_hparams *hp = &model->hp;
    vd_layer *layer = &model->layer[index];
    int i = (int)index;
    size_t c = hp->n_embd, d = hp->head_dim, q_dim = hp->n_head * d, kv_dim = hp->n_kv_head * d;
    layer->local = vd_hparams_layer_is_local(hp, index);
    layer->rope = layer->local ? &model->rope_local : &model->rope;
    const struct {
        const char *suffix;
        size_t n;
        bool wanted;
        const float **to;
    } vectors[] = {
        {"attn_norm.weight", c, true, &layer->attn_norm},
        {"ffn_norm.weight", c, true, &layer->ffn_norm},
        {"post_attention_norm.weight", c, hp->post_norms, &layer->attn_post_norm},
        {"post_ffw_norm.weight", c, hp->post_norms, &layer->ffn_post_norm},
        {"attn_q_norm.weight", d, hp->qk_norm, &layer->q_norm},
        {"attn_k_norm.weight", d, hp->qk_norm, &layer->k_norm},
    };
    const struct {
        const char *suffix;
        size_t n_cols, n_rows;
        vd_weight *to;
    } matrices[MATRICES_PER_LAYER] = {
        {"attn_q.weight", c, q_dim, &layer->q},   {"attn_k.weight", c, kv_dim, &layer->k},
        {"attn_v.weight", c, kv_dim, &layer->v},  {"attn_output.weight", q_dim, c, &layer->o},
        {"ffn_gate.weight", c, hp->n_ff, &layer->gate}, {"ffn_up.weight", c, hp->n_ff, &layer->up},
        {"ffn_down.weight", hp->n_ff, c, &layer->down},
    };
    vd_status st = VD_OK;
    for (size_t j = 0; st == VD_OK && j < VD_COUNT(vectors); j++)
        if (vectors[j].wanted)
            st = load_vector(model, i, vectors[j].suffix, vectors[j].n, false, vectors[j].to, err);
    for (size_t j = 0; st == VD_OK && j < VD_COUNT(matrices); j++)
        st = add_task(model, job, i, matrices[j].suffix, matrices[j].n_cols, matrices[j].n_rows,
                      matrices[j].to, err);
    return st;
}

/* Tensors that change the result but that we do not read must not be passed over in silence. */
static vd_status refuse_unread(const vd_model *model, vd_err *err)
{
    static const char *const unread[] = {"attn_q.bias", "attn_k.bias",      "attn_v.bias",
                                         "attn_output.bias", "ffn_gate_inp.weight", "ffn_up.bias"};
    char name[NAME_MAX_BYTES];
    for (size_t i = 0; i < VD_COUNT(unread); i++)
        if (find(model, 0, unread[i], name) != NULL)
            return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                           "tensor %s belongs to a variant of architecture %s that we lack", name,
                           model->arch->name);
    return VD_OK;
}

static vd_status load_rope(vd_model *model, vd_err *err)
{
    const float *factors = NULL;
    vd_status st = load_vector(model, -1, "rope_freqs.weight", model->hp.rope.n_rot / 2, true,
                               &factors, err);
    if (st == VD_OK)
        st = vd_rope_init(&model->hp.rope, factors, &model->arena, &model->rope, err);
    if (st == VD_OK)
        st = vd_rope_init(&model->hp.rope_local, NULL, &model->arena, &model->rope_local, err);
    return st;
}

static vd_status load_weights(vd_model *model, vd_pool *pool, vd_err *err)
{
    const vd_hparams *hp = &model->hp;
    pack_job job = {.model = model};
    char name[NAME_MAX_BYTES];
    vd_status st = vd_alloc_array(hp->n_layer * MATRICES_PER_LAYER + 1, sizeof(pack_task),
                                  "packing tasks", &job.task, err);
    if (st != VD_OK)
        return st;
    model->embed = find(model, -1, "token_embd.weight", name);
    st = check_tensor(model->embed, name, hp->n_embd, hp->n_vocab, err);
    if (st != VD_OK)
        goto out;
    if (!vd_dtype_row_bytes(model->embed->dtype, hp->n_embd, &model->embed_row_bytes)) {
        st = VD_FAIL(err, VD_ERR_FORMAT, "tensor %s: a row of %zu values is no whole block", name,
                     hp->n_embd);
        goto out;
    }
    bool tied = find(model, -1, "output.weight", name) == NULL;
    st = add_task(model, &job, -1, tied ? "token_embd.weight" : "output.weight", hp->n_embd,
                  hp->n_vocab, &model->output, err);
    if (st == VD_OK)
        st = load_vector(model, -1, "output_norm.weight", hp->n_embd, false, &model->output_norm,
                         err);
    if (st == VD_OK)
        st = load_rope(model, err);
    if (st == VD_OK)
        st = refuse_unread(model, err);
    for (size_t i = 0; st == VD_OK && i < hp->n_layer; i++)
        st = load_layer(model, &job, i, err);
    if (st != VD_OK)
        goto out;
    vd_pool_run(pool, pack_worker, &job);
    if (atomic_load(&job.failed)) {
        st = job.status;
        if (err != NULL)
            *err = job.err;
        goto out;
    }
    for (size_t i = 0; i < job.n_tasks; i++) {
        const vd_weight *w = job.task[i].weight;
        model->weight_bytes +=
            w->packed != NULL ? w->packed_bytes : (size_t)job.task[i].tensor->n_bytes;
    }
out:
    vd_free(job.task);
    return st;
}

static size_t count_params(const vd_gguf *gguf)
{
    size_t total = 0;
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        total += (size_t)(t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]);
    }
    return total;
}

vd_status vd_model_open(const char *path, vd_precision precision, vd_pool *pool,
                        vd_model **ret_model, vd_err *err)
{
    vd_model *model = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*model), "the model", &model, err);
    if (st != VD_OK)
        return st;
    vd_arena_init(&model->arena, ARENA_LIMIT);
    model->kernels = vd_kernels_get();
    model->precision = precision;
    st = vd_gguf_open(path, NULL, &model->gguf, err);
    if (st != VD_OK)
        goto out;
    st = vd_arch_find(model->gguf, &model->arch, err);
    if (st == VD_OK)
        st = model->arch->read(model->gguf, &model->hp, err);
    if (st != VD_OK)
        goto out;
    if (model->hp.n_vocab == 0) {
        st = VD_FAIL(err, VD_ERR_FORMAT,
                     "tensor token_embd.weight is missing or its vocabulary too large: the file "
                     "holds no weights to run");
        goto out;
    }
    st = vd_arena_array(&model->arena, model->hp.n_layer, sizeof(vd_layer), "layers",
                        &model->layer, err);
    if (st == VD_OK)
        st = load_weights(model, pool, err);
    if (st != VD_OK)
        goto out;
    model->n_params = count_params(model->gguf);
    *ret_model = model;
    model = NULL;
out:
    if (st != VD_OK)
        vd_err_prefix(err, "%s", path);
    vd_model_free(model);
    return st;
}

void vd_model_free(vd_model *model)
{
    if (model == NULL)
        return;
    for (size_t i = 0; model->layer != NULL && i < model->hp.n_layer; i++) {
        vd_layer *l = &model->layer[i];
        vd_weight *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < VD_COUNT(all); j++)
            vd_weight_done(all[j]);
    }
    vd_weight_done(&model->output);
    vd_gguf_free(model->gguf);
    vd_arena_done(&model->arena);
    vd_free(model);
}

void vd_model_embed(const vd_model *model, int32_t token, float *x)
{
    size_t c = model->hp.n_embd;
    vd_dtype_decode((vd_dtype)model->embed->dtype,
                    model->embed->data + (size_t)token * model->embed_row_bytes, x, c);
    if (model->hp.embed_scale != 1)
        for (size_t i = 0; i < c; i++)
            x[i] *= model->hp.embed_scale;
}
