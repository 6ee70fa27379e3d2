/* text.h - numbers and foreign text as a reader sees them. Inside src/report only. */
#ifndef VD_REPORT_TEXT_H
#define VD_REPORT_TEXT_H

#include "base/buf.h"

typedef struct vd_report_text {
    char text[48];
} vd_report_text;

/* Three digits that mean something, thousands apart: "0.0412", "97.5", "12,400". */
vd_report_text vd_number_text(double value);
/* With the unit and its prefix: "41.2 mJ", "1.24 kg", "98.4 MB". Units: J g L B s W kWh, others
 * stand as they are. */
vd_report_text vd_unit_text(double value, const char *unit);
/* A ratio: "0.720", "1.04", "12.3". */
vd_report_text vd_ratio_text(double value);

/* `text` so that it can stand in HTML, between tags and in quotes; control characters are left
 * out. */
void vd_put_escaped(vd_buf *out, const char *text);

#endif
