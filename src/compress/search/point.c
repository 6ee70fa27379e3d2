/* point.c - see search.h: all tensors' types at once: measured, built. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/sha256.h"
#include "compress/search/search_internal.h"
#include "compress/sparse_file.h"
#include "model/gguf_sparse.h"

vd_search_point vd_search_point_of(const vd_search *s, const vd_pick *pick)
{
    size_t n_pruned = 0;
    for (size_t i = 0; i < s->n; i++)
        n_pruned += s->subject[i].candidate[pick->choice[i]].wanted.keep < 1;
    return (vd_search_point){.n_pruned = n_pruned, .file_bytes = s->fixed_bytes + pick->bytes,
                             .tensor_bytes = s->fixed_tensor_bytes + pick->bytes,
                             .predicted = pick->cost, .kl = NAN, .loss = NAN, .tps = NAN,
                             .jpt = NAN};
}

/* The probe's model gets the types of choice[n], encoding only those that are not there yet. */
static vd_status put_all(vd_search *s, const size_t *choice, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < s->n; i++) {
        vd_subject *subject = &s->subject[i];
        unsigned char *rows = NULL;
        double error;
        if (subject->now == choice[i])
            continue;
        vd_wanted wanted = subject->candidate[choice[i]].wanted;
        vd_recode recode = vd_search_recode_of(subject, choice[i]);
        if (wanted.dtype != (vd_dtype)subject->tensor->dtype || wanted.keep < 1)
            st = vd_recode_run(&recode, s->pool, &rows, &error, err);
        if (st == VD_OK)
            st = vd_probe_put(s->probe, subject->tensor, wanted.dtype, rows, err);
        if (st == VD_OK)
            subject->now = choice[i];
        if (st == VD_OK)
            st = vd_search_tell(s, subject->tensor->name, err);
    }
    return st;
}

/* A point goes by the types and keep-rates of all subjects. */
static void key_of(const vd_search *s, const size_t *choice, char key[VD_SHA256_HEX + 8])
{
    vd_sha256 sha;
    char hex[VD_SHA256_HEX + 1];
    vd_sha256_init(&sha);
    for (size_t i = 0; i < s->n; i++) {
        const vd_wanted *wanted = &s->subject[i].candidate[choice[i]].wanted;
        unsigned char type = (unsigned char)wanted->dtype;
        vd_sha256_add(&sha, &type, 1);
        if (wanted->keep < 1)
            vd_sha256_add(&sha, &wanted->keep, sizeof(wanted->keep));
    }
    vd_sha256_end(&sha, hex);
    snprintf(key, VD_SHA256_HEX + 8, "point %s", hex);
}

vd_status vd_search_measure_point(vd_search *s, const size_t *choice, vd_probe_result *ret,
                                  vd_err *err)
{
    double number[VD_JOURNAL_NUMBERS] = {0};
    char key[VD_SHA256_HEX + 8];
    vd_status st = VD_OK;
    key_of(s, choice, key);
    if (!vd_journal_find(s->journal, key, number)) {
        vd_probe_result result = {0};
        st = put_all(s, choice, err);
        if (st == VD_OK)
            st = vd_probe_measure(s->probe, 0, &result, err);
        number[0] = result.kl;
        number[1] = result.loss;
        number[2] = (double)result.n_scored;
        if (st == VD_OK)
            st = vd_journal_add(s->journal, key, number, err);
    }
    if (st == VD_OK)
        *ret = (vd_probe_result){number[0], number[1], (size_t)number[2]};
    return st;
}

static vd_status build(vd_search *s, const size_t *choice, const char *path, bool gptq,
                       size_t *ret_rounded, vd_err *err)
{
    vd_compress_options options = {.n_threads = s->options->n_threads,
                                   .progress = s->options->progress, .ctx = s->options->ctx};
    vd_compress_result result;
    bool sparse = false;
    if (gptq) {
        options.calib = s->options->calib;
        options.gptq = true;
        options.drift = s->options->drift;
    } else
        options.imatrix = s->imatrix;
    vd_status st = vd_types_create(&options.mix.types, err);
    for (size_t i = 0; st == VD_OK && i < s->n; i++) {
        const vd_candidate *one = &s->subject[i].candidate[choice[i]];
        sparse = sparse || one->sparse;
        st = vd_types_add_name(options.mix.types, s->subject[i].tensor->name, one->wanted, err);
    }
    if (st == VD_OK)
        st = (sparse ? vd_compress_run_sparse : vd_compress_run)(s->source, path, &options,
                                                                 &result, err);
    if (st == VD_OK)
        *ret_rounded = result.n_rounded;
    vd_types_free(options.mix.types);
    return st == VD_ERR_CANCELLED ? vd_search_stopped(s, err) : st;
}

