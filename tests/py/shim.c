/* shim.c - doors for the Python tests into what libverdant does not export. Loaded by ctypes. */
#include <stdio.h>
#include <string.h>
#include <verdant/status.h>

#include "base/alloc.h"
#include "compress/encode.h"
#include "base/fail.h"
#include "kernels/dtype.h"
#include "model/forward.h"

VD_API void test_decode(int dtype, const void *src, float *dst, size_t n);
VD_API int test_dtype_row_bytes(unsigned number, size_t n, size_t *ret_bytes);
VD_API const char *test_dtype_name(unsigned number);
VD_API int test_dtype_decodable(unsigned number);
VD_API int test_encodable(unsigned number);
VD_API void test_encode(int dtype, const float *x, void *dst, size_t n);
/* One pass over n tokens of one sequence: exact, with an f32 cache and two threads, `chunk` tokens
 * at a time. Each of the arrays may be NULL: stream[1 + 2 * n_layer][n][C] what the taps see in
 * their order, embeddings[n][C], logits[n][V]. "" or what went wrong, until the next call. */
VD_API const char *test_forward(const char *path, const int32_t *token, size_t n, size_t chunk,
                                float *stream, float *embeddings, float *logits);

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

void test_encode(int dtype, const float *x, void *dst, size_t n)
{
    vd_encode_row((vd_dtype)dtype, x, dst, n);
}

typedef struct stream_sink {
    float *stream;
    size_t n, n_embd, n_chunk, begin;
} stream_sink;

static void keep_stream(void *ctx, vd_tap_point point, size_t layer, const float *x)
{
    const stream_sink *s = ctx;
    size_t place = point == VD_TAP_EMBED ? 0 : 2 * layer + (point == VD_TAP_ATTN ? 1 : 2);
    memcpy(s->stream + (place * s->n + s->begin) * s->n_embd, x,
           s->n_chunk * s->n_embd * sizeof(float));
}

static vd_status run_chunks(const vd_model *model, const vd_kv_seq *seq, vd_forward *forward,
                            const int32_t *token, size_t n, size_t chunk, float *stream,
                            float *embeddings, float *logits, vd_err *err)
{
    uint32_t *pos = NULL, *out = NULL;
    const vd_kv_seq **seqs = NULL;
    vd_status st = vd_alloc_array(n, sizeof(*pos), "positions", &pos, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*out), "positions", &out, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*seqs), "positions", &seqs, err);
    size_t c = model->hp.n_embd, v = model->hp.n_vocab;
    for (size_t begin = 0; st == VD_OK && begin < n; begin += chunk) {
        size_t n_chunk = n - begin < chunk ? n - begin : chunk;
        for (size_t i = 0; i < n_chunk; i++) {
            pos[i] = (uint32_t)(begin + i);
            out[i] = (uint32_t)i;
            seqs[i] = seq;
        }
        stream_sink sink = {
            .stream = stream, .n = n, .n_embd = c, .n_chunk = n_chunk, .begin = begin};
        vd_batch batch = {
            .n_tokens = n_chunk,
            .token = token + begin,
            .pos = pos,
            .seq = seqs,
            .n_out = n_chunk,
            .out = out,
            .logits = logits != NULL ? logits + begin * v : NULL,
            .embeddings = embeddings != NULL ? embeddings + begin * c : NULL,
            .tap = stream != NULL ? keep_stream : NULL,
            .tap_ctx = &sink,
        };
        uint64_t n_calls = vd_alloc_stats_get().n_calls;
        vd_forward_run(forward, &batch);
        if (vd_alloc_stats_get().n_calls != n_calls)
            st = VD_FAIL(err, VD_ERR_NOMEM, "a pass took memory");
    }
    vd_free(pos);
    vd_free(out);
    vd_free(seqs);
    return st;
}

const char *test_forward(const char *path, const int32_t *token, size_t n, size_t chunk,
                         float *stream, float *embeddings, float *logits)
{
    static char message[VD_ERR_MESSAGE_MAX];
    vd_err err = {0};
    vd_pool *pool = NULL;
    vd_model *model = NULL;
    vd_kv *kv = NULL;
    vd_kv_seq seq = {0};
    vd_forward *forward = NULL;
    vd_status st = vd_pool_create(2, &pool, &err);
    if (st == VD_OK)
        st = vd_model_open(path, VD_PRECISION_EXACT, pool, &model, &err);
    if (st == VD_OK)
        st = vd_kv_create(&model->hp, VD_DTYPE_F32, n, &kv, &err);
    if (st == VD_OK)
        st = vd_kv_seq_init(kv, n, &seq, &err);
    if (st == VD_OK)
        st = vd_forward_create(model, kv, pool, chunk, n, &forward, &err);
    if (st == VD_OK && !vd_kv_seq_reserve(kv, &seq, n))
        st = VD_ERR_CONTEXT;
    if (st == VD_OK)
        st = run_chunks(model, &seq, forward, token, n, chunk, stream, embeddings, logits, &err);
    vd_forward_free(forward);
    if (kv != NULL)
        vd_kv_seq_done(kv, &seq);
    vd_kv_free(kv);
    vd_model_free(model);
    vd_pool_free(pool);
    snprintf(message, sizeof(message), "%s",
             st == VD_OK ? "" : err.message[0] != 0 ? err.message : vd_status_message(st));
    return message;
}
