/* candidates.c - see search.h: the types that each tensor may have, and what each of them costs. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "compress/encode.h"
#include "compress/search/search_internal.h"
#include "compress/sparse_file.h"

enum {
    SAMPLE_VALUES = 1 << 15, /* of a tensor, by which its types' errors are compared, */
    SAMPLE_ALONE = 1 << 18,  /* and where errors are all that there is, tensors with each other */
    SAMPLE_ROWS = 16,
    HEAD_GROWS = 128 /* by the two numbers that a quantized file must have, at most */
};
static const double PLAIN_BITS = 4.5; /* about what most weights get: one of the two measured */

/* What is tried where nobody says otherwise. Types of few values are for models trained with them;
 * those of 16 bits are for what must not change at all. IQ1 only where it is asked for: the
 * smallest type is one of the two measured, and what it does says little of the others. */
static const vd_dtype usual[] = {
    VD_DTYPE_IQ2_XXS, VD_DTYPE_Q2_0,  VD_DTYPE_IQ2_XS, VD_DTYPE_IQ2_S,  VD_DTYPE_Q2_K,
    VD_DTYPE_IQ3_XXS, VD_DTYPE_Q3_K,  VD_DTYPE_IQ3_S,  VD_DTYPE_MXFP4,  VD_DTYPE_IQ4_XS,
    VD_DTYPE_IQ4_NL,  VD_DTYPE_Q4_0,  VD_DTYPE_Q4_K,   VD_DTYPE_Q4_1,   VD_DTYPE_Q5_0,
    VD_DTYPE_Q5_K,    VD_DTYPE_Q5_1,  VD_DTYPE_Q6_K,   VD_DTYPE_Q8_0,   VD_DTYPE_F16};

vd_status vd_search_stopped(const vd_search *s, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_CANCELLED, "stopped; nothing was written, and what was measured is "
                   "kept in %s.search", s->target);
}

vd_status vd_search_tell(vd_search *s, vd_str note, vd_err *err)
{
    const vd_search_options *o = s->options;
    if (o->progress != NULL && !o->progress(o->ctx, s->done, VD_MAX(s->total, s->done), note))
        return vd_search_stopped(s, err);
    return VD_OK;
}

static bool is_wanted(const vd_search_options *o, vd_dtype dtype)
{
    bool any = false, common = false;
    for (size_t i = 0; i < VD_DTYPE_LIMIT; i++)
        any = any || o->type[i];
    for (size_t i = 0; i < VD_COUNT(usual); i++)
        common = common || usual[i] == dtype;
    return any ? o->type[dtype] : common;
}

static uint64_t bytes_as(const vd_gguf_tensor *tensor, uint32_t dtype)
{
    size_t row = 0;
    if (!vd_dtype_row_bytes(dtype, (size_t)tensor->dim[0], &row))
        return 0;
    return row * vd_gguf_tensor_rows(tensor);
}

/* By rising bytes; of equal ones in the order in which they come. */
void vd_subject_add(vd_subject *subject, vd_wanted wanted, uint64_t bytes)
{
    assert(subject->n < VD_CANDIDATES_MAX);
    subject->candidate[subject->n] = (vd_candidate){.wanted = wanted};
    subject->choice[subject->n++] = (vd_choice){.bytes = bytes};
    vd_subject_sort(subject);
}

/* Its own type, and what is smaller. */
static void list_types(const vd_search *s, vd_subject *subject)
{
    const vd_gguf_tensor *t = subject->tensor;
    uint64_t own = bytes_as(t, t->dtype);
    for (uint32_t type = 0; type < VD_DTYPE_LIMIT; type++) {
        if (vd_dtype_get(type) == NULL)
            continue;
        uint64_t bytes = bytes_as(t, type);
        bool good = type == t->dtype ||
                    (vd_encodable(type) && is_wanted(s->options, (vd_dtype)type) &&
                     (subject->squares != NULL || !vd_encode_needs_weights(type)));
        if (!good || bytes == 0 || (bytes >= own && type != t->dtype))
            continue;
        bytes = (bytes + s->alignment - 1) / s->alignment * s->alignment;
        vd_subject_add(subject, (vd_wanted){(vd_dtype)type, 1}, bytes);
    }
}

