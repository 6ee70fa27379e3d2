/*
 * svg.h - what the charts are drawn with: a viewBox of 760 units and classes that the page's style
 * sheet colours, so that light, dark and paper need one drawing. Inside src/report.
 */
#ifndef VD_REPORT_SVG_H
#define VD_REPORT_SVG_H

#include "base/buf.h"
#include "base/json.h"

enum { VD_SVG_WIDTH = 760, VD_SVG_LEFT = 232 }; /* the names of rows end left of VD_SVG_LEFT */

/* <figure><svg> with title and description; the caller closes both. */
void vd_svg_begin(vd_buf *out, const char *id, double height, const char *title, const char *what);
/* `text` is escaped. */
void vd_svg_text(vd_buf *out, double x, double y, const char *class, const char *anchor,
                 const char *text);
void vd_svg_line(vd_buf *out, double x1, double y1, double x2, double y2, const char *class);
void vd_svg_box(vd_buf *out, double x, double y, double w, double h, const char *class);
/* A box; "hatched" and "dotted" in the class lay a pattern over it, which shows on paper too. */
void vd_svg_segment(vd_buf *out, double x, double y, double w, double h, const char *class);
/* "A  name" in front of the row at y, shortened to the room there is. */
void vd_svg_side(const json_t *report, int side, double y, vd_buf *out);

/* 1, 2 or 5 times a power of ten, so that about `n` of them make `span`. */
double vd_nice_step(double span, double n);

#endif
