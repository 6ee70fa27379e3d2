/* shim.c - doors for the Python tests into what libverdant does not export. Loaded by ctypes. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <verdant/status.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/compress.h"
#include "compress/encode.h"
#include "compress/gptq.h"
#include "compress/obs.h"
#include "kernels/dtype.h"
#include "model/forward.h"

VD_API void test_decode(int dtype, const void *src, float *dst, size_t n);
VD_API int test_dtype_row_bytes(unsigned number, size_t n, size_t *ret_bytes);
VD_API const char *test_dtype_name(unsigned number);
VD_API int test_dtype_decodable(unsigned number);
VD_API int test_encodable(unsigned number);
VD_API float test_encode_max(unsigned number);
VD_API void test_encode(int dtype, const float *x, const float *w, void *dst, size_t n);
/* How often vd_compress_run asks whether to go on; -1 where it fails. */
VD_API int test_compress_asks(const char *source, const char *target, const char *type);
/* A pass over n tokens, two threads, f32 cache: `n_seq` sequences of equal length one after the
 * other, `chunk` tokens at a time; rounded activations where `fast`. Each array may be NULL:
 * stream[1 + 2 * n_layer][n][C] what the taps see in their order, embeddings[n][C], logits[n][V].
 * "" or what went wrong, until the next call. */
VD_API const char *test_forward(const char *path, const int32_t *token, size_t n, size_t n_seq,
                                size_t chunk, int fast, float *stream, float *embeddings,
                                float *logits);

/* GPTQ of w[n_rows, n] for inputs x[t, n] in a type: encodes to `rows` by their mean squares, then
 * vd_gptq_run. What is wrong, or "". */
VD_API const char *test_gptq(const double *x, size_t t, double *w, size_t n_rows, size_t n,
                             uint32_t dtype, int by_size, int keep_zeros, unsigned char *rows);
/* vd_obs_run, two threads, on w[n_rows, n] for inputs x[t, n]. Prunes a share (keep below 1),
 * groups (m > 0) or mask (not NULL); what stays is rounded to step[row] * whole numbers in
 * [-limit, limit] where step is not NULL. "" or what went wrong. */
VD_API const char *test_obs(const double *x, size_t t, double *w, size_t n_rows, size_t n,
                            double keep, unsigned group_n, unsigned group_m, const char *mask,
                            const double *step, double limit, double *ret_damping);

void test_decode(int dtype, const void *src, float *dst, size_t n)
{
    vd_dtype_decode((vd_dtype)dtype, src, dst, n);
}

int test_dtype_row_bytes(unsigned number, size_t n, size_t *ret_bytes)
{
    return vd_dtype_row_bytes(number, n, ret_bytes);
}

const char *test_dtype_name(unsigned number)
{
    return vd_dtype_name(number);
}

int test_dtype_decodable(unsigned number)
{
    return vd_dtype_decodable(number);
}

int test_encodable(unsigned number)
{
    return vd_encodable(number);
}

float test_encode_max(unsigned number)
{
    return vd_encode_max((vd_dtype)number);
}

void test_encode(int dtype, const float *x, const float *w, void *dst, size_t n)
{
    vd_encode_row((vd_dtype)dtype, x, w, dst, n);
}

static bool count_call(void *ctx, uint64_t done, uint64_t total, vd_str tensor)
{
    ++*(int *)ctx;
    return true;
}

int test_compress_asks(const char *source, const char *target, const char *type)
{
    int n = 0;
    vd_compress_options options = {.type = vd_filetype_find(type), .progress = count_call,
                                   .ctx = &n};
    vd_compress_result result;
    return vd_compress_run(source, target, &options, &result, NULL) == VD_OK ? n : -1;
}

/* What a call of test_forward is about. */
typedef struct run {
    const int32_t *token;
    size_t n, n_seq, chunk;
    float *stream, *embeddings, *logits;
    const vd_model *model;
    vd_kv *kv;
    vd_kv_seq *seq; /* [n_seq] */
    vd_forward *forward;
    size_t begin, n_chunk; /* the tokens of the pass that runs */
} run;

static void keep_stream(void *ctx, vd_tap_point point, size_t layer, const float *x)
{
    const run *r = ctx;
    size_t c = r->model->hp.n_embd;
    size_t place = point == VD_TAP_EMBED ? 0 : 2 * layer + (point == VD_TAP_ATTN ? 1 : 2);
    memcpy(r->stream + (place * r->n + r->begin) * c, x, r->n_chunk * c * sizeof(float));
}