/* Without a text all that may change is a subject; else what a product or the embedding reads. */
static bool is_read(const vd_search *s, const vd_gguf_tensor *tensor)
{
    return s->probe == NULL || vd_probe_squares(s->probe, tensor) != NULL ||
           (vd_str_is(tensor->name, "token_embd.weight"));
}

static const float *squares_of(const vd_search *s, const vd_gguf_tensor *tensor)
{
    if (s->probe != NULL)
        return vd_probe_squares(s->probe, tensor);
    for (size_t i = 0; i < vd_gguf_n_tensors(s->gguf); i++)
        if (vd_gguf_tensor_at(s->gguf, i) == tensor)
            return s->squares[i];
    return NULL;
}

static bool has_choice(const vd_search *s)
{
    bool any = false;
    for (size_t i = 0; i < s->n; i++)
        any = any || s->subject[i].n > 1;
    return any;
}

vd_status vd_search_list(vd_search *s, vd_err *err)
{
    const vd_gguf *gguf = s->gguf;
    size_t n_tensors = vd_gguf_n_tensors(gguf);
    uint64_t alignment = vd_gguf_alignment(gguf), all = 0;
    s->alignment = alignment;
    vd_mix_entry *entry = NULL;
    vd_mix_options none = {0};
    vd_status st = vd_alloc_array(n_tensors, sizeof(*entry), "the tensors", &entry, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_tensors, sizeof(*s->subject), "the tensors", &s->subject, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_tensors, sizeof(*s->item), "the tensors", &s->item, err);
    if (st == VD_OK)
        st = vd_mix_choose(gguf, NULL, &none, entry, err);
    for (size_t i = 0; st == VD_OK && i < n_tensors; i++) {
        const vd_gguf_tensor *t = entry[i].tensor;
        uint64_t bytes = (t->n_bytes + alignment - 1) / alignment * alignment;
        all += bytes;
        s->n_values += t->dim[0] * vd_gguf_tensor_rows(t);
        if (!entry[i].may_change || !is_read(s, t)) {
            s->fixed_tensor_bytes += bytes;
            continue;
        }
        vd_subject *subject = &s->subject[s->n];
        *subject = (vd_subject){.tensor = t, .squares = squares_of(s, t),
                                .rows_per_squares = VD_MAX((size_t)t->dim[1], (size_t)1)};
        list_types(s, subject);
        vd_subject_add_keeps(s, subject, entry[i].in_layer);
        subject->now = subject->n;
        s->item[s->n++] = (vd_item){subject->choice, subject->n};
    }
    vd_free(entry);
    if (st == VD_OK && s->n == 0)
        st = VD_FAIL(err, VD_ERR_ARG, "%s has no matrix whose type may change", s->source);
    if (st == VD_OK && !has_choice(s))
        st = VD_FAIL(err, VD_ERR_ARG, "no matrix can be smaller by one of the types: its rows are "
                     "no multiple of their blocks, or it is as small already. Give others to "
                     "--search-types");
    uint64_t file = vd_gguf_file_bytes(gguf);
    s->fixed_bytes = s->fixed_tensor_bytes + (file > all ? file - all : 0) +
                     (s->options->sparse ? VD_SPARSE_FILE_HEAD : 0);
    if (vd_gguf_find(gguf, "general.quantization_version") == NULL ||
        vd_gguf_find(gguf, "general.file_type") == NULL)
        s->fixed_bytes += HEAD_GROWS;
    return st;
}

/* ---- what they cost ---------------------------------------------------------------------------*/

