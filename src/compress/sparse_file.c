/* sparse_file.c - see sparse_file.h. */
#include "compress/sparse_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "kernels/sparse.h"
#include "model/gguf_sparse.h"
#include "model/gguf_write.h"

enum { DTYPE_I8 = 24, VERSION = 1, NAME_MAX_BYTES = 63, PIECE_BYTES = 8 << 20 };

typedef struct job {
    const vd_compress_options *options;
    const vd_gguf *gguf;
    size_t *sparse_bytes; /* of each tensor; 0: it stays dense */
    size_t n_sparse;
    uint64_t saved;
    vd_gguf_out *out;
} job;

/* Rows of all matrices that lie one behind the other must be whole groups. */
bool vd_sparse_file_can(const vd_gguf_tensor *t)
{
    return t->n_dims >= 2 && (t->n_dims == 2 || t->dim[1] % VD_GROUP == 0) &&
           t->name.n + sizeof VD_GGUF_SPARSE_SUFFIX - 1 <= NAME_MAX_BYTES &&
           !vd_str_is(t->name, "token_embd.weight") &&
           vd_sparse_can(VD_DTYPE_Q8_0, (size_t)t->dim[0]);
}

/* Its name in one list and its shape in the other; the entry's longer name, but one dimension. */
size_t vd_sparse_file_head_bytes(const vd_gguf_tensor *t)
{
    return 8 + t->name.n + 4 * sizeof(int32_t) + sizeof VD_GGUF_SPARSE_SUFFIX - 1 -
           8 * ((size_t)t->n_dims - 1);
}

static vd_status choose(job *j, vd_err *err)
{
    size_t n = vd_gguf_n_tensors(j->gguf);
    vd_status st = vd_alloc_array(n, sizeof(*j->sparse_bytes), "sizes", &j->sparse_bytes, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(j->gguf, i);
        j->sparse_bytes[i] = 0;
        if (t->dtype != VD_DTYPE_Q8_0 || !vd_sparse_file_can(t))
            continue;
        size_t bytes = vd_sparse_bytes(VD_DTYPE_Q8_0, t->data, vd_gguf_tensor_rows(t),
                                       (size_t)t->dim[0]);
        if (bytes >= t->n_bytes)
            continue;
        j->sparse_bytes[i] = bytes;
        j->saved += t->n_bytes - bytes;
        j->n_sparse++;
    }
    if (st == VD_OK && j->n_sparse == 0)
        return VD_FAIL(err, VD_ERR_ARG, "no matrix in Q8_0 has zeros enough to be smaller in the "
                       "sparse form: that takes more than an eighth of its weights. Prune at a "
                       "keep-rate of 0.7 or less, with --quant Q8_0");
    return st;
}

static void write_lists(job *j)
{
    vd_gguf_out_u32(j->out, VD_GGUF_SPARSE_VERSION, VERSION);
    vd_gguf_out_array(j->out, VD_GGUF_SPARSE_TENSORS, VD_GGUF_TYPE_STRING, j->n_sparse);
    for (size_t i = 0; i < vd_gguf_n_tensors(j->gguf); i++)
        if (j->sparse_bytes[i] != 0)
            vd_gguf_out_item_str(j->out, vd_gguf_tensor_at(j->gguf, i)->name);
    vd_gguf_out_array(j->out, VD_GGUF_SPARSE_SHAPES, VD_GGUF_TYPE_I32, 4 * j->n_sparse);
    for (size_t i = 0; i < vd_gguf_n_tensors(j->gguf); i++)
        for (size_t d = 0; j->sparse_bytes[i] != 0 && d < 4; d++)
            vd_gguf_out_item_i32(j->out, (int32_t)vd_gguf_tensor_at(j->gguf, i)->dim[d]);
}

