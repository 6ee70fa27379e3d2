/* compress.c - see compress.h. */
#include "compress/compress.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/pool.h"
#include "compress/encode.h"
#include "model/gguf_write.h"

enum { PIECE_BYTES = 8 << 20, QUANTIZATION_VERSION = 2 };

/* Rows [0, n_rows) of one piece of a tensor, taken one after the other by all threads. */
typedef struct piece {
    vd_dtype from, to;
    const unsigned char *src;
    unsigned char *dst;
    size_t n_rows, n_cols, src_bytes, dst_bytes; /* bytes: of a row */
    float *scratch; /* [n_threads][n_cols] */
    const vd_edit *edit; /* NULL: values stay */
    size_t first_row;    /* of the tensor's */
    atomic_size_t next;
    atomic_uint_fast64_t n_zeros_before, n_zeros_after;
    atomic_size_t bad_row; /* one that holds a value that cannot be; SIZE_MAX none */
    float bad_value;       /* of the thread that set bad_row */
} piece;

typedef struct job {
    const vd_compress_options *options;
    vd_gguf *gguf;
    vd_gguf_out *out;
    vd_pool *pool;
    vd_mix_entry *entries;
    size_t n_entries;
    float *scratch;
    unsigned char *buffer;
    uint64_t done, total; /* bytes of the source */
    uint64_t n_edited, n_zeros_before, n_zeros_after;
} job;

static bool is_edited(const job *j, const vd_mix_entry *entry)
{
    return entry->in_layer && vd_edit_wanted(&j->options->edit);
}

static bool is_copied(const job *j, const vd_mix_entry *entry)
{
    return entry->dtype == entry->tensor->dtype && !is_edited(j, entry);
}

/* The first value of a row that is not finite or too large; 0 when there is none. */
static float find_bad(const float *x, size_t n, float max)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= max))
            return x[i];
    return 0;
}

static size_t count_zeros(const float *x, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += x[i] == 0;
    return count;
}

static void edit_row(piece *p, size_t row, float *x)
{
    atomic_fetch_add_explicit(&p->n_zeros_before, count_zeros(x, p->n_cols), memory_order_relaxed);
    vd_edit_row(p->edit, p->first_row + row, x, p->n_cols);
}

static void encode_rows(void *ctx, size_t thread, size_t n_threads)
{
    piece *p = ctx;
    float *x = p->scratch + thread * p->n_cols, max = vd_encode_max(p->to);
    fenv_t before;
    vd_encode_floats_begin(&before);
    for (;;) {
        size_t row = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (row >= p->n_rows)
            break;
        vd_dtype_decode(p->from, p->src + row * p->src_bytes, x, p->n_cols);
        float bad = find_bad(x, p->n_cols, p->edit != NULL ? FLT_MAX : max);
        if (bad == 0.0f && p->edit != NULL) {
            edit_row(p, row, x);
            bad = find_bad(x, p->n_cols, max);
        }
        size_t none = SIZE_MAX;
        if (bad != 0.0f) {
            if (atomic_compare_exchange_strong(&p->bad_row, &none, row))
                p->bad_value = bad;
            break;
        }
        vd_encode_row(p->to, x, p->dst + row * p->dst_bytes, p->n_cols);
        if (p->edit != NULL) {
            vd_dtype_decode(p->to, p->dst + row * p->dst_bytes, x, p->n_cols);
            atomic_fetch_add_explicit(&p->n_zeros_after, count_zeros(x, p->n_cols),
                                      memory_order_relaxed);
        }
    }
    vd_encode_floats_end(&before);
}

static vd_status report(job *j, const vd_gguf_tensor *tensor, size_t n_bytes, vd_err *err)
{
    const vd_compress_options *o = j->options;
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
        st = vd_gguf_out_data(j->out, tensor->data + at, n, err);
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

/* How many rows go through the buffer at once. The larger side counts: eight megabytes of a small
 * type are many values, and nobody is asked whether to go on before they are done. */
static size_t rows_per_piece(size_t src_bytes, size_t dst_bytes)
{
    return VD_MAX(PIECE_BYTES / VD_MAX(VD_MAX(src_bytes, dst_bytes), 1), 1);
}

/* All rows of p's tensor through the buffer, piece by piece. */
static vd_status convert_rows(job *j, const vd_gguf_tensor *tensor, piece *p, vd_err *err)
{
    size_t n_rows = rows_of(tensor), step = rows_per_piece(p->src_bytes, p->dst_bytes);
    vd_status st = VD_OK;
    for (size_t first = 0; st == VD_OK && first < n_rows; first += step) {
        p->first_row = first;
        p->n_rows = VD_MIN(n_rows - first, step);
        p->src = tensor->data + first * p->src_bytes;
        atomic_init(&p->next, 0);
        atomic_init(&p->bad_row, SIZE_MAX);
        vd_pool_run(j->pool, encode_rows, p);
        size_t bad = atomic_load(&p->bad_row);
        if (bad != SIZE_MAX)
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %zu: the value %g %s",
                           (int)tensor->name.n, tensor->name.data, first + bad,
                           (double)p->bad_value,
                           isfinite(p->bad_value) ? "is too large for the type it shall have"
                                                  : "is no number to work with");
        st = vd_gguf_out_data(j->out, p->dst, p->n_rows * p->dst_bytes, err);
        if (st == VD_OK)
            st = report(j, tensor, p->n_rows * p->src_bytes, err);
    }
    return st;
}

