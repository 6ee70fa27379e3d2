/* point.c - see search.h: all tensors' types at once: measured, built. */
#include <math.h>
#include <stdio.h>

#include "base/sha256.h"
#include "compress/compress.h"
#include "compress/search/recode.h"
#include "compress/search/search_internal.h"

vd_search_point vd_search_point_of(const vd_search *s, const vd_pick *pick)
{
    return (vd_search_point){.file_bytes = s->fixed_bytes + pick->bytes,
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
        vd_dtype dtype = subject->dtype[choice[i]];
        vd_recode recode = {.tensor = subject->tensor, .to = dtype, .weights = subject->squares,
                            .rows_per_weights = subject->rows_per_squares, .row_step = 1};
        if (dtype != (vd_dtype)subject->tensor->dtype)
            st = vd_recode_run(&recode, s->pool, &rows, &error, err);
        if (st == VD_OK)
            st = vd_probe_put(s->probe, subject->tensor, dtype, rows, err);
        if (st == VD_OK)
            subject->now = choice[i];
        if (st == VD_OK)
            st = vd_search_tell(s, subject->tensor->name, err);
    }
    return st;
}

/* A point goes by the types of all subjects. */
static void key_of(const vd_search *s, const size_t *choice, char key[VD_SHA256_HEX + 8])
{
    vd_sha256 sha;
    char hex[VD_SHA256_HEX + 1];
    vd_sha256_init(&sha);
    for (size_t i = 0; i < s->n; i++) {
        unsigned char type = (unsigned char)s->subject[i].dtype[choice[i]];
        vd_sha256_add(&sha, &type, 1);
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

vd_status vd_search_build(vd_search *s, const size_t *choice, const char *path, vd_err *err)
{
    vd_compress_options options = {.n_threads = s->options->n_threads, .imatrix = s->imatrix,
                                   .progress = s->options->progress, .ctx = s->options->ctx};
    vd_compress_result result;
    vd_status st = vd_types_create(&options.mix.types, err);
    for (size_t i = 0; st == VD_OK && i < s->n; i++)
        st = vd_types_add_name(options.mix.types, s->subject[i].tensor->name,
                               s->subject[i].dtype[choice[i]], err);
    if (st == VD_OK)
        st = vd_compress_run(s->source, path, &options, &result, err);
    vd_types_free(options.mix.types);
    return st;
}
