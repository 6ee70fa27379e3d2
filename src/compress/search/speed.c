/* speed.c - see search.h: how fast a file answers on this machine, and for how many joules. */
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "compress/search/search_internal.h"
#include "model/forward.h"

enum { TOKENS = 48, WARM = 8, RUNS = 3 };

typedef struct decoder {
    vd_model *model;
    vd_kv *kv;
    vd_kv_seq seq;
    vd_forward *forward;
    float *logits;
} decoder;

static vd_status open_decoder(const char *path, vd_pool *pool, decoder *d, vd_err *err)
{
    vd_status st = vd_model_open(path, vd_kernels_default_precision(vd_kernels_get()), pool,
                                 &d->model, err);
    if (st == VD_OK)
        st = vd_kv_create(&d->model->hp, VD_DTYPE_F16, TOKENS, &d->kv, err);
    if (st == VD_OK)
        st = vd_kv_seq_init(d->kv, TOKENS, &d->seq, err);
    if (st == VD_OK)
        st = vd_forward_create(d->model, d->kv, pool, 1, TOKENS, &d->forward, err);
    if (st == VD_OK && d->model->hp.block.encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s is an encoder: it writes no tokens",
                     d->model->arch->name);
    return st == VD_OK ? vd_alloc_array(d->model->hp.n_vocab, sizeof(float), "logits", &d->logits,
                                        err)
                       : st;
}

static void close_decoder(decoder *d)
{
    vd_forward_free(d->forward);
    if (d->kv != NULL)
        vd_kv_seq_done(d->kv, &d->seq);
    vd_kv_free(d->kv);
    vd_free(d->logits);
    vd_model_free(d->model);
}

/* One answer of TOKENS tokens from nothing; the seconds and joules of those after WARM. */
static vd_status answer(const vd_search *s, decoder *d, double *ret_s, double *ret_j, vd_err *err)
{
    const vd_search_options *o = s->options;
    const vd_kv_seq *seq = &d->seq;
    uint32_t out = 0;
    uint64_t begin = 0;
    double joules = 0;
    vd_kv_seq_reset(d->kv, &d->seq);
    if (!vd_kv_seq_reserve(d->kv, &d->seq, TOKENS))
        return VD_FAIL(err, VD_ERR_NOMEM, "no room for %d positions", TOKENS);
    for (uint32_t i = 0; i < TOKENS; i++) {
        size_t n;
        int32_t token = s->probe != NULL ? vd_probe_tokens(s->probe, &n)[i % n]
                                         : (int32_t)(i % d->model->hp.n_vocab);
        vd_batch batch = {.n_tokens = 1, .token = &token, .pos = &i, .seq = &seq, .n_out = 1,
                          .out = &out, .logits = d->logits};
        if (i == WARM) {
            begin = vd_now_ns();
            joules = o->joules != NULL ? o->joules(o->ctx) : 0;
        }
        vd_forward_run(d->forward, &batch);
    }
    *ret_s = (double)(vd_now_ns() - begin) * 1e-9;
    *ret_j = o->joules != NULL ? o->joules(o->ctx) - joules : NAN;
    return VD_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

vd_status vd_search_time(vd_search *s, const char *path, vd_search_point *point, vd_err *err)
{
    decoder d = {0};
    double seconds[RUNS], joules[RUNS];
    vd_status st = open_decoder(path, s->pool, &d, err);
    for (size_t i = 0; st == VD_OK && i < RUNS; i++)
        st = answer(s, &d, &seconds[i], &joules[i], err);
    close_decoder(&d);
    if (st != VD_OK)
        return st;
    qsort(seconds, RUNS, sizeof(*seconds), by_value);
    point->tps = (TOKENS - WARM) / seconds[RUNS / 2];
    if (!isnan(joules[0])) {
        qsort(joules, RUNS, sizeof(*joules), by_value);
        point->jpt = joules[RUNS / 2] / (TOKENS - WARM);
    }
    return VD_OK;
}