vd_recode vd_search_recode_of(const vd_subject *subject, size_t c)
{
    return (vd_recode){.tensor = subject->tensor, .to = subject->candidate[c].wanted.dtype,
                       .keep = subject->candidate[c].wanted.keep, .weights = subject->squares,
                       .rows_per_weights = subject->rows_per_squares, .row_step = 1};
}

void vd_search_key(char key[VD_SEARCH_KEY_MAX], const char *what, const vd_subject *subject,
                   size_t c)
{
    const vd_wanted *wanted = &subject->candidate[c].wanted;
    char keep[32] = "";
    if (wanted->keep < 1)
        snprintf(keep, sizeof(keep), ":%.17g", wanted->keep);
    snprintf(key, VD_SEARCH_KEY_MAX, "%s %s%s %.*s", what, vd_dtype_name(wanted->dtype), keep,
             (int)VD_MIN(subject->tensor->name.n, VD_SEARCH_KEY_MAX - 80),
             subject->tensor->name.data);
}

static vd_status find_error(vd_search *s, vd_subject *subject, size_t c, vd_err *err)
{
    char key[VD_SEARCH_KEY_MAX];
    double number[VD_JOURNAL_NUMBERS] = {0};
    vd_status st = VD_OK;
    if (vd_search_may_pack(s, subject, c)) {
        st = vd_search_pack(s, subject, c, err);
        s->done++;
        return st == VD_OK ? vd_search_tell(s, subject->tensor->name, err) : st;
    }
    vd_search_key(key, "error", subject, c);
    if (!vd_journal_find(s->journal, key, number)) {
        vd_recode recode = vd_search_recode_of(subject, c);
        size_t rows = vd_gguf_tensor_rows(subject->tensor);
        size_t sample = s->probe != NULL ? SAMPLE_VALUES : SAMPLE_ALONE;
        size_t some = VD_MAX(sample / VD_MAX((size_t)subject->tensor->dim[0], (size_t)1),
                             (size_t)SAMPLE_ROWS);
        recode.row_step = VD_MAX(rows / some, (size_t)1);
        st = vd_recode_run(&recode, s->pool, NULL, &number[0], err);
        number[0] *= (double)rows / (double)((rows + recode.row_step - 1) / recode.row_step);
        if (st == VD_OK)
            st = vd_journal_add(s->journal, key, number, err);
    }
    subject->candidate[c].error = number[0];
    s->done++;
    return st == VD_OK ? vd_search_tell(s, subject->tensor->name, err) : st;
}

/* The divergence with this one tensor in this type. */
static vd_status find_divergence(vd_search *s, vd_subject *subject, size_t c, double *ret,
                                 vd_err *err)
{
    char key[VD_SEARCH_KEY_MAX];
    double number[VD_JOURNAL_NUMBERS] = {0}, error;
    unsigned char *rows = NULL;
    vd_status st = VD_OK;
    vd_search_key(key, "kl", subject, c);
    if (!vd_journal_find(s->journal, key, number)) {
        vd_recode recode = vd_search_recode_of(subject, c);
        vd_probe_result result = {0};
        st = vd_recode_run(&recode, s->pool, &rows, &error, err);
        if (st == VD_OK)
            st = vd_probe_put(s->probe, subject->tensor, subject->candidate[c].wanted.dtype,
                              rows, err);
        if (st == VD_OK)
            st = vd_probe_measure(s->probe, vd_probe_layer(s->probe, subject->tensor), &result,
                                  err);
        number[0] = result.kl;
        number[1] = result.loss;
        vd_status back = vd_probe_put(s->probe, subject->tensor, 0, NULL, st == VD_OK ? err : NULL);
        st = st == VD_OK ? back : st;
        if (st == VD_OK)
            st = vd_journal_add(s->journal, key, number, err);
    }
    *ret = number[0];
    s->done++;
    return st == VD_OK ? vd_search_tell(s, subject->tensor->name, err) : st;
}

