/* draw.h - the charts of a report as SVG, and how the page finds its figures. Inside src/report. */
#ifndef VD_REPORT_DRAW_H
#define VD_REPORT_DRAW_H

#include "base/buf.h"
#include "base/json.h"

/* "comparisons.0.low" of the report, or NULL. */
const json_t *vd_report_at(const json_t *report, const char *path);
/* As a number, NAN where it is missing, null or no number; as text, NULL. */
double vd_report_number(const json_t *report, const char *path, ...) VD_PRINTF(2, 3);
const char *vd_report_string(const json_t *report, const char *path, ...) VD_PRINTF(2, 3);

/* Each draws one <figure> with title, description and legend. */
void vd_draw_pairs(const json_t *report, vd_buf *out);
void vd_draw_parts(const json_t *report, vd_buf *out);
void vd_draw_year(const json_t *report, vd_buf *out);
void vd_draw_break_even(const json_t *report, vd_buf *out);

#endif
