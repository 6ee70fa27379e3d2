/* perplexity.c - see perplexity.h. Sums are doubles; log-softmax in double over f32 logits. */
#include "eval/perplexity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "eval/row.h"

typedef struct sums {
    double nll, nll2; /* of -log p and its square */
    double base_nll;
    double kl, kl2;
    double *each_kl;  /* [n] of the positions scored so far, NULL without a base */
    size_t n, n_same;
} sums;

typedef struct run {
    size_t n_vocab;
    const int32_t *chunk;
    size_t ctx, first;
    float *base_rows; /* [ctx - 1 - first, V] logits of the base, NULL without one */
    bool is_base;
    sums *total;
} run;

static vd_status add_divergence(run *r, size_t pos, const float *base, const float *logits,
                                double log_z, vd_err *err)
{
    int32_t next = r->chunk[pos + 1];
    double base_z = vd_row_log_sum_exp(base, r->n_vocab), kl = 0;
    for (size_t i = 0; i < r->n_vocab; i++) {
        double log_p = (double)base[i] - base_z;
        if (log_p > -60) /* below that p log p is nothing */
            kl += exp(log_p) * (log_p - ((double)logits[i] - log_z));
    }
    double base_nll = base_z - (double)base[next];
    if (!isfinite(base_nll) || !isfinite(kl))
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s no finite probability at position %zu of a chunk",
                       isfinite(base_nll) ? "the model gives a token that the base expects"
                                          : "the base gives", pos);
    r->total->base_nll += base_nll;
    r->total->kl += kl;
    r->total->kl2 += kl * kl;
    r->total->each_kl[r->total->n] = kl;
    r->total->n_same += vd_row_argmax(base, r->n_vocab) == vd_row_argmax(logits, r->n_vocab);
    return VD_OK;
}

static vd_status score_row(void *ctx, size_t pos, const float *logits, vd_err *err)
{
    run *r = ctx;
    if (pos + 1 >= r->ctx)
        return VD_OK; /* nothing follows to be scored */
    float *kept = r->base_rows != NULL ? r->base_rows + (pos - r->first) * r->n_vocab : NULL;
    if (r->is_base && kept != NULL) {
        memcpy(kept, logits, r->n_vocab * sizeof(float));
        return VD_OK;
    }
    double log_z = vd_row_log_sum_exp(logits, r->n_vocab);
    double nll = log_z - (double)logits[r->chunk[pos + 1]];
    if (!isfinite(nll))
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "the model gives no finite probability at position %zu of a chunk", pos);
    if (kept != NULL) {
        vd_status st = add_divergence(r, pos, kept, logits, log_z, err);
        if (st != VD_OK)
            return st;
    }
    r->total->nll += nll;
    r->total->nll2 += nll * nll;
    r->total->n++;
    return VD_OK;
}