/* Which two types are measured: the smallest, and the one nearest to the bits that most weights
 * get. Its error must be more than none. n where there is no such. */
static void choose_measured(const vd_subject *subject, size_t ret[2])
{
    double nearest = INFINITY;
    size_t rows = vd_gguf_tensor_rows(subject->tensor);
    ret[0] = ret[1] = subject->n;
    for (size_t c = 0; c < subject->n; c++) {
        if (subject->candidate[c].error <= 0 || subject->candidate[c].wanted.keep < 1)
            continue;
        double bits = 8 * (double)subject->choice[c].bytes /
                      ((double)subject->tensor->dim[0] * (double)rows);
        if (ret[0] == subject->n)
            ret[0] = c;
        else if (fabs(bits - PLAIN_BITS) < nearest) {
            nearest = fabs(bits - PLAIN_BITS);
            ret[1] = c;
        }
    }
}

/* The divergence at an error: between two measured ones on the line through their logarithms, else
 * in proportion to the nearer one (small errors: it is of second order in them). */
static double cost_at(double error, const double e[2], const double kl[2], size_t n)
{
    if (error <= 0 || n == 0)
        return 0;
    size_t low = n == 2 && e[1] < e[0] ? 1 : 0, high = n == 2 ? 1 - low : low;
    if (n < 2 || error <= e[low] || e[low] >= e[high] || kl[low] <= 0 || kl[high] <= 0)
        return kl[low] * error / e[low];
    if (error >= e[high])
        return kl[high] * error / e[high];
    double part = log(error / e[low]) / log(e[high] / e[low]);
    return exp(log(kl[low]) + part * log(kl[high] / kl[low]));
}

/* No text: a type costs its weighted squared error, of all rows. What nothing is known of counts as
 * what is read by the others does on average. */
static vd_status weigh_errors(const vd_search *s, vd_subject *subject, vd_status st)
{
    for (size_t c = 0; c < subject->n; c++)
        subject->choice[c].cost = subject->candidate[c].error *
                                  (subject->squares == NULL ? s->mean_square : 1);
    return st;
}

/* Of the pruned ones one is measured, the others follow in proportion. */
static vd_status measure_keeps(vd_search *s, vd_subject *subject, vd_err *err)
{
    size_t measured = vd_subject_measured_keep(subject);
    double kl = 0;
    vd_status st = measured < subject->n ? find_divergence(s, subject, measured, &kl, err) : VD_OK;
    for (size_t c = 0; st == VD_OK && measured < subject->n && c < subject->n; c++)
        if (subject->candidate[c].wanted.keep < 1)
            subject->choice[c].cost = kl * subject->candidate[c].error /
                                      subject->candidate[measured].error;
    return st;
}

static vd_status measure_subject(vd_search *s, vd_subject *subject, vd_err *err)
{
    size_t measured[2], n = 0;
    double e[2], kl[2];
    vd_status st = VD_OK;
    for (size_t c = 0; st == VD_OK && c < subject->n; c++)
        st = find_error(s, subject, c, err);
    vd_subject_sort(subject);
    if (s->probe == NULL)
        return weigh_errors(s, subject, st);
    choose_measured(subject, measured);
    for (size_t i = 0; st == VD_OK && i < 2; i++)
        if (measured[i] < subject->n) {
            e[n] = subject->candidate[measured[i]].error;
            st = find_divergence(s, subject, measured[i], &kl[n++], err);
        }
    for (size_t c = 0; st == VD_OK && c < subject->n; c++)
        subject->choice[c].cost = cost_at(subject->candidate[c].error, e, kl, n);
    return st == VD_OK ? measure_keeps(s, subject, err) : st;
}

vd_status vd_search_measure_costs(vd_search *s, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; i < s->n; i++)
        s->total += s->subject[i].n + (s->options->sparse ? 3 : 2);
    for (size_t i = 0; st == VD_OK && i < s->n; i++)
        st = measure_subject(s, &s->subject[i], err);
    return st;
}