static vd_status run_chunks(run *r, vd_err *err)
{
    uint32_t *pos = NULL, *out = NULL;
    const vd_kv_seq **seqs = NULL;
    vd_status st = vd_alloc_array(r->n, sizeof(*pos), "positions", &pos, err);
    if (st == VD_OK)
        st = vd_alloc_array(r->n, sizeof(*out), "positions", &out, err);
    if (st == VD_OK)
        st = vd_alloc_array(r->n, sizeof(*seqs), "positions", &seqs, err);
    size_t c = r->model->hp.n_embd, v = r->model->hp.n_vocab, length = r->n / r->n_seq;
    for (r->begin = 0; st == VD_OK && r->begin < r->n; r->begin += r->chunk) {
        r->n_chunk = VD_MIN(r->n - r->begin, r->chunk);
        for (size_t i = 0; i < r->n_chunk; i++) {
            pos[i] = (uint32_t)((r->begin + i) % length);
            out[i] = (uint32_t)i;
            seqs[i] = &r->seq[(r->begin + i) / length];
        }
        vd_batch batch = {
            .n_tokens = r->n_chunk,
            .token = r->token + r->begin,
            .pos = pos,
            .seq = seqs,
            .n_out = r->logits != NULL ? r->n_chunk : 0,
            .out = out,
            .n_embed = r->embeddings != NULL ? r->n_chunk : 0,
            .embed = out,
            .logits = r->logits != NULL ? r->logits + r->begin * v : NULL,
            .embeddings = r->embeddings != NULL ? r->embeddings + r->begin * c : NULL,
            .tap = r->stream != NULL ? keep_stream : NULL,
            .tap_ctx = r,
        };
        uint64_t n_calls = vd_alloc_stats_get().n_calls;
        vd_forward_run(r->forward, &batch);
        if (vd_alloc_stats_get().n_calls != n_calls)
            st = VD_FAIL(err, VD_ERR_NOMEM, "a pass took memory");
    }
    vd_free(pos);
    vd_free(out);
    vd_free(seqs);
    return st;
}

static vd_status make_sequences(run *r, vd_err *err)
{
    size_t length = r->n / r->n_seq;
    vd_status st = vd_kv_create(&r->model->hp, VD_DTYPE_F32,
                                r->n_seq * (length + VD_KV_PAGE_TOKENS), &r->kv, err);
    if (st == VD_OK)
        st = vd_alloc_array(r->n_seq, sizeof(*r->seq), "sequences", &r->seq, err);
    for (size_t i = 0; st == VD_OK && i < r->n_seq; i++) {
        st = vd_kv_seq_init(r->kv, length, &r->seq[i], err);
        if (st == VD_OK && !vd_kv_seq_reserve(r->kv, &r->seq[i], length))
            st = VD_ERR_CONTEXT;
    }
    return st;
}

const char *test_forward(const char *path, const int32_t *token, size_t n, size_t n_seq,
                         size_t chunk, int fast, float *stream, float *embeddings, float *logits)
{
    static char message[VD_ERR_MESSAGE_MAX];
    vd_err err = {0};
    vd_pool *pool = NULL;
    vd_model *model = NULL;
    run r = {.token = token, .n = n, .n_seq = n_seq, .chunk = chunk,
             .stream = stream, .embeddings = embeddings, .logits = logits};
    vd_precision precision =
        fast ? vd_kernels_default_precision(vd_kernels_get()) : VD_PRECISION_EXACT;
    vd_status st = vd_pool_create(2, &pool, &err);
    if (st == VD_OK)
        st = vd_model_open(path, precision, pool, &model, &err);
    r.model = model;
    if (st == VD_OK)
        st = make_sequences(&r, &err);
    if (st == VD_OK)
        st = vd_forward_create(model, r.kv, pool, chunk, n / n_seq, &r.forward, &err);
    if (st == VD_OK)
        st = run_chunks(&r, &err);
    vd_forward_free(r.forward);
    for (size_t i = 0; r.seq != NULL && i < n_seq; i++)
        vd_kv_seq_done(r.kv, &r.seq[i]);
    vd_free(r.seq);
    vd_kv_free(r.kv);
    vd_model_free(model);
    vd_pool_free(pool);
    snprintf(message, sizeof(message), "%s",
             st == VD_OK ? "" : err.message[0] != 0 ? err.message : vd_status_message(st));
    return message;
}

