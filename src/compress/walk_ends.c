/* walk_ends.c - see walk.h: the embeddings that the walk begins with, and what the output matrix
 * reads, which may be the same matrix. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/finite.h"
#include "compress/walk_internal.h"

vd_moments *vd_walk_head(vd_walk *w, vd_str name)
{
    bool same = w->head.square != NULL && vd_walk_reads(w, name, &w->model->output);
    return same ? &w->head : NULL;
}

/* Room for the rows of the tokens of the text. */
static vd_status prepare_embeddings(vd_walk *w, vd_err *err)
{
    const vd_gguf_tensor *from = w->model->embed;
    vd_dtype to = (vd_dtype)w->options.embed_dtype;
    size_t c = w->model->hp.n_embd, n_vocab = w->model->hp.n_vocab, row_bytes;
    if (from->dtype == to || !vd_dtype_row_bytes(to, c, &row_bytes))
        return VD_OK;
    vd_status st = vd_alloc_array(n_vocab, row_bytes, "embeddings", &w->embed_rows, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_vocab, sizeof(*w->in_text), "tokens", &w->in_text, err);
    for (size_t i = 0; st == VD_OK && i < w->calib.n_chunks * w->calib.ctx; i++)
        w->in_text[w->calib.token[i]] = true;
    w->embed = *from;
    w->embed.dtype = (uint32_t)to;
    w->embed.data = w->embed_rows;
    return st;
}

void vd_walk_embeddings(vd_walk *w, vd_str name, size_t first, const unsigned char *rows, size_t n)
{
    size_t row_bytes;
    if (w->embed_rows == NULL || w->embed.name.n != name.n ||
        memcmp(w->embed.name.data, name.data, name.n) != 0 ||
        !vd_dtype_row_bytes(w->embed.dtype, (size_t)w->embed.dim[0], &row_bytes))
        return;
    for (size_t i = 0; i < n && first + i < w->model->hp.n_vocab; i++)
        if (w->in_text[first + i])
            memcpy(w->embed_rows + (first + i) * row_bytes, rows + i * row_bytes, row_bytes);
    w->model->embed = &w->embed;
    w->model->embed_row_bytes = row_bytes;
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

/* What is read settles long before a calibration text ends: mean squares, and X^T X by so many
 * tokens for each column. */
enum { HEAD_TOKENS = 8192, HEAD_TOKENS_PER_COLUMN = 16 };

/* Of a matrix that is the embeddings too: what an error does there counts beside what it does to
 * the output, in all directions alike, and so much of the output's mean (docs/compression.md has
 * what was measured). */
static const double embedding_share = 0.2;

static void add_embedding(const vd_moments *m)
{
    double sum = 0;
    for (size_t i = 0; i < m->n; i++)
        sum += m->square[i];
    for (size_t i = 0; i < m->n; i++)
        m->gram[i * m->n + i] += embedding_share * sum / (double)m->n;
}

static vd_status add_moments(vd_walk *w, vd_moments *m, const float *x, size_t n, float *gram,
                             vd_err *err)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < m->n; i++)
            m->square[i] += (double)x[t * m->n + i] * (double)x[t * m->n + i];
    m->n_tokens += n;
    if (m->gram != NULL)
        vd_walk_add_gram(w, m, x, n, gram);
    for (size_t i = 0; i < m->n; i++)
        if (!isfinite(m->square[i]))
            return vd_finite_fail(w->model->gguf, "the model", err);
    return VD_OK;
}

/* What the output matrix reads in the model as it was. */
static vd_status gather_head(vd_walk *w, vd_err *err)
{
    size_t ctx = w->calib.ctx, c = w->model->hp.n_embd, n_gram;
    size_t n_tokens = VD_MAX(w->options.head_gram ? HEAD_TOKENS_PER_COLUMN * c : (size_t)0,
                             (size_t)HEAD_TOKENS);
    size_t n_chunks = VD_MIN(w->calib.n_chunks, VD_MAX(n_tokens / ctx, (size_t)1));
    float *x = NULL, *gram = NULL;
    w->head.n = c;
    if (!vd_mul_size(c, c, &n_gram))
        return VD_FAIL(err, VD_ERR_LIMIT, "inputs of %zu values are too wide", c);
    vd_status st = vd_alloc_array(ctx * c, sizeof(*x), "a chunk", &x, err);
    if (st == VD_OK)
        st = vd_alloc_array(c, sizeof(double), "moments", &w->head.square, err);
    if (st == VD_OK && w->options.head_gram)
        st = vd_alloc_array(n_gram, sizeof(double), "moments", &w->head.gram, err);
    if (st == VD_OK && w->options.head_gram)
        st = vd_alloc_array(n_gram, sizeof(float), "moments", &gram, err);
    for (size_t i = 0; st == VD_OK && i < n_chunks; i++) {
        vd_batch batch = {.n_tokens = ctx, .token = w->calib.token + i * ctx, .pos = w->pos,
                          .seq = w->seqs, .n_embed = ctx, .embed = w->pos, .embeddings = x};
        vd_forward_run(w->forward, &batch);
        st = add_moments(w, &w->head, x, ctx, gram, err);
        if (st == VD_OK && w->options.progress != NULL &&
            !w->options.progress(w->options.ctx, VD_WALK_HEAD, i + 1, n_chunks))
            st = VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written");
    }
    if (st == VD_OK && w->head.gram != NULL && vd_walk_reads(w, w->model->embed->name,
                                                             &w->model->output))
        add_embedding(&w->head);
    vd_free(x);
    vd_free(gram);
    return st;
}

vd_status vd_walk_begin(vd_walk *w, vd_err *err)
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
        st = prepare_embeddings(w, err);
    if (st == VD_OK && w->embed_rows == NULL)
        vd_walk_begin_stream(w);
    return st;
}

void vd_walk_begin_stream(vd_walk *w)
{
    if (!w->embedded)
        embed_stream(w, w->x);
    w->embedded = true;
}