static void tell_edited(job *j, const vd_gguf_tensor *tensor, piece *p)
{
    vd_compress_edited edited = {.name = tensor->name,
                                 .n_values = (uint64_t)rows_of(tensor) * p->n_cols,
                                 .n_zeros_before = atomic_load(&p->n_zeros_before),
                                 .n_zeros_after = atomic_load(&p->n_zeros_after),
                                 .clip = p->edit->clip};
    j->n_edited += edited.n_values;
    j->n_zeros_before += edited.n_zeros_before;
    j->n_zeros_after += edited.n_zeros_after;
    if (j->options->edited != NULL)
        j->options->edited(j->options->ctx, &edited);
}

static vd_status convert_tensor(job *j, const vd_mix_entry *entry, vd_err *err)
{
    const vd_gguf_tensor *tensor = entry->tensor;
    piece p = {.from = (vd_dtype)tensor->dtype, .to = (vd_dtype)entry->dtype,
               .dst = j->buffer, .n_cols = (size_t)tensor->dim[0], .scratch = j->scratch};
    vd_edit edit = {0};
    vd_err why = {0};
    vd_status st = VD_OK;
    if (!vd_dtype_row_bytes(p.from, p.n_cols, &p.src_bytes) ||
        !vd_dtype_row_bytes(p.to, p.n_cols, &p.dst_bytes))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s: its rows are no whole blocks",
                       (int)tensor->name.n, tensor->name.data);
    if (is_edited(j, entry)) {
        vd_scan scan = {.pool = j->pool, .scratch = j->scratch};
        vd_rows rows = {p.from, tensor->data, rows_of(tensor), p.n_cols, p.src_bytes};
        st = vd_edit_prepare(&j->options->edit, &scan, &rows, p.to, &edit, &why);
        if (st != VD_OK)
            st = VD_FAIL(err, st, "tensor %.*s: %s", (int)tensor->name.n, tensor->name.data,
                         why.message);
        p.edit = &edit;
    }
    if (st == VD_OK)
        st = convert_rows(j, tensor, &p, err);
    if (st == VD_OK && p.edit != NULL)
        tell_edited(j, tensor, &p);
    vd_edit_done(&edit);
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

/* Metadata and the tensor table. */
static vd_status write_head(job *j, vd_err *err)
{
    static const char version[] = "general.quantization_version", type[] = "general.file_type";
    for (size_t i = 0; i < vd_gguf_n_kv(j->gguf); i++) {
        const vd_gguf_kv *kv = vd_gguf_kv_at(j->gguf, i);
        bool retyped = j->options->type != NULL && (equals(kv->key, version) ||
                                                    equals(kv->key, type));
        if (!retyped && !starts_with(kv->key, "split."))
            vd_gguf_out_kv(j->out, kv);
    }
    if (j->options->type != NULL) {
        vd_gguf_out_u32(j->out, version, QUANTIZATION_VERSION);
        vd_gguf_out_u32(j->out, type, j->options->type->number);
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
    }
    return VD_OK;
}

static vd_status run(job *j, const char *target, vd_compress_result *ret_result, vd_err *err)
{
    vd_status st = vd_pool_create(j->options->n_threads, &j->pool, err);
    if (st == VD_OK)
        st = take_buffers(j, err);
    if (st == VD_OK)
        st = vd_gguf_out_open(target, vd_gguf_alignment(j->gguf), &j->out, err);
    if (st == VD_OK)
        st = write_head(j, err);
    for (size_t i = 0; st == VD_OK && i < j->n_entries; i++) {
        const vd_mix_entry *entry = &j->entries[i];
        st = is_copied(j, entry) ? copy_tensor(j, entry->tensor, err)
                                 : convert_tensor(j, entry, err);
    }
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
    if (vd_gguf_is_file(j.gguf, target)) {
        st = VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file", target);
        goto out;
    }
    if (j.n_entries == 0) {
        st = VD_FAIL(err, VD_ERR_ARG, "%s holds no tensors, only a vocabulary", source);
        goto out;
    }
    st = vd_alloc_array(j.n_entries, sizeof(*j.entries), "the list of tensors", &j.entries, err);
    if (st == VD_OK)
        st = vd_mix_choose(j.gguf, options->type, &options->mix, j.entries, err);
    if (st == VD_OK)
        st = check_types(&j, err);
    for (size_t i = 0; i < j.n_entries; i++)
        j.total += vd_gguf_tensor_at(j.gguf, i)->n_bytes;
    if (st == VD_OK)
        st = run(&j, target, &result, err);
    if (st == VD_OK)
        *ret_result = result;
out:
    vd_gguf_out_free(j.out);
    vd_pool_free(j.pool);
    vd_free(j.scratch);
    vd_free(j.buffer);
    vd_free(j.entries);
    vd_gguf_free(j.gguf);
    return st;
}