static vd_status write_head(job *j, vd_err *err)
{
    for (size_t i = 0; i < vd_gguf_n_kv(j->gguf); i++)
        vd_gguf_out_kv(j->out, vd_gguf_kv_at(j->gguf, i));
    write_lists(j);
    for (size_t i = 0; i < vd_gguf_n_tensors(j->gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(j->gguf, i);
        char name[NAME_MAX_BYTES + 1];
        uint64_t n_bytes = j->sparse_bytes[i];
        if (n_bytes == 0) {
            vd_gguf_out_tensor(j->out, t->name, t->dtype, t->n_dims, t->dim);
            continue;
        }
        int n = snprintf(name, sizeof(name), "%.*s" VD_GGUF_SPARSE_SUFFIX, (int)t->name.n,
                         t->name.data);
        vd_gguf_out_tensor(j->out, (vd_str){name, (size_t)n}, DTYPE_I8, 1, &n_bytes);
    }
    return vd_gguf_out_begin(j->out, err);
}

static vd_status write_tensor(job *j, const vd_gguf_tensor *t, size_t sparse_bytes, vd_err *err)
{
    if (sparse_bytes == 0) {
        vd_status st = VD_OK;
        for (uint64_t at = 0; st == VD_OK && at < t->n_bytes; at += PIECE_BYTES)
            st = vd_gguf_out_data(j->out, t->data + at,
                                  (size_t)VD_MIN(t->n_bytes - at, (uint64_t)PIECE_BYTES), err);
        return st;
    }
    void *packed = vd_alloc_aligned(sparse_bytes, 64);
    if (packed == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu bytes of sparse weights",
                       sparse_bytes);
    vd_sparse_pack(vd_kernels_get(), VD_DTYPE_Q8_0, t->data, vd_gguf_tensor_rows(t),
                   (size_t)t->dim[0], packed);
    vd_status st = vd_gguf_out_data(j->out, packed, sparse_bytes, err);
    vd_free(packed);
    return st;
}

/* The dense file `gguf` to `target`. */
static vd_status write_sparse(const vd_gguf *gguf, const char *target,
                              const vd_compress_options *options, vd_compress_result *result,
                              vd_err *err)
{
    job j = {.options = options, .gguf = gguf};
    uint64_t done = 0, total = vd_gguf_file_bytes(gguf);
    vd_status st = choose(&j, err);
    if (st == VD_OK)
        st = vd_gguf_out_open(target, vd_gguf_alignment(gguf), &j.out, err);
    if (st == VD_OK)
        st = write_head(&j, err);
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        st = write_tensor(&j, t, j.sparse_bytes[i], err);
        done += t->n_bytes;
        if (st == VD_OK && options->progress != NULL &&
            !options->progress(options->ctx, done, total, t->name))
            st = VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    }
    if (st == VD_OK)
        st = vd_gguf_out_commit(j.out, err);
    if (st == VD_OK) {
        result->file_bytes_after = vd_gguf_out_file_bytes(j.out);
        result->after[VD_DTYPE_Q8_0].n_bytes -= j.saved;
        result->n_sparse = j.n_sparse;
    }
    vd_gguf_out_free(j.out);
    vd_free(j.sparse_bytes);
    return st;
}

/* Not over the source, nor to a device: the dense file lies in the folder of the target, without a
 * name. */
static vd_status check_target(const char *source, const char *target, vd_err *err)
{
    struct stat info;
    vd_gguf *gguf = NULL;
    if (stat(target, &info) == 0 && !S_ISREG(info.st_mode))
        return VD_FAIL(err, VD_ERR_ARG, "%s is no ordinary file, which the sparse form needs",
                       target);
    vd_status st = vd_gguf_open(source, &(vd_gguf_options){.metadata_only = true}, &gguf, err);
    if (st == VD_OK && vd_gguf_is_file(gguf, target))
        st = VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file", target);
    vd_gguf_free(gguf);
    return st;
}

vd_status vd_compress_run_sparse(const char *source, const char *target,
                                 const vd_compress_options *options,
                                 vd_compress_result *ret_result, vd_err *err)
{
    vd_compress_result result;
    vd_compress_options dense = *options;
    vd_gguf *gguf = NULL;
    int fd = -1;
    dense.ret_fd = &fd;
    vd_status st = check_target(source, target, err);
    if (st == VD_OK)
        st = vd_compress_run(source, target, &dense, &result, err);
    if (st == VD_OK) {
        char name[32];
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        st = vd_gguf_open(name, NULL, &gguf, err);
        close(fd); /* it is mapped */
    }
    if (st == VD_OK)
        st = write_sparse(gguf, target, options, &result, err);
    if (st == VD_OK)
        *ret_result = result;
    vd_gguf_free(gguf);
    return st;
}
