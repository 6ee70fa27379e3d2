/* svg.c - see svg.h. */
#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/lookup.h"
#include "report/text.h"

void vd_svg_begin(vd_buf *out, const char *id, double height, const char *title, const char *what)
{
    vd_buf_printf(out, "<figure><svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-labelledby=\"%s-t "
                  "%s-d\"><title id=\"%s-t\">", VD_SVG_WIDTH, height, id, id, id);
    vd_put_escaped(out, title);
    vd_buf_printf(out, "</title><desc id=\"%s-d\">", id);
    vd_put_escaped(out, what);
    vd_buf_puts(out, "</desc>\n");
}

void vd_svg_text(vd_buf *out, double x, double y, const char *class, const char *anchor,
                 const char *text)
{
    vd_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class,
                  anchor);
    vd_put_escaped(out, text);
    vd_buf_puts(out, "</text>\n");
}

void vd_svg_line(vd_buf *out, double x1, double y1, double x2, double y2, const char *class)
{
    vd_buf_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n",
                  x1, y1, x2, y2, class);
}

void vd_svg_box(vd_buf *out, double x, double y, double w, double h, const char *class)
{
    vd_buf_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" "
                  "class=\"%s\"/>\n", x, y, fmax(w, 0), h, class);
}

/* How wide a character is about, in small letters; bytes inside a character count nothing. */
static double width_of(unsigned char c)
{
    if ((c & 0xc0) == 0x80)
        return 0;
    if (c >= 0xe3) /* from U+3000: most of these scripts are wide */
        return 2;
    if (c == 'W' || c == 'M' || c == 'm' || c == 'w' || c == '@' || c == '%')
        return 1.75;
    return c >= 'A' && c <= 'Z' ? 1.25 : 1;
}

/* As much of a name as is not wider than `most` small letters, cut between two characters. */
static void shorten(const char *name, char *out, size_t size, double most)
{
    size_t n = 0;
    double width = 0;
    for (; name != NULL && name[n] != '\0' && n + 4 < size; n++) {
        width += width_of((unsigned char)name[n]);
        if (width > most && ((unsigned char)name[n] & 0xc0) != 0x80)
            break;
        out[n] = name[n];
    }
    /* What does not fit ends before a character's first byte. */
    while (name != NULL && n > 0 && name[n] != '\0' && ((unsigned char)name[n] & 0xc0) == 0x80)
        n--;
    out[n] = '\0';
    if (name != NULL && name[n] != '\0')
        snprintf(out + n, size - n, "\xe2\x80\xa6");
}

void vd_svg_side(const json_t *report, int side, double y, vd_buf *out)
{
    char name[96], text[112];
    shorten(vd_report_string(report, "sides.%d.name", side), name, sizeof(name), 24);
    snprintf(text, sizeof(text), "%s  %s", side == 0 ? "A" : "B", name);
    vd_svg_text(out, VD_SVG_LEFT - 12, y, "name", "end", text);
}

double vd_nice_step(double span, double n)
{
    double power = pow(10, floor(log10(span / n))), rest = span / n / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

void vd_svg_segment(vd_buf *out, double x, double y, double w, double h, const char *class)
{
    vd_svg_box(out, x, y, w, h, class);
    if (strstr(class, "hatched") != NULL)
        vd_svg_box(out, x, y, w, h, "over-hatch");
    if (strstr(class, "dotted") != NULL)
        vd_svg_box(out, x, y, w, h, "over-dots");
}
