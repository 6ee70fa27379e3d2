/* draw.c - every pair as a dot, every ratio as a bar. See draw.h and svg.h. */
#include "report/draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "report/lookup.h"
#include "report/svg.h"
#include "report/text.h"

enum { RIGHT = 560 };

typedef struct scale {
    double low, high; /* of ln(ratio) */
} scale;

static double place(const scale *s, double ratio)
{
    double t = (log(ratio) - s->low) / (s->high - s->low);
    return VD_SVG_LEFT + (RIGHT - VD_SVG_LEFT) * fmin(fmax(t, 0), 1);
}

static void stretch(scale *s, double ratio)
{
    if (!(ratio > 0) || !isfinite(ratio))
        return;
    s->low = fmin(s->low, log(ratio));
    s->high = fmax(s->high, log(ratio));
}

/* In one window the machine time of both sides is one and the same: nothing to draw. */
static bool is_drawn(const json_t *report, size_t i)
{
    bool window = i == 1 && strcmp(vd_report_string(report, "kind"), "trace") == 0;
    return !window && isfinite(vd_report_number(report, "comparisons.%zu.ratio", i));
}

static scale find_scale(const json_t *report, size_t n)
{
    scale s = {-0.02, 0.02};
    for (size_t i = 0; i < n; i++) {
        stretch(&s, vd_report_number(report, "comparisons.%zu.low", i));
        stretch(&s, vd_report_number(report, "comparisons.%zu.high", i));
        stretch(&s, vd_report_number(report, "comparisons.%zu.ratio", i));
        size_t pairs = json_array_size(json_object_get(
            json_array_get(json_object_get(report, "comparisons"), i), "pair_ratios"));
        for (size_t k = 0; k < pairs; k++)
            stretch(&s, vd_report_number(report, "comparisons.%zu.pair_ratios.%zu", i, k));
    }
    double room = 0.06 * (s.high - s.low);
    return (scale){s.low - room, s.high + room};
}

static void draw_axis(const scale *s, double top, double bottom, vd_buf *out)
{
    static const double tick[] = {1,   0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.33, 0.5, 0.6, 0.7, 0.8,
                                  0.9, 0.95, 1.05, 1.1,  1.2, 1.3, 1.5,  2,    3,   4,   5,   7,
                                  10,  20,   50,   100};
    double shown[VD_COUNT(tick)];
    size_t n = 0;
    for (size_t i = 0; i < VD_COUNT(tick); i++) {
        bool room = log(tick[i]) > s->low && log(tick[i]) < s->high;
        for (size_t k = 0; k < n && room; k++)
            room = fabs(place(s, shown[k]) - place(s, tick[i])) > 38;
        if (!room)
            continue;
        shown[n++] = tick[i];
        double x = place(s, tick[i]);
        char text[16];
        snprintf(text, sizeof(text), "%g\xc3\x97", tick[i]);
        vd_svg_line(out, x, top, x, bottom, i == 0 ? "one" : "grid");
        vd_svg_text(out, x, bottom + 18, "tick", "middle", text);
    }
}

static void draw_row(const json_t *report, size_t i, const scale *s, double y, vd_buf *out)
{
    const char *verdict = vd_report_string(report, "comparisons.%zu.verdict", i);
    double ratio = vd_report_number(report, "comparisons.%zu.ratio", i);
    double low = vd_report_number(report, "comparisons.%zu.low", i);
    double high = vd_report_number(report, "comparisons.%zu.high", i);
    size_t n = json_array_size(json_object_get(
        json_array_get(json_object_get(report, "comparisons"), i), "pair_ratios"));
    vd_svg_text(out, VD_SVG_LEFT - 12, y + 4, "name", "end",
                vd_report_string(report, "comparisons.%zu.title", i));
    for (size_t k = 0; k < n; k++) {
        double r = vd_report_number(report, "comparisons.%zu.pair_ratios.%zu", i, k);
        vd_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" class=\"dot\"/>\n",
                      place(s, r), y + 4.0 * (double)((int)(k * 5 % 7) - 3));
    }
    const char *class = strcmp(verdict, "better") == 0  ? "good"
                        : strcmp(verdict, "worse") == 0 ? "bad"
                                                        : "same";
    char text[160];
    snprintf(text, sizeof(text), "%s", vd_ratio_text(ratio).text);
    if (isfinite(low)) {
        vd_buf_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
                      "class=\"range %s\"/>\n", place(s, low), y, place(s, high), y, class);
        snprintf(text, sizeof(text), "%s (%s \xe2\x80\x93 %s)", vd_ratio_text(ratio).text,
                 vd_ratio_text(low).text, vd_ratio_text(high).text);
    }
    double x = place(s, ratio);
    vd_buf_printf(out, "<path d=\"M%.1f %.1fl7 7l-7 7l-7 -7z\" class=\"mark %s\"/>\n", x, y - 7,
                  class);
    vd_svg_text(out, RIGHT + 14, y - 2, "value", "start", text);
    vd_svg_text(out, RIGHT + 14, y + 13, "tick", "start", verdict);
}

void vd_draw_pairs(const json_t *report, vd_buf *out)
{
    size_t n = json_array_size(json_object_get(report, "comparisons"));
    scale s = find_scale(report, n);
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += is_drawn(report, i);
    double bottom = 24 + 46 * (double)rows, y = 44;
    vd_svg_begin(out, "pairs", bottom + 46, "B divided by A, pair by pair",
                 "One row for each figure. Each dot is one pair of runs, the diamond their "
                 "geometric mean, the bar its 95 percent interval. The line at 1 means no "
                 "difference. The table below holds the same figures.");
    draw_axis(&s, 20, bottom, out);
    for (size_t i = 0; i < n; i++)
        if (is_drawn(report, i)) {
            draw_row(report, i, &s, y, out);
            y += 46;
        }
    vd_svg_text(out, (VD_SVG_LEFT + RIGHT) / 2.0, bottom + 38, "tick", "middle",
                "B / A: left of 1 B is less, right of 1 B is more");
    vd_buf_puts(out, "</svg><figcaption>Dots: pairs of runs. Diamond: geometric mean. Bar: 95 % "
                     "interval.</figcaption></figure>\n");
}
