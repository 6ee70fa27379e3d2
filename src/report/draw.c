/*
 * draw.c - charts by hand: a viewBox of 760 units, classes that the page's style sheet colours, so
 * that light, dark and paper need one drawing. See draw.h.
 */
#include "report/draw.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "report/text.h"

enum { WIDTH = 760, LEFT = 232, RIGHT = 560 };

const json_t *vd_report_at(const json_t *report, const char *path)
{
    const json_t *value = report;
    while (value != NULL && *path != '\0') {
        char key[64];
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)VD_MIN(n, sizeof(key) - 1), path);
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10))
                                     : json_object_get(value, key);
        path += n + (path[n] == '.');
    }
    return value;
}

double vd_report_number(const json_t *report, const char *path, ...)
{
    char full[128];
    va_list args;
    va_start(args, path);
    vsnprintf(full, sizeof(full), path, args);
    va_end(args);
    const json_t *value = vd_report_at(report, full);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *vd_report_string(const json_t *report, const char *path, ...)
{
    char full[128];
    va_list args;
    va_start(args, path);
    vsnprintf(full, sizeof(full), path, args);
    va_end(args);
    return json_string_value(vd_report_at(report, full));
}

static void begin(vd_buf *out, const char *id, double height, const char *title, const char *what)
{
    vd_buf_printf(out, "<figure><svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-labelledby=\"%s-t "
                  "%s-d\"><title id=\"%s-t\">", WIDTH, height, id, id, id);
    vd_put_escaped(out, title);
    vd_buf_printf(out, "</title><desc id=\"%s-d\">", id);
    vd_put_escaped(out, what);
    vd_buf_puts(out, "</desc>\n");
}

static void label(vd_buf *out, double x, double y, const char *class, const char *anchor,
                  const char *text)
{
    vd_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class,
                  anchor);
    vd_put_escaped(out, text);
    vd_buf_puts(out, "</text>\n");
}

static void line(vd_buf *out, double x1, double y1, double x2, double y2, const char *class)
{
    vd_buf_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n",
                  x1, y1, x2, y2, class);
}

static void box(vd_buf *out, double x, double y, double w, double h, const char *class)
{
    vd_buf_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" "
                  "class=\"%s\"/>\n", x, y, fmax(w, 0), h, class);
}

/* At most `most` characters of a name, cut between two. */
static void shorten(const char *name, char *out, size_t size, size_t most)
{
    size_t n = 0, shown = 0;
    for (; name != NULL && name[n] != '\0' && n + 4 < size; n++) {
        bool first = ((unsigned char)name[n] & 0xc0) != 0x80;
        if (first && shown == most)
            break;
        shown += first;
        out[n] = name[n];
    }
    out[n] = '\0';
    if (name != NULL && name[n] != '\0')
        snprintf(out + n, size - n, "\xe2\x80\xa6");
}

static void side_label(const json_t *report, int side, double y, vd_buf *out)
{
    char name[96], text[112];
    shorten(vd_report_string(report, "sides.%d.name", side), name, sizeof(name), 26);
    snprintf(text, sizeof(text), "%s  %s", side == 0 ? "A" : "B", name);
    label(out, LEFT - 12, y, "name", "end", text);
}

