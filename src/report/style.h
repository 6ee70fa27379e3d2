/* style.h - the style sheet of a report. Inside src/report only; static storage, closed by NULL. */
#ifndef VD_REPORT_STYLE_H
#define VD_REPORT_STYLE_H

extern const char *const vd_report_style[];

#endif