static double mean_stderr(double sum, double sum2, size_t n)
{
    if (n < 2)
        return 0;
    double mean = sum / (double)n;
    return sqrt(fmax(0, sum2 / (double)n - mean * mean) / (double)(n - 1));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The q-quantile of x[0..n), sorted here, between its neighbours in proportion. n > 0. */
static double quantile(double *x, size_t n, double q)
{
    qsort(x, n, sizeof(*x), by_value);
    double at = q * (double)(n - 1);
    size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
    return x[below] + (at - (double)below) * (x[above] - x[below]);
}

static vd_perplexity result_of(const sums *s, size_t n_chunks)
{
    vd_perplexity p = {.n_tokens = s->n, .n_chunks = n_chunks};
    if (s->n == 0)
        return p;
    p.ppl = exp(s->nll / (double)s->n);
    p.ppl_stderr = p.ppl * mean_stderr(s->nll, s->nll2, s->n);
    if (s->each_kl == NULL)
        return p;
    p.base_ppl = exp(s->base_nll / (double)s->n);
    p.kl_mean = s->kl / (double)s->n;
    p.kl_stderr = mean_stderr(s->kl, s->kl2, s->n);
    p.kl_99 = quantile(s->each_kl, s->n, 0.99);
    p.top1_agreement = (double)s->n_same / (double)s->n;
    p.top1_stderr = mean_stderr((double)s->n_same, (double)s->n_same, s->n);
    return p;
}

static vd_status check_bases(vd_scorer *scorer, vd_scorer *base, vd_err *err)
{
    if (base != NULL && vd_scorer_n_vocab(base) != vd_scorer_n_vocab(scorer))
        return VD_FAIL(err, VD_ERR_ARG,
                       "the vocabularies differ (%zu and %zu tokens); no comparison is possible",
                       vd_scorer_n_vocab(scorer), vd_scorer_n_vocab(base));
    return VD_OK;
}

/* Sizes that agree say little: the tokens of the text must mean the same to both models. Others
 * may differ, as the reserved ones of a base model and its chat version do. */
static vd_status check_tokens(const vd_scorer *scorer, const vd_scorer *base, const int32_t *ids,
                              size_t n, vd_err *err)
{
    const vd_tokenizer *ours = vd_scorer_tokenizer(scorer), *theirs;
    if (base == NULL)
        return VD_OK;
    theirs = vd_scorer_tokenizer(base);
    for (size_t i = 0; i < n; i++) {
        size_t n_ours, n_theirs;
        const char *a = vd_tokenizer_piece(ours, ids[i], true, &n_ours);
        const char *b = vd_tokenizer_piece(theirs, ids[i], true, &n_theirs);
        if (n_ours != n_theirs || memcmp(a, b, n_ours) != 0)
            return VD_FAIL(err, VD_ERR_ARG, "the vocabularies differ: token %d is another text in "
                           "the base model's; no comparison is possible", ids[i]);
    }
    return VD_OK;
}

/* For a chunk's rows of the base, and for every position's divergence. */
static vd_status make_room(run *r, size_t n_chunks, float **ret_rows, double **ret_each,
                           vd_err *err)
{
    size_t per_chunk = r->ctx - 1 - r->first, n_floats = 0, n_each = 0;
    if (!vd_mul_size(per_chunk, r->n_vocab, &n_floats) ||
        !vd_mul_size(per_chunk, n_chunks, &n_each))
        return VD_FAIL(err, VD_ERR_LIMIT, "a context of %zu tokens is too long to compare",
                       r->ctx);
    vd_status st = vd_alloc_array(n_floats, sizeof(float), "the base model's logits", ret_rows,
                                  err);
    if (st == VD_OK)
        st = vd_alloc_array(n_each, sizeof(double), "divergences", ret_each, err);
    r->base_rows = *ret_rows;
    return st;
}

vd_status vd_perplexity_run(vd_scorer *scorer, vd_scorer *base, const char *text, size_t n,
                            size_t ctx, size_t n_chunks, vd_progress_fn on_chunk,
                            void *progress_ctx, vd_perplexity *ret, vd_err *err)
{
    if (ctx < 4 || ctx % 2 != 0)
        return VD_FAIL(err, VD_ERR_ARG, "the context is %zu tokens, expected an even number from 4",
                       ctx);
    int32_t *ids = NULL;
    float *base_rows = NULL;
    size_t n_ids = 0;
    sums total = {0};
    const vd_tokenizer *tokenizer = vd_scorer_tokenizer(scorer);
    vd_status st = check_bases(scorer, base, err);
    if (st == VD_OK)
        st = vd_tokenizer_encode(tokenizer, text, n, &(vd_encode_options){.parse_special = true},
                                 &ids, &n_ids, err);
    if (st == VD_OK)
        st = check_tokens(scorer, base, ids, n_ids, err);
    if (st != VD_OK)
        goto out;
    size_t n_whole = n_ids / ctx;
    if (n_ids < 2 * ctx) {
        st = VD_FAIL(err, VD_ERR_ARG,
                     "the text has %zu tokens, at least %zu are needed at a context of %zu", n_ids,
                     2 * ctx, ctx);
        goto out;
    }
    if (n_chunks == 0 || n_chunks > n_whole)
        n_chunks = n_whole;
    run r = {.n_vocab = vd_scorer_n_vocab(scorer), .ctx = ctx, .first = ctx / 2, .total = &total};
    if (base != NULL) {
        st = make_room(&r, n_chunks, &base_rows, &total.each_kl, err);
        if (st != VD_OK)
            goto out;
    }
    for (size_t i = 0; i < n_chunks; i++) {
        int32_t *chunk = ids + i * ctx;
        r.chunk = chunk;
        if (vd_tokenizer_adds_bos(tokenizer) && vd_tokenizer_bos(tokenizer) >= 0)
            chunk[0] = vd_tokenizer_bos(tokenizer);
        r.is_base = true;
        if (base != NULL)
            st = vd_scorer_run(base, chunk, ctx, r.first, score_row, &r, err);
        r.is_base = false;
        if (st == VD_OK)
            st = vd_scorer_run(scorer, chunk, ctx, r.first, score_row, &r, err);
        if (st != VD_OK)
            goto out;
        if (on_chunk != NULL)
            on_chunk(progress_ctx, i + 1, n_chunks, exp(total.nll / (double)total.n));
    }
    vd_perplexity result = result_of(&total, n_chunks);
    if (isfinite(result.ppl))
        *ret = result;
    else
        st = VD_FAIL(err, VD_ERR_FORMAT, "the perplexity is beyond every number: a mean loss of %g "
                     "nats", total.nll / (double)total.n);
out:
    vd_free(base_rows);
    vd_free(total.each_kl);
    vd_ids_free(ids);
    return st;
}