vd_status vd_search_build(vd_search *s, const size_t *choice, const char *path, vd_err *err)
{
    size_t none;
    return build(s, choice, path, false, &none, err);
}

/* The next tensor of this name; both files have the same order. NULL: there is none. */
static const vd_gguf_tensor *next_named(const vd_gguf *gguf, vd_str name, size_t *at)
{
    while (*at < vd_gguf_n_tensors(gguf)) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, (*at)++);
        if (t->name.n == name.n && memcmp(t->name.data, name.data, name.n) == 0)
            return t;
    }
    return NULL;
}

/* What the model says with the rows of a file that was built. */
static vd_status measure_file(vd_search *s, const char *path, vd_probe_result *ret, vd_err *err)
{
    vd_gguf *gguf = NULL;
    size_t at = 0;
    vd_status st = vd_gguf_open(path, NULL, &gguf, err);
    if (st == VD_OK)
        st = vd_gguf_expand(gguf, err);
    for (size_t i = 0; st == VD_OK && i < s->n; i++) {
        const vd_gguf_tensor *own = s->subject[i].tensor;
        const vd_gguf_tensor *t = next_named(gguf, own->name, &at);
        unsigned char *rows = NULL;
        st = t != NULL ? vd_alloc_array((size_t)t->n_bytes, 1, "rows", &rows, err)
                       : VD_FAIL(err, VD_ERR_FORMAT, "%s has no %.*s", path, (int)own->name.n,
                                 own->name.data);
        if (st != VD_OK)
            break;
        memcpy(rows, t->data, (size_t)t->n_bytes);
        st = vd_probe_put(s->probe, own, (vd_dtype)t->dtype, rows, err);
        s->subject[i].now = s->subject[i].n + 1; /* none of the candidates */
    }
    if (st == VD_OK)
        st = vd_probe_measure(s->probe, 0, ret, err);
    vd_gguf_free(gguf);
    return st;
}

/* Under another name, until it is known to be worth it. *ret_good: it is the target now. */
static vd_status build_rounded(vd_search *s, const size_t *choice, vd_search_point *point,
                               vd_search_result *result, bool *ret_good, vd_err *err)
{
    const vd_target *t = &s->options->target;
    vd_probe_result r = {.kl = NAN, .loss = NAN};
    size_t n_rounded = 0;
    char *path = NULL;
    vd_status st = vd_search_name(s, ".search.gguf", &path, err);
    if (st != VD_OK)
        return st;
    st = build(s, choice, path, true, &n_rounded, err);
    if (st == VD_OK && n_rounded > 0)
        st = measure_file(s, path, &r, err);
    bool good = r.kl <= point->kl && (t->loss == 0 || r.loss <= t->loss);
    if (st == VD_OK && good && vd_file_replace(path, s->target, NULL) != VD_OK)
        st = build(s, choice, s->target, true, &n_rounded, err); /* a link to elsewhere */
    unlink(path);
    vd_free(path);
    *ret_good = st == VD_OK && good;
    result->gptq_harms = st == VD_OK && n_rounded > 0 && !good;
    if (*ret_good) {
        result->n_rounded = n_rounded;
        point->kl = r.kl;
        point->loss = r.loss;
    }
    return st;
}

vd_status vd_search_build_target(vd_search *s, const size_t *choice, vd_search_point *point,
                                 vd_search_result *result, vd_err *err)
{
    bool done = false;
    vd_status st = VD_OK;
    if (s->options->gptq)
        st = build_rounded(s, choice, point, result, &done, err);
    return st == VD_OK && !done ? vd_search_build(s, choice, s->target, err) : st;
}
