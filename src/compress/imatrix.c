/* imatrix.c - see imatrix.h: the list, and what is read; imatrix_write.c writes. */
#include "compress/imatrix_internal.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "kernels/dtype.h"
#include "kernels/ref/decode.h"

enum { NAME_MAX_BYTES = 1024 };

vd_status vd_imatrix_create(vd_imatrix **ret_imatrix, vd_err *err)
{
    return vd_alloc_array(1, sizeof(vd_imatrix), "importances", ret_imatrix, err);
}

static void entry_done(vd_imatrix_entry *entry)
{
    vd_free(entry->name);
    vd_free(entry->sum);
    vd_free(entry->count);
}

void vd_imatrix_free(vd_imatrix *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->n; i++)
        entry_done(&m->entry[i]);
    vd_free(m->entry);
    vd_free(m);
}

size_t vd_imatrix_n(const vd_imatrix *imatrix)
{
    return imatrix->n;
}

const vd_imatrix_entry *vd_imatrix_at(const vd_imatrix *imatrix, size_t i)
{
    return &imatrix->entry[i];
}

const vd_imatrix_entry *vd_imatrix_find(const vd_imatrix *m, vd_str name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strlen(m->entry[i].name) == name.n && memcmp(m->entry[i].name, name.data, name.n) == 0)
            return &m->entry[i];
    return NULL;
}

/* Room for one more entry with these sizes; it counts when it is whole. */
static vd_status add(vd_imatrix *m, vd_str name, size_t n_sums, size_t n_counts,
                     vd_imatrix_entry **ret_entry, vd_err *err)
{
    if (m->n == m->n_max) {
        size_t n_max = m->n_max * 2 + 64;
        vd_imatrix_entry *more = vd_realloc(m->entry, n_max * sizeof(*more));
        if (more == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu importances", n_max);
        m->entry = more;
        m->n_max = n_max;
    }
    vd_imatrix_entry entry = {.name = vd_strndup(name.data, name.n), .n_sums = n_sums,
                              .n_counts = n_counts};
    vd_status st = entry.name != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
    if (st == VD_OK)
        st = vd_alloc_array(n_sums, sizeof(float), "importances", &entry.sum, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_counts, sizeof(float), "counts", &entry.count, err);
    if (st != VD_OK) {
        entry_done(&entry);
        return st;
    }
    m->entry[m->n] = entry;
    *ret_entry = &m->entry[m->n++];
    return VD_OK;
}

vd_status vd_imatrix_add(vd_imatrix *m, vd_str name, size_t n_experts, size_t n_cols,
                         vd_imatrix_entry **ret_entry, vd_err *err)
{
    size_t n;
    if (!vd_mul_size(n_experts, n_cols, &n))
        return VD_FAIL(err, VD_ERR_NOMEM, "%zu experts are too many", n_experts);
    vd_status st = add(m, name, n, n_experts, ret_entry, err);
    if (st == VD_OK)
        (*ret_entry)->n_cols = n_cols;
    return st;
}

vd_status vd_imatrix_means(const vd_imatrix_entry *e, size_t n_experts, size_t n_cols, float *ret,
                           vd_err *err)
{
    size_t n;
    if (!vd_mul_size(n_experts, n_cols, &n) || n != e->n_sums ||
        (e->n_cols != 0 && e->n_cols != n_cols))
        return VD_FAIL(err, VD_ERR_FORMAT, "tensor %s has %zu x %zu inputs, its importance %zu "
                       "values: it is that of another model", e->name, n_experts, n_cols,
                       e->n_sums);
    for (size_t i = 0; i < n; i++) {
        float count = e->count[i / (n / e->n_counts)];
        ret[i] = count > 0 ? e->sum[i] / count : 1.0f;
    }
    return VD_OK;
}

/* ---- reading ----------------------------------------------------------------------------------*/

typedef struct source {
    const char *path;
    const unsigned char *at, *end; /* what is left of a .dat */
    vd_imatrix *imatrix;
} source;

/* n floats of a file, which must be finite and not negative. */
static vd_status take_floats(const source *s, const char *name, const unsigned char *from, size_t n,
                             float *ret, vd_err *err)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = vd_load_u32(from + 4 * i);
        memcpy(&ret[i], &bits, sizeof(bits));
        if (!isfinite(ret[i]) || ret[i] < 0)
            return VD_FAIL(err, VD_ERR_FORMAT, "%s: %s: the value %zu is %g, expected a mean of "
                           "squares", s->path, name, i, (double)ret[i]);
    }
    return VD_OK;
}

