/*
 * branches.c - see branches.h.
 *
 * Forks are taken in waves, as many as the KV cache holds. A wave is two rounds of passes: the
 * shared beginnings, then the branches, so that a page is whole before another sequence reads it.
 * Within a round tokens are queued and a pass runs whenever the queue is full; a sequence may go on
 * in the next pass.
 */
#include "eval/branches.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "eval/row.h"
#include "eval/scorer_internal.h"

enum { WAVE_TOKENS = 2048, WAVE_SEQS = 128, NO_TARGET = -1 };

typedef struct branches {
    vd_scorer *scorer;
    vd_kv *kv;
    vd_forward *forward;
    vd_kv_seq *seq;  /* [WAVE_SEQS], in order of the wave's branches */
    size_t n_seqs;   /* in use */
    size_t rows_max; /* of logits */
    /* The queue, all but logits [VD_SCORER_STEP_TOKENS]. */
    size_t n_tokens, n_out;
    int32_t *token;
    uint32_t *pos, *out;
    const vd_kv_seq **seqs;
    /* Of queued token out[i]: */
    vd_branch **branch; /* whose row it is */
    int32_t *target;    /* the token whose probability is wanted */
    double *log_prob;   /* what it is */
    float *logits;      /* [rows_max, V] */
} branches;

/* ---- passes ----------------------------------------------------------------------------------*/

static void score_rows(void *ctx, size_t thread, size_t n_threads)
{
    branches *b = ctx;
    size_t n_vocab = b->scorer->model->hp.n_vocab, begin, end;
    vd_pool_range(b->n_out, 1, thread, n_threads, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const float *row = b->logits + i * n_vocab;
        b->log_prob[i] = (double)row[b->target[i]] - vd_row_log_sum_exp(row, n_vocab);
    }
}

static void run_pass(branches *b)
{
    vd_batch batch = {.n_tokens = b->n_tokens, .token = b->token, .pos = b->pos, .seq = b->seqs,
                      .n_out = b->n_out, .out = b->out, .logits = b->logits};
    if (b->n_tokens == 0)
        return;
    vd_forward_run(b->forward, &batch);
    vd_pool_run(b->scorer->pool, score_rows, b);
    for (size_t i = 0; i < b->n_out; i++) /* in order, whatever the threads: same sums every time */
        b->branch[i]->log_prob += b->log_prob[i];
    b->n_tokens = b->n_out = 0;
}

static void queue_token(branches *b, const vd_kv_seq *seq, vd_branch *branch, size_t pos,
                        int32_t target)
{
    if (b->n_tokens == VD_SCORER_STEP_TOKENS || (target != NO_TARGET && b->n_out == b->rows_max))
        run_pass(b);
    if (target != NO_TARGET) {
        b->branch[b->n_out] = branch;
        b->target[b->n_out] = target;
        b->out[b->n_out++] = (uint32_t)b->n_tokens;
    }
    b->token[b->n_tokens] = branch->tokens[pos];
    b->pos[b->n_tokens] = (uint32_t)pos;
    b->seqs[b->n_tokens++] = seq;
}

/* ---- waves -----------------------------------------------------------------------------------*/

/* Tokens of the beginning that lie in pages the branches share. The last shared token is left to
 * the branches: each needs its row of logits. */
static size_t paged(const vd_fork *fork)
{
    return (fork->n_shared - 1) / VD_KV_PAGE_TOKENS * VD_KV_PAGE_TOKENS;
}

static size_t pages_of(const vd_fork *fork)
{
    size_t shared = paged(fork) / VD_KV_PAGE_TOKENS, pages = shared;
    for (size_t i = 0; i < fork->n_branches; i++)
        pages += fork->branch[i].n / VD_KV_PAGE_TOKENS + 1 - shared;
    return pages;
}

static vd_status no_room(vd_err *err)
{
    return VD_FAIL(err, VD_ERR_LIMIT, "the KV cache has no page left for a wave that was to fit");
}

/* The shared beginnings, by each fork's first sequence. */
static vd_status run_shared(branches *b, vd_fork *forks, size_t n, vd_err *err)
{
    size_t first = 0;
    for (size_t i = 0; i < n; first += forks[i++].n_branches) {
        vd_branch *branch = &forks[i].branch[0];
        vd_kv_seq *seq = &b->seq[first];
        size_t at = vd_kv_seq_adopt(b->kv, seq, 0, branch->tokens, forks[i].n_shared);
        if (!vd_kv_seq_reserve(b->kv, seq, paged(&forks[i])))
            return no_room(err);
        for (; at < paged(&forks[i]); at++)
            queue_token(b, seq, branch, at, NO_TARGET);
    }
    run_pass(b);
    first = 0;
    for (size_t i = 0; i < n; first += forks[i++].n_branches)
        vd_kv_seq_publish(b->kv, &b->seq[first], 0, forks[i].branch[0].tokens, paged(&forks[i]));
    return VD_OK;
}

static vd_status run_branch(branches *b, const vd_fork *fork, size_t index, vd_kv_seq *seq,
                            vd_err *err)
{
    vd_branch *branch = &fork->branch[index];
    size_t at = paged(fork);
    branch->log_prob = 0;
    if (index > 0)
        at = vd_kv_seq_adopt(b->kv, seq, 0, branch->tokens, fork->n_shared);
    if (!vd_kv_seq_reserve(b->kv, seq, branch->n - 1))
        return no_room(err);
    for (; at + 1 < branch->n; at++)
        queue_token(b, seq, branch, at,
                    at + 1 >= fork->n_shared ? branch->tokens[at + 1] : NO_TARGET);
    return VD_OK;
}

