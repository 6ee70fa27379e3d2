/*
 * page.h - a report as one HTML file: no script, no font, no address of anything outside it. Every
 * figure stands in <data value="..." data-path="...">, where the path leads to it in the JSON.
 */
#ifndef VD_REPORT_PAGE_H
#define VD_REPORT_PAGE_H

#include "base/buf.h"
#include "base/json.h"

enum { VD_REPORT_PAGE_MAX = 8 << 20 };

/* `report` is what vd_report_make made. Appends; ask vd_buf_status afterwards. */
void vd_report_page(const json_t *report, vd_buf *out);

#endif
