/*
 * keeps.c - see search.h: matrices in Q8_0 of which a share is kept, and what they take in the
 * sparse form of files.
 *
 * Wanda prunes row by row and needs no more than the mean squares that encoders get too: a
 * candidate is pruned here as it is when the file is written.
 */
#include <math.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "compress/search/search_internal.h"
#include "compress/sparse_file.h"
#include "kernels/sparse.h"

static const double usual[] = {0.7, 0.5, 0.35};
static const double measured = 0.5;
enum { UNIT = 64 }; /* bytes that every packed form is a multiple of */

static uint64_t aligned(const vd_search *s, uint64_t bytes)
{
    return (bytes + s->alignment - 1) / s->alignment * s->alignment;
}

void vd_subject_add_keeps(const vd_search *s, vd_subject *subject, bool in_layer)
{
    const vd_search_options *o = s->options;
    const vd_gguf_tensor *t = subject->tensor;
    const double *keep = o->n_keeps > 0 ? o->keep : usual;
    size_t n = o->n_keeps > 0 ? o->n_keeps : VD_COUNT(usual);
    if (!o->sparse || !in_layer || !vd_sparse_file_can(t))
        return;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = vd_sparse_bytes_at((float)keep[i], vd_gguf_tensor_rows(t),
                                            (size_t)t->dim[0]);
        if (bytes < t->n_bytes)
            vd_subject_add(subject, (vd_wanted){VD_DTYPE_Q8_0, keep[i]}, aligned(s, bytes));
    }
}

bool vd_search_may_pack(const vd_search *s, const vd_subject *subject, size_t c)
{
    return s->options->sparse && subject->candidate[c].wanted.dtype == VD_DTYPE_Q8_0 &&
           vd_sparse_file_can(subject->tensor);
}

vd_status vd_search_pack(vd_search *s, vd_subject *subject, size_t c, vd_err *err)
{
    const vd_gguf_tensor *t = subject->tensor;
    size_t n_rows = vd_gguf_tensor_rows(t), n_cols = (size_t)t->dim[0], row_bytes = 0;
    char key[VD_SEARCH_KEY_MAX];
    double number[VD_JOURNAL_NUMBERS] = {0};
    unsigned char *rows = NULL;
    vd_status st = VD_OK;
    vd_search_key(key, "packed", subject, c);
    (void)vd_dtype_row_bytes(VD_DTYPE_Q8_0, n_cols, &row_bytes);
    uint64_t dense = (uint64_t)n_rows * row_bytes;
    bool known = vd_journal_find(s->journal, key, number) && number[0] >= 0 && number[1] >= 1 &&
                 number[1] <= 0x1p50;
    if (!known) {
        vd_recode recode = vd_search_recode_of(subject, c);
        st = vd_recode_run(&recode, s->pool, &rows, &number[0], err);
        if (st == VD_OK) { /* a float holds units up to a gigabyte; beyond, no fewer than it is */
            double units = (double)(vd_sparse_bytes(VD_DTYPE_Q8_0, rows, n_rows, n_cols) / UNIT);
            number[1] = (double)nextafterf((float)units, INFINITY);
            number[1] = (double)(float)units == units ? units : number[1];
            st = vd_journal_add(s->journal, key, number, err);
        }
        vd_free(rows);
    }
    uint64_t packed = (uint64_t)number[1] * UNIT;
    subject->candidate[c].error = number[0];
    subject->candidate[c].sparse = packed < dense;
    subject->choice[c].bytes = packed < dense
                                   ? aligned(s, packed) + vd_sparse_file_head_bytes(t)
                                   : aligned(s, dense);
    return st;
}

void vd_subject_sort(vd_subject *subject)
{
    for (size_t i = 1; i < subject->n; i++)
        for (size_t k = i; k > 0 && subject->choice[k - 1].bytes > subject->choice[k].bytes; k--) {
            vd_candidate candidate = subject->candidate[k];
            vd_choice choice = subject->choice[k];
            subject->candidate[k] = subject->candidate[k - 1];
            subject->choice[k] = subject->choice[k - 1];
            subject->candidate[k - 1] = candidate;
            subject->choice[k - 1] = choice;
        }
}

size_t vd_subject_measured_keep(const vd_subject *subject)
{
    size_t best = subject->n;
    double nearest = INFINITY;
    for (size_t c = 0; c < subject->n; c++) {
        double far = fabs(subject->candidate[c].wanted.keep - measured);
        if (subject->candidate[c].wanted.keep < 1 && subject->candidate[c].error > 0 &&
            far < nearest) {
            nearest = far;
            best = c;
        }
    }
    return best;
}