/* Counts may be any numbers: a small one could make the mean of a large sum overflow. */
static vd_status check_means(const source *s, const vd_imatrix_entry *e, vd_err *err)
{
    for (size_t i = 0; i < e->n_sums; i++) {
        float count = e->count[i / (e->n_sums / e->n_counts)];
        if (count > 0 && !isfinite(e->sum[i] / count))
            return VD_FAIL(err, VD_ERR_FORMAT, "%s: %s: the value %zu is %g for a count of %g, "
                           "expected a mean that is finite", s->path, e->name, i,
                           (double)e->sum[i], (double)count);
    }
    return VD_OK;
}

static vd_status check_name(const source *s, vd_str name, vd_err *err)
{
    if (name.n == 0 || name.n > NAME_MAX_BYTES || memchr(name.data, 0, name.n) != NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: a tensor name of %zu bytes is none", s->path,
                       name.n);
    if (vd_imatrix_find(s->imatrix, name) != NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: %.*s comes twice", s->path, (int)name.n,
                       name.data);
    return VD_OK;
}

/* The name without `ending`; false where it ends otherwise. */
static bool stem_of(vd_str name, const char *ending, vd_str *ret)
{
    size_t n = strlen(ending);
    if (name.n < n || memcmp(name.data + name.n - n, ending, n) != 0)
        return false;
    *ret = (vd_str){name.data, name.n - n};
    return true;
}

static const vd_gguf_tensor *find_counts(const vd_gguf *gguf, vd_str stem)
{
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        vd_str other;
        if (stem_of(t->name, ".counts", &other) && other.n == stem.n &&
            memcmp(other.data, stem.data, stem.n) == 0)
            return t;
    }
    return NULL;
}

static vd_status take_tensor(source *s, const vd_gguf *gguf, const vd_gguf_tensor *sums,
                             vd_str stem, vd_err *err)
{
    const vd_gguf_tensor *counts = find_counts(gguf, stem);
    vd_imatrix_entry *entry = NULL;
    vd_status st = check_name(s, stem, err);
    if (st != VD_OK)
        return st;
    if (counts == NULL || counts->dtype != VD_DTYPE_F32 || sums->dtype != VD_DTYPE_F32 ||
        sums->n_bytes == 0 || sums->dim[2] * sums->dim[3] != 1 || counts->dim[0] != 1 ||
        counts->dim[1] != sums->dim[1] || counts->dim[2] * counts->dim[3] != 1)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: %.*s needs in_sum2 [columns, experts] and counts "
                       "[1, experts] in F32", s->path, (int)stem.n, stem.data);
    st = vd_imatrix_add(s->imatrix, stem, (size_t)sums->dim[1], (size_t)sums->dim[0], &entry, err);
    if (st == VD_OK)
        st = take_floats(s, entry->name, sums->data, entry->n_sums, entry->sum, err);
    if (st == VD_OK)
        st = take_floats(s, entry->name, counts->data, entry->n_counts, entry->count, err);
    if (st == VD_OK)
        st = check_means(s, entry, err);
    return st;
}

