/* walk_ends.c - see walk.h: the embeddings that the walk begins with, and what the output matrix
 * reads, which may be the same matrix. */
#include <math.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/encode.h"
#include "compress/finite.h"
#include "compress/walk_internal.h"

vd_moments *vd_walk_head(vd_walk *w, vd_str name)
{
    bool same = w->head.square != NULL && vd_walk_reads(w, name, &w->model->output);
    return same ? &w->head : NULL;
}

/* Rows of the tokens of the text, as the new file will have them. Encoding is row by row. */
static vd_status encode_embeddings(vd_walk *w, vd_err *err)
{
    const vd_gguf_tensor *from = w->model->embed;
    vd_dtype to = (vd_dtype)w->options.embed_dtype;
    size_t c = w->model->hp.n_embd, n_vocab = w->model->hp.n_vocab, row_bytes;
    bool *done = NULL;
    float *x = NULL;
    const float *weights = vd_walk_head(w, from->name) != NULL ? w->head_means : NULL;
    fenv_t before;
    if (from->dtype == to || !vd_dtype_row_bytes(to, c, &row_bytes))
        return VD_OK;
    vd_status st = vd_alloc_array(n_vocab, row_bytes, "embeddings", &w->embed_rows, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_vocab, sizeof(*done), "tokens", &done, err);
    if (st == VD_OK)
        st = vd_alloc_array(c, sizeof(*x), "a row", &x, err);
    vd_encode_floats_begin(&before);
    for (size_t i = 0; st == VD_OK && i < w->calib.n_chunks * w->calib.ctx; i++) {
        size_t token = (size_t)w->calib.token[i];
        if (done[token])
            continue;
        done[token] = true;
        vd_dtype_decode((vd_dtype)from->dtype, from->data + token * w->model->embed_row_bytes, x,
                        c);
        for (size_t k = 0; st == VD_OK && k < c; k++)
            if (!(fabsf(x[k]) <= vd_encode_max(to)))
                st = VD_FAIL(err, VD_ERR_FORMAT, "tensor %.*s, row %zu: the value %g cannot be "
                             "had in %s", (int)from->name.n, from->name.data, token, (double)x[k],
                             vd_dtype_name(to));
        if (st == VD_OK)
            vd_encode_row(to, x, weights, w->embed_rows + token * row_bytes, c);
    }
    vd_encode_floats_end(&before);
    vd_free(done);
    vd_free(x);
    w->embed = *from;
    w->embed.dtype = (uint32_t)to;
    w->embed.data = w->embed_rows;
    w->model->embed = &w->embed;
    w->model->embed_row_bytes = row_bytes;
    return st;
}

static void embed_stream(vd_walk *w, float *x)
{
    size_t ctx = w->calib.ctx, c = w->model->hp.n_embd;
    for (size_t i = 0; i < w->calib.n_chunks; i++) {
        vd_model_part part = {.embed = true, .x = x + i * ctx * c};
        vd_batch batch = {.n_tokens = ctx, .token = w->calib.token + i * ctx, .pos = w->pos,
                          .seq = w->seqs, .part = &part};
        vd_forward_run(w->forward, &batch);
    }
}

/* Mean squares of rows settle long before a calibration text ends. */
enum { HEAD_TOKENS = 8192 };

static void add_squares(vd_moments *m, const float *x, size_t n)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < m->n; i++)
            m->square[i] += (double)x[t * m->n + i] * (double)x[t * m->n + i];
    m->n_tokens += n;
}

/* What the output matrix reads in the model as it was. */
static vd_status gather_head(vd_walk *w, vd_err *err)
{
    size_t ctx = w->calib.ctx, c = w->model->hp.n_embd;
    size_t n_chunks = VD_MIN(w->calib.n_chunks, VD_MAX(HEAD_TOKENS / ctx, (size_t)1));
    float *x = NULL;
    w->head.n = c;
    vd_status st = vd_alloc_array(ctx * c, sizeof(*x), "a chunk", &x, err);
    if (st == VD_OK)
        st = vd_alloc_array(c, sizeof(double), "moments", &w->head.square, err);
    if (st == VD_OK)
        st = vd_alloc_array(c, sizeof(float), "moments", &w->head_means, err);
    for (size_t i = 0; st == VD_OK && i < n_chunks; i++) {
        vd_batch batch = {.n_tokens = ctx, .token = w->calib.token + i * ctx, .pos = w->pos,
                          .seq = w->seqs, .n_embed = ctx, .embed = w->pos, .embeddings = x};
        vd_forward_run(w->forward, &batch);
        add_squares(&w->head, x, ctx);
        if (w->options.progress != NULL &&
            !w->options.progress(w->options.ctx, VD_WALK_HEAD, i + 1, n_chunks))
            st = VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    }
    for (size_t i = 0; st == VD_OK && i < c; i++) {
        w->head_means[i] = vd_moments_mean(&w->head, i);
        if (!isfinite(w->head_means[i]))
            st = vd_finite_fail(w->model->gguf, "the model", err);
    }
    vd_free(x);
    return st;
}

vd_status vd_walk_embed(vd_walk *w, vd_err *err)
{
    size_t ctx = w->calib.ctx, n_vocab = w->model->hp.n_vocab;
    for (size_t i = 0; i < w->calib.n_chunks * ctx; i++)
        if (w->calib.token[i] < 0 || (size_t)w->calib.token[i] >= n_vocab)
            return VD_FAIL(err, VD_ERR_FORMAT, "the vocabulary has a token %d, the embedding has "
                           "%zu rows", w->calib.token[i], n_vocab);
    if (w->whole != NULL)
        embed_stream(w, w->whole);
    vd_status st = w->options.head ? gather_head(w, err) : VD_OK;
    if (st == VD_OK)
        st = encode_embeddings(w, err);
    if (st == VD_OK)
        embed_stream(w, w->x);
    return st;
}
