/* draw.h - the charts of a report as SVG. Inside src/report. */
#ifndef VD_REPORT_DRAW_H
#define VD_REPORT_DRAW_H

#include "base/buf.h"
#include "base/json.h"

/* Each draws one <figure> with title, description, axes with their units, and legend. */
void vd_draw_pairs(const json_t *report, vd_buf *out);
void vd_draw_parts(const json_t *report, vd_buf *out);
void vd_draw_year(const json_t *report, vd_buf *out);
void vd_draw_break_even(const json_t *report, vd_buf *out);

#endif