/* 1, 2 or 5 times a power of ten, so that about `n` of them make `span`. */
static double nice_step(double span, double n)
{
    double power = pow(10, floor(log10(span / n))), rest = span / n / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

/* ---- every pair as a dot --------------------------------------------------------------------- */

typedef struct scale {
    double low, high; /* of ln(ratio) */
} scale;

static double place(const scale *s, double ratio)
{
    double t = (log(ratio) - s->low) / (s->high - s->low);
    return LEFT + (RIGHT - LEFT) * fmin(fmax(t, 0), 1);
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
        line(out, x, top, x, bottom, i == 0 ? "one" : "grid");
        label(out, x, bottom + 18, "tick", "middle", text);
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
    label(out, LEFT - 12, y + 4, "name", "end",
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
    label(out, RIGHT + 14, y - 2, "value", "start", text);
    label(out, RIGHT + 14, y + 13, "tick", "start", verdict);
}

void vd_draw_pairs(const json_t *report, vd_buf *out)
{
    size_t n = json_array_size(json_object_get(report, "comparisons"));
    scale s = find_scale(report, n);
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += is_drawn(report, i);
    double bottom = 24 + 46 * (double)rows, y = 44;
    begin(out, "pairs", bottom + 46, "B divided by A, pair by pair",
          "One row for each figure. Each dot is one pair of runs, the diamond their geometric "
          "mean, "
          "the bar its 95 percent interval. The line at 1 means no difference. The table below "
          "holds the same figures.");
    draw_axis(&s, 20, bottom, out);
    for (size_t i = 0; i < n; i++)
        if (is_drawn(report, i)) {
            draw_row(report, i, &s, y, out);
            y += 46;
        }
    label(out, (LEFT + RIGHT) / 2.0, bottom + 38, "tick", "middle",
          "B / A: left of 1 B is less, right of 1 B is more");
    vd_buf_puts(out, "</svg><figcaption>Dots: pairs of runs. Diamond: geometric mean. Bar: 95 % "
                     "interval.</figcaption></figure>\n");
}

/* ---- stacked bars ---------------------------------------------------------------------------- */

/* An axis from 0 to `most` with its unit. */
static void bar_axis(double most, const char *unit, double top, double bottom, vd_buf *out)
{
    double step = nice_step(most, 4);
    for (int i = 0; i * step <= most * 1.0001; i++) {
        double v = i * step;
        double x = LEFT + (WIDTH - 130 - LEFT) * v / most;
        line(out, x, top, x, bottom, v == 0 ? "one" : "grid");
        label(out, x, bottom + 18, "tick", "middle", vd_unit_text(v, unit).text);
    }
}

static double bar_width(double value, double most)
{
    return (WIDTH - 130 - LEFT) * value / most;
}

static const char *const phases[] = {"reading", "writing", "answer"};
static const char *const parts[] = {"processor", "memory", "accelerator", "rest"};

static double part_j(const json_t *report, int side, size_t phase, size_t part)
{
    double joules = vd_report_number(report, "sides.%d.parts_j_per_answer.%s.%s", side,
                                     phases[phase], parts[part]);
    return isfinite(joules) ? joules : 0;
}

static double parts_sum(const json_t *report, int side)
{
    double sum = 0;
    for (size_t i = 0; i < VD_COUNT(phases) * VD_COUNT(parts); i++)
        sum += part_j(report, side, i / VD_COUNT(parts), i % VD_COUNT(parts));
    return sum;
}

static const char *part_class(size_t phase, size_t part)
{
    static const char *const class[2][4] = {
        {"seg read", "seg read hatched", "seg read dotted", "seg read"},
        {"seg write", "seg write hatched", "seg write dotted", "seg write"}};
    return class[phase == 0 ? 0 : 1][part];
}

/* A segment; where the class says so a pattern lies over it, which shows on paper too. */
static void segment(vd_buf *out, double x, double y, double w, double h, const char *class)
{
    box(out, x, y, w, h, class);
    if (strstr(class, "hatched") != NULL)
        box(out, x, y, w, h, "over-hatch");
    if (strstr(class, "dotted") != NULL)
        box(out, x, y, w, h, "over-dots");
}

/* Every pair of phase and part that occurs, three in a line. */
static void parts_legend(const json_t *report, double y, vd_buf *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < VD_COUNT(phases) * VD_COUNT(parts); i++) {
        size_t phase = i / VD_COUNT(parts), part = i % VD_COUNT(parts);
        char text[64];
        if (part_j(report, 0, phase, part) + part_j(report, 1, phase, part) <= 0)
            continue;
        double x = LEFT + 150 * (double)(shown % 3), row = y + 22 * (double)(shown / 3);
        snprintf(text, sizeof(text), "%s, %s", phases[phase], parts[part]);
        segment(out, x, row, 14, 14, part_class(phase, part));
        label(out, x + 20, row + 12, "tick", "start", text);
        shown++;
    }
}

void vd_draw_parts(const json_t *report, vd_buf *out)
{
    double sum[2] = {parts_sum(report, 0), parts_sum(report, 1)};
    double most = fmax(sum[0], sum[1]), bottom = 140;
    if (!(most > 0))
        return;
    begin(out, "parts", bottom + 84, "Joules of an answer by phase and part of the machine",
          "A bar for A and one for B, cut into reading and writing, each into processor, memory "
          "and "
          "accelerator. The table below holds the same figures.");
    vd_buf_puts(out, "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" "
                     "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><line "
                     "x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" class=\"hatch\"/></pattern><pattern "
                     "id=\"dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><circle "
                     "cx=\"3\" cy=\"3\" r=\"1.3\" class=\"hatchdot\"/></pattern></defs>\n");
    bar_axis(most, "J", 12, bottom, out);
    for (int side = 0; side < 2; side++) {
        double x = LEFT, y = 26 + 58 * side;
        side_label(report, side, y + 22, out);
        for (size_t i = 0; i < VD_COUNT(phases) * VD_COUNT(parts); i++) {
            size_t phase = i / VD_COUNT(parts), part = i % VD_COUNT(parts);
            double w = bar_width(part_j(report, side, phase, part), most);
            if (w > 0)
                segment(out, x, y, w - 1, 36, part_class(phase, part));
            x += w;
        }
        label(out, x + 8, y + 22, "value", "start", vd_unit_text(sum[side], "J").text);
    }
    parts_legend(report, bottom + 34, out);
    vd_buf_puts(out, "</svg></figure>\n");
}

void vd_draw_year(const json_t *report, vd_buf *out)
{
    double op[2], em[2], most = 0, bottom = 140;
    for (int side = 0; side < 2; side++) {
        op[side] = vd_report_number(report, "footprint.%d.per_year.operational_kg", side);
        em[side] = vd_report_number(report, "footprint.%d.per_year.embodied_kg", side);
        op[side] = isfinite(op[side]) ? op[side] * 1000 : 0;
        em[side] = isfinite(em[side]) ? em[side] * 1000 : 0;
        most = fmax(most, op[side] + em[side]);
    }
    if (!(most > 0))
        return;
    begin(out, "year", bottom + 62, "CO2e of a year of answers",
          "A bar for A and one for B: what the electricity emits and the machine's share of its "
          "making. The table below holds the same figures.");
    bar_axis(most, "g", 12, bottom, out);
    for (int side = 0; side < 2; side++) {
        double y = 26 + 58 * side, w = bar_width(op[side], most), v = bar_width(em[side], most);
        side_label(report, side, y + 22, out);
        segment(out, LEFT, y, w - 1, 36, side == 0 ? "seg a" : "seg b");
        segment(out, LEFT + w, y, v - 1, 36, side == 0 ? "seg a hatched" : "seg b hatched");
        label(out, LEFT + w + v + 8, y + 22, "value", "start",
              vd_unit_text(op[side] + em[side], "g").text);
    }
    segment(out, LEFT, bottom + 34, 14, 14, "seg b");
    label(out, LEFT + 20, bottom + 46, "tick", "start", "electricity");
    segment(out, LEFT + 110, bottom + 34, 14, 14, "seg b hatched");
    label(out, LEFT + 130, bottom + 46, "tick", "start", "making the machine, its share");
    vd_buf_puts(out, "</svg></figure>\n");
}

/* ---- break-even ------------------------------------------------------------------------------ */

void vd_draw_break_even(const json_t *report, vd_buf *out)
{
    double cost = vd_report_number(report, "break_even.cost_j");
    double even = vd_report_number(report, "break_even.requests");
    double a = vd_report_number(report, "footprint.0.per_answer.joules");
    double b = vd_report_number(report, "footprint.1.per_answer.joules");
    if (!(cost >= 0) || !(a > 0) || !(b > 0))
        return;
    double requests = isfinite(even) && even > 0 ? 2.2 * even : 4 * fmax(cost, a) / a;
    double joules = fmax(a * requests, cost + b * requests), top = 20, bottom = 240;
    double right = WIDTH - 130, left = 90;
    begin(out, "even", bottom + 50, "Joules spent in all, by answers given",
          "Two lines: A begins at zero, B at what making it took. Where they cross, making B has "
          "paid for itself. The table below holds the figures.");
#define X(r) (left + (right - left) * (r) / requests)
#define Y(j) (bottom - (bottom - top) * (j) / joules)
    double step = nice_step(joules, 4);
    for (int i = 0; i * step <= joules; i++) {
        double v = i * step;
        line(out, left, Y(v), right, Y(v), i == 0 ? "one" : "grid");
        label(out, left - 8, Y(v) + 4, "tick", "end", vd_unit_text(v, "J").text);
    }
    step = nice_step(requests, 5);
    for (int i = 0; i * step <= requests; i++)
        label(out, X(i * step), bottom + 18, "tick", "middle", vd_number_text(i * step).text);
    label(out, (left + right) / 2, bottom + 40, "tick", "middle", "answers");
    line(out, X(0), Y(0), X(requests), Y(a * requests), "curve a");
    line(out, X(0), Y(cost), X(requests), Y(cost + b * requests), "curve b");
    bool apart = fabs(Y(a * requests) - Y(cost + b * requests)) > 14;
    label(out, right + 8, Y(a * requests) + 4 - (apart ? 0 : 8), "value", "start", "A");
    label(out, right + 8, Y(cost + b * requests) + 4 + (apart ? 0 : 8), "value", "start", "B");
    if (isfinite(even) && even > 0) {
        double x = X(even), y = Y(a * even);
        char text[80];
        line(out, x, y, x, bottom, "drop");
        vd_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"6\" class=\"cross\"/>\n", x, y);
        snprintf(text, sizeof(text), "even after %s answers", vd_number_text(ceil(even)).text);
        label(out, x + 12, y + 20, "value", "start", text);
    }
#undef X
#undef Y
    vd_buf_puts(out, "</svg></figure>\n");
}
