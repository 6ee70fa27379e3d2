/* awq.c - see awq.h. */
#include "compress/awq.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/encode.h"

enum { READS_MAX = 3, N_FOLDS = 4, NAME_BYTES = 64, ROWS_TRIED = 48, N_ALPHA = 10 };

/* What divides the inputs, and what reads them. */
typedef struct fold_kind {
    const char *norm, *rows; /* one of them */
    const char *reads[READS_MAX];
} fold_kind;

static const fold_kind kinds[N_FOLDS] = {
    {.norm = "attn_norm", .reads = {"attn_q", "attn_k", "attn_v"}},
    {.norm = "ffn_norm", .reads = {"ffn_gate", "ffn_up"}},
    {.rows = "ffn_up", .reads = {"ffn_down"}},
    {.rows = "attn_v", .reads = {"attn_output"}}};

/* One of them in the layer at hand. */
typedef struct fold {
    const vd_mix_entry *norm, *rows, *reads[READS_MAX];
    float *column; /* [n_cols] s; NULL: not scaled */
    float *row;    /* [n_rows of `rows`] */
} fold;

struct vd_awq {
    const vd_gguf *gguf;
    const vd_mix_entry *entries;
    size_t n_entries, n_head;
    double alpha;
    vd_pool *pool;
    size_t layer; /* SIZE_MAX: none yet */
    fold fold[N_FOLDS];
};

vd_status vd_awq_create(const vd_gguf *gguf, const vd_mix_entry *entries, size_t n_entries,
                        double alpha, vd_pool *pool, vd_awq **ret_awq, vd_err *err)
{
    static const char *const known[] = {"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"};
    vd_str arch = {"", 0};
    vd_awq *awq = NULL;
    char key[NAME_BYTES];
    uint32_t n_head = 0;
    bool good = false;
    (void)vd_gguf_get_str(gguf, "general.architecture", &arch);
    for (size_t i = 0; i < VD_COUNT(known); i++)
        good = good || (strlen(known[i]) == arch.n && memcmp(known[i], arch.data, arch.n) == 0);
    if (good)
        snprintf(key, sizeof(key), "%.*s.attention.head_count", (int)arch.n, arch.data);
    if (!good || !vd_gguf_get_u32(gguf, key, &n_head) || n_head == 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "--awq knows llama, qwen2, qwen3 and gemma, with "
                       "as many heads in every layer; this is %.*s", (int)VD_MIN(arch.n, 64),
                       arch.data);
    vd_status st = vd_alloc_array(1, sizeof(*awq), "scales", &awq, err);
    if (st != VD_OK)
        return st;
    *awq = (vd_awq){.gguf = gguf, .entries = entries, .n_entries = n_entries, .n_head = n_head,
                    .alpha = alpha, .pool = pool, .layer = SIZE_MAX};
    *ret_awq = awq;
    return VD_OK;
}

static void forget(vd_awq *awq)
{
    for (size_t i = 0; i < N_FOLDS; i++) {
        vd_free(awq->fold[i].column);
        vd_free(awq->fold[i].row);
        awq->fold[i] = (fold){0};
    }
}

void vd_awq_free(vd_awq *awq)
{
    if (awq == NULL)
        return;
    forget(awq);
    vd_free(awq);
}

/* ---- what is folded ---------------------------------------------------------------------------*/

static const vd_mix_entry *find(const vd_awq *awq, const char *kind, const char *ending)
{
    char name[NAME_BYTES];
    int n = snprintf(name, sizeof(name), "blk.%zu.%s.%s", awq->layer, kind, ending);
    for (size_t i = 0; i < awq->n_entries; i++) {
        vd_str own = awq->entries[i].tensor->name;
        if (own.n == (size_t)n && memcmp(own.data, name, own.n) == 0)
            return &awq->entries[i];
    }
    return NULL;
}

/* A matrix that is written anew. */
static const vd_mix_entry *find_matrix(const vd_awq *awq, const char *kind)
{
    const vd_mix_entry *e = find(awq, kind, "weight");
    return e != NULL && e->in_layer && e->dtype != e->tensor->dtype && e->tensor->dim[2] == 1 &&
                   vd_encodable(e->dtype) && vd_dtype_get(e->tensor->dtype) != NULL
               ? e
               : NULL;
}