static vd_status run_wave(branches *b, vd_fork *forks, size_t n, vd_err *err)
{
    size_t n_seqs = 0;
    vd_status st = run_shared(b, forks, n, err);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        for (size_t k = 0; st == VD_OK && k < forks[i].n_branches; k++)
            st = run_branch(b, &forks[i], k, &b->seq[n_seqs++], err);
    if (st == VD_OK)
        run_pass(b);
    for (size_t i = 0; i < WAVE_SEQS; i++)
        vd_kv_seq_reset(b->kv, &b->seq[i]);
    return st;
}

/* How many of the next forks fit one wave; at least one does, by how the cache was sized. */
static size_t next_wave(const branches *b, const vd_fork *forks, size_t n)
{
    size_t n_pages = 0, n_seqs = 0, i = 0;
    for (; i < n; i++) {
        n_pages += pages_of(&forks[i]);
        n_seqs += forks[i].n_branches;
        if (n_pages > vd_kv_n_pages(b->kv) || n_seqs > WAVE_SEQS)
            break;
    }
    return i;
}

/* ---- the whole -------------------------------------------------------------------------------*/

static vd_status check_forks(const branches *b, const vd_fork *forks, size_t n, size_t *ret_longest,
                             size_t *ret_pages, vd_err *err)
{
    vd_status st = VD_OK;
    *ret_longest = 1;
    *ret_pages = WAVE_TOKENS / VD_KV_PAGE_TOKENS;
    for (size_t i = 0; i < n; i++) {
        const vd_fork *fork = &forks[i];
        if (fork->n_branches > VD_FORK_BRANCHES_MAX || fork->n_shared == 0)
            return VD_FAIL(err, VD_ERR_ARG, "fork %zu has %zu branches that share %zu tokens", i,
                           fork->n_branches, fork->n_shared);
        for (size_t k = 0; k < fork->n_branches; k++) {
            if (fork->branch[k].n <= fork->n_shared)
                return VD_FAIL(err, VD_ERR_ARG, "branch %zu of fork %zu is empty", k, i);
            st = vd_scorer_check_tokens(b->scorer, fork->branch[k].tokens, fork->branch[k].n, err);
            if (st != VD_OK)
                return st;
            if (fork->branch[k].n > vd_model_ctx_max(b->scorer->model))
                return VD_FAIL(err, VD_ERR_CONTEXT,
                               "branch %zu of fork %zu has %zu tokens, the model positions for %zu",
                               k, i, fork->branch[k].n, vd_model_ctx_max(b->scorer->model));
            *ret_longest = VD_MAX(*ret_longest, fork->branch[k].n);
        }
        *ret_pages = VD_MAX(*ret_pages, pages_of(fork));
    }
    return VD_OK;
}

static vd_status make_room(branches *b, size_t longest, size_t n_pages, vd_err *err)
{
    const vd_model *model = b->scorer->model;
    size_t n = VD_SCORER_STEP_TOKENS, n_logits = SIZE_MAX;
    b->rows_max = vd_scorer_rows_max(b->scorer);
    if (!vd_mul_size(b->rows_max, model->hp.n_vocab, &n_logits))
        return VD_FAIL(err, VD_ERR_LIMIT, "the vocabulary is too large");
    vd_status st = vd_alloc_array(n_logits, sizeof(float), "logits", &b->logits, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*b->token), "tokens", &b->token, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*b->pos), "positions", &b->pos, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*b->out), "positions", &b->out, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*b->seqs), "positions", &b->seqs, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*b->branch), "rows", &b->branch, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*b->target), "rows", &b->target, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*b->log_prob), "rows", &b->log_prob, err);
    if (st == VD_OK)
        st = vd_kv_create(&model->hp, b->scorer->kv_dtype, n_pages * VD_KV_PAGE_TOKENS, &b->kv,
                          err);
    if (st == VD_OK)
        st = vd_alloc_array(WAVE_SEQS, sizeof(*b->seq), "sequences", &b->seq, err);
    for (; st == VD_OK && b->n_seqs < WAVE_SEQS; b->n_seqs += st == VD_OK)
        st = vd_kv_seq_init(b->kv, longest, &b->seq[b->n_seqs], err);
    if (st == VD_OK)
        st = vd_forward_create(model, b->kv, b->scorer->pool, n, longest, &b->forward, err);
    return st;
}

static void done(branches *b)
{
    vd_forward_free(b->forward);
    for (size_t i = 0; i < b->n_seqs; i++)
        vd_kv_seq_done(b->kv, &b->seq[i]);
    vd_kv_free(b->kv);
    vd_free(b->seq);
    vd_free(b->token);
    vd_free(b->pos);
    vd_free(b->out);
    vd_free(b->seqs);
    vd_free(b->branch);
    vd_free(b->target);
    vd_free(b->log_prob);
    vd_free(b->logits);
}

vd_status vd_forks_run(vd_scorer *scorer, vd_fork *forks, size_t n, vd_forks_fn on_done, void *ctx,
                       vd_err *err)
{
    branches b = {.scorer = scorer};
    size_t longest, n_pages, n_wave;
    vd_status st = check_forks(&b, forks, n, &longest, &n_pages, err);
    if (st == VD_OK)
        st = make_room(&b, longest, n_pages, err);
    for (size_t i = 0; st == VD_OK && i < n; i += n_wave) {
        n_wave = next_wave(&b, forks + i, n - i);
        st = run_wave(&b, forks + i, n_wave, err);
        if (st == VD_OK && on_done != NULL)
            st = on_done(ctx, i + n_wave, err);
    }
    done(&b);
    return st;
}
