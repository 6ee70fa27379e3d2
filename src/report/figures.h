/*
 * figures.h - what is compared, and which samples with which. Inside src/report only.
 *
 * An answer of a bench is made of its phases: prompt_tokens of prefill and answer_tokens of decode.
 * Of a trace or a service, joules and seconds are divided by the answers that came.
 */
#ifndef VD_REPORT_FIGURES_H
#define VD_REPORT_FIGURES_H

#include "report/compare.h"
#include "report/stats.h"

typedef struct vd_load {
    double requests_per_day, prompt_tokens, answer_tokens;
} vd_load;

typedef struct vd_pairs {
    const vd_run *run[2];
    vd_load load;
    const vd_run_sample **sample[2]; /* [n]: those with a twin; without any twin, NULL */
    size_t n;
    bool same_time;   /* interleaved on one machine: ratios of times are paired */
    bool same_energy; /* and metered alike */
} vd_pairs;

typedef struct vd_metric {
    const char *id, *title, *unit; /* unit "" is a plain number; others as text.h knows them */
    bool energy;                   /* the meter's uncertainty is in it */
    bool higher;                   /* more is better */
    const char *needs; /* "B {needs} 0.72x the {thing} of A" */
    const char *thing;
    /* NAN: not known. `twin` is the sample it stood beside, or NULL. */
    double (*value)(const vd_pairs *pairs, int side, const vd_run_sample *own,
                    const vd_run_sample *twin);
} vd_metric;

/* Those of runs of this kind. */
const vd_metric *vd_metrics_of(const char *kind, size_t *ret_n);

/* Finds the pairs, and adds to `reasons` (JSON array of strings) why a paired statement is not
 * possible. VD_ERR_NOMEM. vd_pairs_done. */
VD_NODISCARD vd_status vd_pairs_find(const vd_run *a, const vd_run *b, const vd_load *load,
                                     vd_pairs *ret_pairs, json_t *reasons, vd_err *err);
void vd_pairs_done(vd_pairs *pairs);

/* The geometric mean over the paired samples, or all where there are none; NAN where unknown. */
double vd_figure(const vd_pairs *pairs, const vd_metric *metric, int side);

/* Written tokens of an answer: the stated ones of a bench, else the side's own mean. */
double vd_tokens_per_answer(const vd_pairs *pairs, int side);

/* {"joules":...,"seconds":...} per answer become grams, litres, SCI and a year: the objects
 * "footprint" [2] and "break_even" of the report. */
VD_NODISCARD vd_status vd_footprint_put(const vd_pairs *pairs, const vd_report_options *options,
                                        double joules_ratio, double low, double high,
                                        json_t *report, vd_err *err);

/* The sentences of "summary", from the finished comparisons. */
VD_NODISCARD vd_status vd_words_put(const vd_pairs *pairs, json_t *report, vd_err *err);

#endif