/* Whether the fold can be made here; a bias would have to be divided too. */
static bool gather_fold(const vd_awq *awq, const fold_kind *kind, fold *f)
{
    const char *giver = kind->norm != NULL ? kind->norm : kind->rows;
    if (find(awq, giver, "bias") != NULL)
        return false;
    for (size_t i = 0; i < READS_MAX && kind->reads[i] != NULL; i++) {
        f->reads[i] = find_matrix(awq, kind->reads[i]);
        if (f->reads[i] == NULL || f->reads[i]->tensor->dim[0] != f->reads[0]->tensor->dim[0])
            return false;
    }
    uint64_t n = f->reads[0]->tensor->dim[0];
    if (kind->norm != NULL) {
        f->norm = find(awq, kind->norm, "weight");
        return f->norm != NULL && f->norm->tensor->dtype == VD_DTYPE_F32 &&
               f->norm->tensor->dim[0] == n;
    }
    f->rows = find_matrix(awq, kind->rows);
    if (f->rows == NULL)
        return false;
    uint64_t n_rows = f->rows->tensor->dim[1], head_dim = n / awq->n_head;
    bool gated = find_matrix(awq, "ffn_gate") != NULL;
    return kind->rows[0] == 'f' ? n_rows == n && gated
                                : n % awq->n_head == 0 && n_rows % head_dim == 0 &&
                                      awq->n_head % (n_rows / head_dim) == 0;
}

/* Which row of attn_v gives column j of attn_output; elsewhere row j. */
static size_t row_of(const vd_awq *awq, const fold *f, size_t j)
{
    size_t n = (size_t)f->reads[0]->tensor->dim[0], n_rows = (size_t)f->rows->tensor->dim[1];
    size_t head_dim = n / awq->n_head;
    if (n == n_rows)
        return j;
    size_t group = awq->n_head / (n_rows / head_dim);
    return j / head_dim / group * head_dim + j % head_dim;
}

/* ---- the search -------------------------------------------------------------------------------*/

/* s[n] for an alpha; the mean squares of columns that share a row are taken together. */
static void make_scale(const vd_awq *awq, const fold *f, const float *mean, double alpha,
                       float *shared, float *s)
{
    size_t n = (size_t)f->reads[0]->tensor->dim[0];
    float most = 0, low = INFINITY, high = 0;
    memset(shared, 0, n * sizeof(*shared));
    for (size_t j = 0; j < n; j++)
        shared[f->rows != NULL ? row_of(awq, f, j) : j] += mean[j];
    for (size_t j = 0; j < n; j++)
        most = shared[j] > most ? shared[j] : most;
    for (size_t j = 0; j < n; j++) {
        float share = most > 0 ? shared[f->rows != NULL ? row_of(awq, f, j) : j] / most : 1;
        s[j] = (float)pow(fmax((double)share, 1e-8), alpha / 2);
        low = s[j] < low ? s[j] : low;
        high = s[j] > high ? s[j] : high;
    }
    float middle = sqrtf(low * high);
    for (size_t j = 0; j < n; j++)
        s[j] /= middle;
}

/* The error of some rows of one matrix. */
typedef struct trial {
    const vd_mix_entry *entry;
    const float *mean, *s;
    size_t n, n_rows; /* of the matrix */
    size_t row_bytes, new_bytes;
    float *scratch;   /* [n_threads, 3, n] */
    unsigned char *encoded; /* [n_threads, new_bytes] */
    double error[ROWS_TRIED];
} trial;

static double try_row(const trial *t, size_t row, float *x, unsigned char *encoded)
{
    float *scaled = x + t->n, *weight = x + 2 * t->n;
    double error = 0;
    vd_dtype to = (vd_dtype)t->entry->dtype;
    vd_dtype_decode((vd_dtype)t->entry->tensor->dtype, t->entry->tensor->data + row * t->row_bytes,
                    x, t->n);
    for (size_t j = 0; j < t->n; j++) {
        scaled[j] = x[j] * t->s[j];
        weight[j] = t->mean[j] / (t->s[j] * t->s[j]);
        if (!(fabsf(scaled[j]) <= vd_encode_max(to)))
            return INFINITY;
    }
    vd_encode_row(to, scaled, weight, encoded, t->n);
    vd_dtype_decode(to, encoded, scaled, t->n);
    for (size_t j = 0; j < t->n; j++) {
        double off = (double)scaled[j] / (double)t->s[j] - (double)x[j];
        error += (double)t->mean[j] * off * off;
    }
    return error;
}

static void try_rows(void *ctx, size_t thread, size_t n_threads)
{
    trial *t = ctx;
    size_t n_tried = VD_MIN(t->n_rows, (size_t)ROWS_TRIED);
    fenv_t before;
    vd_encode_floats_begin(&before);
    for (size_t i = thread; i < n_tried; i += n_threads)
        t->error[i] = try_row(t, i * t->n_rows / n_tried, t->scratch + thread * 3 * t->n,
                              t->encoded + thread * t->new_bytes);
    vd_encode_floats_end(&before);
}