static vd_status parse_gguf(source *s, const void *data, size_t n, vd_err *err)
{
    vd_gguf *gguf = NULL;
    vd_str type = {0}, stem;
    vd_status st = vd_gguf_open_memory(data, n, NULL, &gguf, err);
    if (st != VD_OK) {
        vd_err_prefix(err, "%s", s->path);
        return st;
    }
    if (!vd_gguf_get_str(gguf, "general.type", &type) || type.n != 7 ||
        memcmp(type.data, "imatrix", 7) != 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s is no importance file: general.type is not imatrix",
                     s->path);
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        if (stem_of(t->name, ".in_sum2", &stem))
            st = take_tensor(s, gguf, t, stem, err);
    }
    vd_gguf_free(gguf);
    return st;
}

/* A length or count of a .dat, 1 .. `most`. */
static vd_status take_number(source *s, const char *what, size_t most, size_t *ret, vd_err *err)
{
    if (s->end - s->at < 4)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is cut short: %s is missing", s->path, what);
    uint32_t value = vd_load_u32(s->at);
    if (value == 0 || value > most)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: %s is %d, expected 1 to %zu: it is no importance "
                       "file, or it is cut short", s->path, what, (int)value, most);
    s->at += 4;
    *ret = value;
    return VD_OK;
}

static vd_status take_dat_entry(source *s, vd_err *err)
{
    vd_imatrix_entry *entry = NULL;
    size_t n_name = 0, n_calls = 0, n_values = 0;
    vd_status st = take_number(s, "the length of a name", NAME_MAX_BYTES, &n_name, err);
    if (st != VD_OK)
        return st;
    if ((size_t)(s->end - s->at) < n_name)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is cut short: in a name", s->path);
    vd_str name = {(const char *)s->at, n_name};
    st = check_name(s, name, err);
    s->at += n_name;
    if (st == VD_OK && s->end - s->at >= 4 && vd_load_u32(s->at) == 0) /* it was never computed */
        s->at += 4;
    else if (st == VD_OK)
        st = take_number(s, "a count of calls", INT32_MAX, &n_calls, err);
    if (st == VD_OK)
        st = take_number(s, "a count of values", (size_t)(s->end - s->at) / 4, &n_values, err);
    if (st == VD_OK && (size_t)(s->end - s->at) / 4 < n_values)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s is cut short: in the values of %.*s", s->path,
                     (int)name.n, name.data);
    if (st == VD_OK)
        st = add(s->imatrix, name, n_values, 1, &entry, err);
    if (st == VD_OK)
        st = take_floats(s, entry->name, s->at, n_values, entry->sum, err);
    if (st == VD_OK) {
        entry->count[0] = (float)n_calls;
        s->at += 4 * n_values;
    }
    return st;
}

/* What stands behind the entries (chunks, the text's name) is not read. */
static vd_status parse_dat(source *s, vd_err *err)
{
    size_t n_entries;
    vd_status st = take_number(s, "the count of entries", (size_t)(s->end - s->at) / 16,
                               &n_entries, err);
    for (size_t i = 0; st == VD_OK && i < n_entries; i++)
        st = take_dat_entry(s, err);
    return st;
}

vd_status vd_imatrix_parse(const char *path, const void *data, size_t n, vd_imatrix **ret_imatrix,
                           vd_err *err)
{
    source s = {.path = path, .at = data, .end = (const unsigned char *)data + n};
    vd_status st = vd_imatrix_create(&s.imatrix, err);
    if (st != VD_OK)
        return st;
    st = n >= 4 && memcmp(data, "GGUF", 4) == 0 ? parse_gguf(&s, data, n, err)
                                                : parse_dat(&s, err);
    if (st == VD_OK && s.imatrix->n == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s has no entries", path);
    if (st == VD_OK) {
        *ret_imatrix = s.imatrix;
        s.imatrix = NULL;
    }
    vd_imatrix_free(s.imatrix);
    return st;
}

vd_status vd_imatrix_read(const char *path, vd_imatrix **ret_imatrix, vd_err *err)
{
    vd_mapping mapping;
    vd_status st = vd_mapping_open(path, &mapping, err);
    if (st != VD_OK)
        return st;
    st = vd_imatrix_parse(path, mapping.data, mapping.size, ret_imatrix, err);
    vd_mapping_close(&mapping);
    return st;
}
