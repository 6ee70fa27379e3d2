/* lookup.h - how page and charts find their figures in a report's JSON. Inside src/report. */
#ifndef VD_REPORT_LOOKUP_H
#define VD_REPORT_LOOKUP_H

#include "base/fail.h"
#include "base/json.h"

/* "comparisons.0.low" of the report, or NULL; borrowed. */
const json_t *vd_report_at(const json_t *report, const char *path);
/* As a number, NAN where it is missing, null or no number; as text, NULL. */
double vd_report_number(const json_t *report, const char *path, ...) VD_PRINTF(2, 3);
const char *vd_report_string(const json_t *report, const char *path, ...) VD_PRINTF(2, 3);

#endif
