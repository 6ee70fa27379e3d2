/* page_tables.h - the tables of a report. Inside src/report only. */
#ifndef VD_REPORT_PAGE_TABLES_H
#define VD_REPORT_PAGE_TABLES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/json.h"

/* <data value data-path>: the number at `path` with its unit; "unknown" where there is none. */
void vd_put_figure(const json_t *report, const char *path, const char *unit, vd_buf *out);

bool vd_has_quality(const json_t *report);
void vd_table_comparisons(const json_t *report, vd_buf *out);
void vd_table_parts(const json_t *report, vd_buf *out);
void vd_table_quality(const json_t *report, vd_buf *out);
void vd_table_footprint(const json_t *report, vd_buf *out);
void vd_table_year(const json_t *report, vd_buf *out);
void vd_table_break_even(const json_t *report, vd_buf *out);
void vd_table_facts(const json_t *report, vd_buf *out);

#endif