/* Of all matrices of a fold, each by its number of rows. */
static vd_status error_of(const vd_awq *awq, const fold *f, const float *mean, const float *s,
                          double *ret_error, vd_err *err)
{
    size_t n_threads = vd_pool_n_threads(awq->pool);
    vd_status st = VD_OK;
    *ret_error = 0;
    for (size_t i = 0; st == VD_OK && i < READS_MAX && f->reads[i] != NULL; i++) {
        const vd_gguf_tensor *tensor = f->reads[i]->tensor;
        trial t = {.entry = f->reads[i], .mean = mean, .s = s, .n = (size_t)tensor->dim[0],
                   .n_rows = (size_t)tensor->dim[1]};
        size_t n_tried = VD_MIN(t.n_rows, (size_t)ROWS_TRIED);
        if (!vd_dtype_row_bytes(tensor->dtype, t.n, &t.row_bytes) ||
            !vd_dtype_row_bytes(f->reads[i]->dtype, t.n, &t.new_bytes))
            return VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s: its rows are no whole blocks",
                           (int)tensor->name.n, tensor->name.data);
        st = vd_alloc_array(3 * t.n * n_threads, sizeof(float), "rows", &t.scratch, err);
        if (st == VD_OK)
            st = vd_alloc_array(t.new_bytes * n_threads, 1, "encoded rows", &t.encoded, err);
        if (st == VD_OK)
            vd_pool_run(awq->pool, try_rows, &t);
        for (size_t r = 0; st == VD_OK && r < n_tried; r++)
            *ret_error += t.error[r] * (double)t.n_rows / (double)n_tried;
        vd_free(t.scratch);
        vd_free(t.encoded);
    }
    return st;
}

/* The best alpha's s. */
static vd_status search(const vd_awq *awq, const fold *f, const float *mean, float *shared,
                        float *s, vd_err *err)
{
    double best = INFINITY, best_alpha = 0, error;
    vd_status st = VD_OK;
    if (awq->alpha >= 0) {
        make_scale(awq, f, mean, awq->alpha, shared, s);
        return VD_OK;
    }
    for (int i = 0; st == VD_OK && i < N_ALPHA; i++) {
        double alpha = (double)i / N_ALPHA;
        make_scale(awq, f, mean, alpha, shared, s);
        st = error_of(awq, f, mean, s, &error, err);
        if (st == VD_OK && error < best) {
            best = error;
            best_alpha = alpha;
        }
    }
    make_scale(awq, f, mean, best_alpha, shared, s);
    return st;
}

static vd_status find_scale(const vd_awq *awq, vd_layered *layered, fold *f, vd_err *err)
{
    const vd_gguf_tensor *first = f->reads[0]->tensor;
    size_t n = (size_t)first->dim[0];
    size_t n_rows = f->rows != NULL ? (size_t)f->rows->tensor->dim[1] : 0;
    float *mean = NULL, *shared = NULL;
    vd_status st = vd_layered_importance(layered, first->name, 1, n, &mean, err);
    if (st != VD_OK || mean == NULL)
        return st;
    st = vd_alloc_array(n, sizeof(*shared), "scales", &shared, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*f->column), "scales", &f->column, err);
    if (st == VD_OK && n_rows > 0)
        st = vd_alloc_array(n_rows, sizeof(*f->row), "scales", &f->row, err);
    if (st == VD_OK)
        st = search(awq, f, mean, shared, f->column, err);
    for (size_t j = 0; st == VD_OK && n_rows > 0 && j < n; j++)
        f->row[row_of(awq, f, j)] = f->column[j];
    vd_free(mean);
    vd_free(shared);
    return st;
}

vd_status vd_awq_enter(vd_awq *awq, vd_layered *layered, size_t layer, vd_err *err)
{
    vd_status st = VD_OK;
    if (awq->layer == layer)
        return VD_OK;
    forget(awq);
    awq->layer = layer;
    for (size_t i = 0; st == VD_OK && i < N_FOLDS; i++) {
        fold *f = &awq->fold[i];
        if (gather_fold(awq, &kinds[i], f))
            st = find_scale(awq, layered, f, err);
    }
    return st;
}

/* ---- use --------------------------------------------------------------------------------------*/

static bool is(const vd_mix_entry *entry, vd_str name)
{
    return entry != NULL && entry->tensor->name.n == name.n &&
           memcmp(entry->tensor->name.data, name.data, name.n) == 0;
}

vd_awq_scale vd_awq_find(const vd_awq *awq, vd_str name)
{
    vd_awq_scale scale = {NULL, NULL, NULL};
    for (size_t i = 0; i < N_FOLDS; i++) {
        const fold *f = &awq->fold[i];
        if (f->column == NULL)
            continue;
        for (size_t k = 0; k < READS_MAX; k++)
            scale.column = is(f->reads[k], name) ? f->column : scale.column;
        scale.norm = is(f->norm, name) ? f->column : scale.norm;
        scale.row = is(f->rows, name) ? f->row : scale.row;
    }
    return scale;
}

void vd_awq_apply(vd_awq_scale scale, float *values, size_t n_rows, size_t n_cols, bool back)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n_cols; j++) {
            float times = (scale.column != NULL ? scale.column[j] : 1) /
                          (scale.row != NULL ? scale.row[i] : 1);
            values[i * n_cols + j] = back ? values[i * n_cols + j] / times
                                          : values[i * n_cols + j] * times;
        }
}