typedef struct uniform {
    const double *step;
    double limit;
} uniform;

static void round_uniform(void *ctx, size_t row, size_t column, const double *w,
                          const double *weight, double *ret)
{
    const uniform *u = ctx;
    double q = nearbyint(*w / u->step[row]);
    *ret = u->step[row] * fmax(-u->limit, fmin(u->limit, q));
}

const char *test_obs(const double *x, size_t t, double *w, size_t n_rows, size_t n, double keep,
                     unsigned group_n, unsigned group_m, const char *mask, const double *step,
                     double limit, double *ret_damping)
{
    static vd_err err;
    uniform grid = {step, limit};
    vd_obs_options options = {
        .prune = {.method = keep < 1 || group_m != 0 ? VD_PRUNE_SPARSEGPT : VD_PRUNE_NONE,
                  .keep = keep, .n = group_n, .m = group_m},
        .mask = (const bool *)mask, .settle = step != NULL ? round_uniform : NULL,
        .settle_ctx = &grid};
    vd_linalg *linalg = NULL;
    vd_pool *pool = NULL;
    vd_obs obs = {0};
    double *gram = vd_calloc(n * n, sizeof(*gram));
    vd_status st = gram == NULL ? VD_FAIL(&err, VD_ERR_NOMEM, "no memory") : VD_OK;
    if (st == VD_OK)
        st = vd_linalg_open(&linalg, &err);
    if (st == VD_OK)
        st = vd_pool_create(2, &pool, &err);
    if (st == VD_OK) {
        vd_linalg_gram(linalg, gram, n, x, t);
        st = vd_obs_init(linalg, gram, n, 0.01, 0, NULL, &obs, &err);
    }
    if (st == VD_OK)
        st = vd_obs_run(linalg, pool, &obs, &options, w, n_rows, &err);
    *ret_damping = obs.diagonal ? -1 : obs.damping;
    vd_obs_done(&obs);
    vd_pool_free(pool);
    vd_linalg_close(linalg);
    vd_free(gram);
    return st == VD_OK ? "" : err.message;
}

const char *test_gptq(const double *x, size_t t, double *w, size_t n_rows, size_t n,
                      uint32_t dtype, int by_size, int keep_zeros, unsigned char *rows)
{
    static vd_err err;
    vd_linalg *linalg = NULL;
    vd_pool *pool = NULL;
    vd_obs obs = {0};
    size_t row_bytes = 0;
    double *gram = vd_calloc(n * n, sizeof(*gram));
    float *row = vd_calloc(n, sizeof(*row)), *mean = vd_calloc(n, sizeof(*mean));
    vd_status st = gram == NULL || row == NULL || mean == NULL ||
                           !vd_dtype_row_bytes(dtype, n, &row_bytes)
                       ? VD_FAIL(&err, VD_ERR_NOMEM, "no memory")
                       : VD_OK;
    if (st == VD_OK)
        st = vd_linalg_open(&linalg, &err);
    if (st == VD_OK)
        st = vd_pool_create(2, &pool, &err);
    if (st == VD_OK) {
        vd_linalg_gram(linalg, gram, n, x, t);
        for (size_t i = 0; i < n; i++)
            mean[i] = (float)(gram[i * n + i] / (double)t);
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t i = 0; i < n; i++)
                row[i] = (float)w[r * n + i];
            vd_encode_row((vd_dtype)dtype, row, mean, rows + r * row_bytes, n);
        }
        size_t group = VD_MAX(vd_grid_of(dtype)->group, (size_t)1);
        st = vd_obs_init(linalg, gram, n, 0.01, by_size != 0 ? group : 0, NULL, &obs, &err);
    }
    if (st == VD_OK)
        st = vd_gptq_run(linalg, pool, &obs, vd_grid_of(dtype), keep_zeros != 0, w, n_rows, rows,
                         row_bytes, &err);
    vd_obs_done(&obs);
    vd_pool_free(pool);
    vd_linalg_close(linalg);
    vd_free(gram);
    vd_free(row);
    vd_free(mean);
    return st == VD_OK ? "" : err.message;
}
