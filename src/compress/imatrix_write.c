/* imatrix_write.c - see imatrix.h: the two forms of the file. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "compress/imatrix_internal.h"
#include "model/gguf_write.h"

static vd_status name_with(const vd_imatrix_entry *entry, const char *ending, char **ret,
                           vd_err *err)
{
    size_t n = strlen(entry->name) + strlen(ending) + 1;
    vd_status st = vd_alloc_array(n, 1, "a name", ret, err);
    if (st == VD_OK)
        snprintf(*ret, n, "%s%s", entry->name, ending);
    return st;
}

static vd_status add_tensor(vd_gguf_out *out, const vd_imatrix_entry *e, const char *ending,
                            size_t n_cols, vd_err *err)
{
    char *name = NULL;
    uint64_t dim[4] = {n_cols, e->n_counts, 1, 1};
    vd_status st = name_with(e, ending, &name, err);
    if (st == VD_OK)
        vd_gguf_out_tensor(out, (vd_str){name, strlen(name)}, VD_DTYPE_F32, 2, dim);
    vd_free(name);
    return st;
}

/* f32 is little-endian in the file, as on the machines that we run on. */
static vd_status write_gguf(const vd_imatrix *m, const char *path, const vd_imatrix_text *text,
                            vd_err *err)
{
    vd_gguf_out *out = NULL;
    vd_status st = vd_gguf_out_open(path, 32, &out, err);
    if (st != VD_OK)
        return st;
    vd_gguf_out_str(out, "general.type", "imatrix");
    vd_gguf_out_array(out, "imatrix.datasets", VD_GGUF_TYPE_STRING, 1);
    vd_gguf_out_item_str(out, (vd_str){text->path, strlen(text->path)});
    vd_gguf_out_u32(out, "imatrix.chunk_count", (uint32_t)text->n_chunks);
    vd_gguf_out_u32(out, "imatrix.chunk_size", (uint32_t)text->ctx);
    for (size_t i = 0; st == VD_OK && i < m->n; i++) {
        const vd_imatrix_entry *e = &m->entry[i];
        st = add_tensor(out, e, ".in_sum2", e->n_sums / e->n_counts, err);
        if (st == VD_OK)
            st = add_tensor(out, e, ".counts", 1, err);
    }
    if (st == VD_OK)
        st = vd_gguf_out_begin(out, err);
    for (size_t i = 0; st == VD_OK && i < m->n; i++) {
        const vd_imatrix_entry *e = &m->entry[i];
        st = vd_gguf_out_data(out, e->sum, e->n_sums * sizeof(float), err);
        if (st == VD_OK)
            st = vd_gguf_out_data(out, e->count, e->n_counts * sizeof(float), err);
    }
    if (st == VD_OK)
        st = vd_gguf_out_commit(out, err);
    vd_gguf_out_free(out);
    return st;
}

static void put_i32(FILE *f, size_t value)
{
    unsigned char bytes[4] = {(unsigned char)value, (unsigned char)(value >> 8),
                              (unsigned char)(value >> 16), (unsigned char)(value >> 24)};
    fwrite(bytes, 1, sizeof(bytes), f);
}

/* In this form experts have no counts of their own: means times the chunks. */
static void put_dat(FILE *f, const vd_imatrix *m, const vd_imatrix_text *text)
{
    put_i32(f, m->n);
    for (size_t i = 0; i < m->n; i++) {
        const vd_imatrix_entry *e = &m->entry[i];
        put_i32(f, strlen(e->name));
        fwrite(e->name, 1, strlen(e->name), f);
        put_i32(f, text->n_chunks);
        put_i32(f, e->n_sums);
        for (size_t k = 0; k < e->n_sums; k++) {
            float count = e->count[k / (e->n_sums / e->n_counts)];
            float value = (count > 0 ? e->sum[k] / count : 1.0f) * (float)text->n_chunks;
            fwrite(&value, sizeof(value), 1, f);
        }
    }
    put_i32(f, text->n_chunks);
    put_i32(f, strlen(text->path));
    fwrite(text->path, 1, strlen(text->path), f);
}

static vd_status write_dat(const vd_imatrix *m, const char *path, const vd_imatrix_text *text,
                           vd_err *err)
{
    vd_atomic_file file;
    vd_status st = vd_atomic_file_open(path, &file, err);
    if (st != VD_OK)
        return st;
    put_dat(file.stream, m, text);
    st = vd_atomic_file_commit(&file, err); /* a failed write shows there */
    vd_atomic_file_done(&file);
    return st;
}

vd_status vd_imatrix_write(const vd_imatrix *imatrix, const char *path,
                           const vd_imatrix_text *text, vd_err *err)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".dat") == 0 ? write_dat(imatrix, path, text, err)
                                                      : write_gguf(imatrix, path, text, err);
}
