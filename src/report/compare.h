/*
 * compare.h - two runs side by side, as the JSON document "verdant.report/1" that the page is drawn
 * from. docs/report.md explains its fields.
 */
#ifndef VD_REPORT_COMPARE_H
#define VD_REPORT_COMPARE_H

#include "report/record.h"

#define VD_REPORT_SCHEMA "verdant.report/1"

/* 0 and NULL mean the default in parentheses. */
typedef struct vd_report_options {
    double requests_per_day;               /* of the yearly projection (1,000) */
    uint64_t prompt_tokens, answer_tokens; /* of an answer of a bench (as benched) */
    const vd_run_cost *cost;               /* [n_costs] what making B took, beside its own costs */
    size_t n_costs;
} vd_report_options;

/* A is before, B after. VD_ERR_ARG where the two are of kinds that cannot be held against each
 * other. *ret_report is a new reference; it holds copies only. */
VD_NODISCARD vd_status vd_report_make(const vd_run *a, const vd_run *b,
                                      const vd_report_options *options, json_t **ret_report,
                                      vd_err *err);

/* Both records are of one model file. */
bool vd_run_same_model(const vd_run *a, const vd_run *b);
/* Takes over what `from`, an eval record, knows of quality and `run` does not. */
void vd_run_take_quality(vd_run *run, const vd_run *from);

#endif
