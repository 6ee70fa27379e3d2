/*
 * moe.c - a mixture of experts (Shazeer et al. 2017): a router chooses for each token which of many
 * feed-forward networks it passes, and with which weights their outputs are added.
 *
 *   x --norm--> h --Wrouter--> probabilities | choose K | group |
 *     rows by expert:  e0: t3 t7 | e1: t0 | e4: t0 t3 t7 ...
 *     --norm--> h --Wgate,Wup of e--> silu(g)*u | --Wdown of e--> sum += weight * y | ... --> +x |
 *
 * Tokens are grouped by expert, so that the weights of an expert are read once for all of its
 * tokens. The rows of all experts are up to K times those of the batch; they are computed in runs
 * of experts that fit the workspace of one batch. A token's experts are added up by number,
 * whatever else is in the batch, so that results do not depend on it.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "model/pass.h"

/* Logits to probabilities, in place. */
static void softmax(float *x, size_t n)
{
    float most = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        most = fmaxf(most, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - most);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

enum { TAKEN = -1 }; /* no probability; a NaN is none either, but still to be had */

/* The k most probable of n, ties to the lower number. Spoils p. */
static void choose(float *p, size_t n, size_t k, uint32_t *expert, float *weight)
{
    for (size_t j = 0; j < k; j++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (p[i] != TAKEN && (best == n || p[i] > p[best]))
                best = i;
        expert[j] = (uint32_t)best;
        weight[j] = p[best];
        p[best] = TAKEN;
    }
}

static void route(const vd_worker *w, size_t token)
{
    const vd_hparams *hp = &w->m->hp;
    size_t n = hp->moe.n_experts, k = hp->moe.n_used;
    vd_routes *r = &w->f->routes;
    float *p = r->logit + token * n, *weight = r->weight + token * k, sum = 0;
    softmax(p, n);
    choose(p, n, k, r->expert + token * k, weight);
    for (size_t j = 0; j < k; j++)
        sum += weight[j];
    for (size_t j = 0; hp->block.expert_sum && j < k; j++)
        weight[j] /= sum;
}

/* Rows by expert, then by token (a counting sort). */
static void group(const vd_worker *w)
{
    size_t n = w->m->hp.moe.n_experts, k = w->m->hp.moe.n_used, n_rows = w->n_tokens * k;
    vd_routes *r = &w->f->routes;
    memset(r->first, 0, (n + 1) * sizeof(*r->first));
    for (size_t i = 0; i < n_rows; i++)
        r->first[r->expert[i]]++;
    uint32_t end = 0;
    for (size_t e = 0; e <= n; e++) /* now where each expert's rows end */
        r->first[e] = end += e < n ? r->first[e] : 0;
    for (size_t i = n_rows; i-- > 0;) {
        uint32_t row = --r->first[r->expert[i]];
        r->row_token[row] = (uint32_t)(i / k);
        r->row_weight[row] = r->weight[i];
    }
}

/* sum[T, C] = the shared expert's outputs, or zeros; this thread's columns. f->gate holds its
 * hidden values. */
static void begin_sum(vd_worker *w, const vd_layer *layer)
{
    vd_forward *f = w->f;
    size_t c = w->m->hp.n_embd, begin, end;
    bool shared = w->m->hp.block.shared_expert;
    float *sum = f->routes.sum;
    if (shared) {
        const vd_dense *down = &layer->ffn.down;
        vd_act act =
            vd_pass_input(w, f->gate, w->n_tokens, down->weight.n_cols, NULL, VD_WIDTH_WIDE);
        vd_pass_product(w, down, &act, sum);
    }
    vd_pass_rows(w, c, &begin, &end);
    for (size_t t = 0; t < w->n_tokens; t++)
        for (size_t i = begin; i < end; i++)
            sum[t * c + i] = shared ? sum[t * c + i] * f->routes.shared_weight[t] : 0;
}

/* Routes all tokens and begins the sum. */
static void choose_experts(vd_worker *w, const vd_layer *layer)
{
    vd_forward *f = w->f;
    size_t c = w->m->hp.n_embd, n_tokens = w->n_tokens, begin, end;
    bool shared = w->m->hp.block.shared_expert, few = n_tokens <= VD_PASS_PRIVATE_MAX;
    vd_act act = vd_pass_input(w, f->x, n_tokens, c, &layer->ffn_norm, VD_WIDTH_WIDE);
    vd_pass_product(w, &layer->router, &act, f->routes.logit);
    if (shared)
        vd_pass_ffn_hidden(w, &layer->ffn, &act, 0);
    vd_pool_range(n_tokens, 1, w->thread, w->n_threads, &begin, &end);
    for (size_t t = begin; shared && t < end; t++) {
        float gate = w->kn->dot_row(VD_DTYPE_F32, layer->shared_gate, act.x + t * act.ld_x, c,
                                    w->space->scratch);
        f->routes.shared_weight[t] = 1 / (1 + expf(-gate));
    }
    vd_pool_barrier(f->pool);
    if (few) { /* one thread does it all: that costs less than meeting once more */
        begin = 0;
        end = w->thread == 0 ? n_tokens : 0;
    }
    for (size_t t = begin; t < end; t++)
        route(w, t);
    if (few && w->thread == 0)
        group(w);
    begin_sum(w, layer);
    vd_pool_barrier(f->pool);
    if (few)
        return;
    if (w->thread == 0)
        group(w);
    vd_pool_barrier(f->pool);
}

/* Adds the outputs of experts [e, end) to the sum. */
static void run_experts(vd_worker *w, const vd_layer *layer, size_t e, size_t end)
{
    vd_forward *f = w->f;
    const vd_routes *r = &f->routes;
    const vd_hparams *hp = &w->m->hp;
    size_t c = hp->n_embd, base = r->first[e], n_rows = r->first[end] - base, from, to;
    vd_act act = vd_pass_input_parts(w, f->x, r->row_token + base, n_rows, c, &layer->ffn_norm,
                                     VD_WIDTH_NARROW);
    for (size_t i = e; i < end; i++) {
        size_t row = r->first[i] - base, row_end = r->first[i + 1] - base;
        vd_act own = vd_act_rows(&act, row, row_end);
        if (row < row_end)
            vd_pass_ffn_hidden(w, &layer->expert[i], &own, row);
    }
    vd_pool_barrier(f->pool);
    act = vd_pass_input_parts(w, f->gate, NULL, n_rows, hp->moe.n_ff, NULL, VD_WIDTH_WIDE);
    for (size_t i = e; i < end; i++) {
        size_t row = r->first[i] - base, row_end = r->first[i + 1] - base;
        vd_act own = vd_act_rows(&act, row, row_end);
        if (row < row_end)
            vd_pass_product(w, &layer->expert[i].down, &own, f->y + row * c);
    }
    vd_pass_rows(w, c, &from, &to);
    for (size_t row = 0; row < n_rows; row++) {
        float weight = r->row_weight[base + row];
        float *sum = r->sum + r->row_token[base + row] * c;
        for (size_t i = from; i < to; i++)
            sum[i] += weight * f->y[row * c + i];
    }
    vd_pool_barrier(f->pool);
}

void vd_pass_moe(vd_worker *w, const vd_layer *layer)
{
    const vd_routes *r = &w->f->routes;
    size_t n = w->m->hp.moe.n_experts, room = VD_MAX(w->f->max_tokens, w->m->hp.moe.n_used);
    choose_experts(w, layer);
    for (size_t e = 0, end; e < n; e = end) {
        end = e + 1;
        while (end < n && r->first[end + 1] - r->first[e] <= room)
            end++;
        if (r->first[end] > r->first[e])
            run_experts(w, layer, e, end);
    }
    vd_pass_add(w, w->f->routes.sum, &layer->ffn_out_norm, &layer->ffn_sum_norm);
}
