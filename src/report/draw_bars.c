/* draw_bars.c - stacked bars, and the two lines of break-even. See draw.h and svg.h. */
#include "report/draw.h"

#include <math.h>
#include <stdio.h>

#include "base/checked.h"
#include "report/lookup.h"
#include "report/svg.h"
#include "report/text.h"

/* An axis from 0 to `most` with its unit and its name. */
static void bar_axis(double most, const char *unit, const char *name, double bottom, vd_buf *out)
{
    double top = 12, middle = (VD_SVG_LEFT + VD_SVG_WIDTH - 130) / 2.0;
    double step = vd_nice_step(most, 4);
    for (int i = 0; i * step <= most * 1.0001; i++) {
        double v = i * step;
        double x = VD_SVG_LEFT + (VD_SVG_WIDTH - 130 - VD_SVG_LEFT) * v / most;
        vd_svg_line(out, x, top, x, bottom, v == 0 ? "one" : "grid");
        vd_svg_text(out, x, bottom + 18, "tick", "middle", vd_unit_text(v, unit).text);
    }
    vd_svg_text(out, middle, bottom + 36, "tick", "middle", name);
}

static double bar_width(double value, double most)
{
    return (VD_SVG_WIDTH - 130 - VD_SVG_LEFT) * value / most;
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

/* Every pair of phase and part that occurs, three in a line. */
static void parts_legend(const json_t *report, double y, vd_buf *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < VD_COUNT(phases) * VD_COUNT(parts); i++) {
        size_t phase = i / VD_COUNT(parts), part = i % VD_COUNT(parts);
        char text[64];
        if (part_j(report, 0, phase, part) + part_j(report, 1, phase, part) <= 0)
            continue;
        double x = VD_SVG_LEFT + 150 * (double)(shown % 3), row = y + 22 * (double)(shown / 3);
        snprintf(text, sizeof(text), "%s, %s", phases[phase], parts[part]);
        vd_svg_segment(out, x, row, 14, 14, part_class(phase, part));
        vd_svg_text(out, x + 20, row + 12, "tick", "start", text);
        shown++;
    }
}

void vd_draw_parts(const json_t *report, vd_buf *out)
{
    double sum[2] = {parts_sum(report, 0), parts_sum(report, 1)};
    double most = fmax(sum[0], sum[1]), bottom = 140;
    if (!(most > 0))
        return;
    vd_svg_begin(out, "parts", bottom + 104, "Joules of an answer by phase and part of the machine",
                 "A bar for A and one for B, cut into reading and writing, each into processor, "
                 "memory and accelerator. The table below holds the same figures.");
    vd_buf_puts(out, "<defs><pattern id=\"hatch\" width=\"6\" height=\"6\" "
                     "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><line "
                     "x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" class=\"hatch\"/></pattern><pattern "
                     "id=\"dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><circle "
                     "cx=\"3\" cy=\"3\" r=\"1.3\" class=\"hatchdot\"/></pattern></defs>\n");
    bar_axis(most, "J", "joules per answer", bottom, out);
    for (int side = 0; side < 2; side++) {
        double x = VD_SVG_LEFT, y = 26 + 58 * side;
        vd_svg_side(report, side, y + 22, out);
        for (size_t i = 0; i < VD_COUNT(phases) * VD_COUNT(parts); i++) {
            size_t phase = i / VD_COUNT(parts), part = i % VD_COUNT(parts);
            double w = bar_width(part_j(report, side, phase, part), most);
            if (w > 0)
                vd_svg_segment(out, x, y, w - 1, 36, part_class(phase, part));
            x += w;
        }
        vd_svg_text(out, x + 8, y + 22, "value", "start", vd_unit_text(sum[side], "J").text);
    }
    parts_legend(report, bottom + 54, out);
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
    vd_svg_begin(out, "year", bottom + 82, "CO2e of a year of answers",
                 "A bar for A and one for B: what the electricity emits and the machine's share "
                 "of its making. The table below holds the same figures.");
    bar_axis(most, "g", "CO2e of a year of answers", bottom, out);
    for (int side = 0; side < 2; side++) {
        double y = 26 + 58 * side, w = bar_width(op[side], most), v = bar_width(em[side], most);
        vd_svg_side(report, side, y + 22, out);
        vd_svg_segment(out, VD_SVG_LEFT, y, w - 1, 36, side == 0 ? "seg a" : "seg b");
        vd_svg_segment(out, VD_SVG_LEFT + w, y, v - 1, 36,
                       side == 0 ? "seg a hatched" : "seg b hatched");
        vd_svg_text(out, VD_SVG_LEFT + w + v + 8, y + 22, "value", "start",
                    vd_unit_text(op[side] + em[side], "g").text);
    }
    vd_svg_segment(out, VD_SVG_LEFT, bottom + 54, 14, 14, "seg b");
    vd_svg_text(out, VD_SVG_LEFT + 20, bottom + 66, "tick", "start", "electricity");
    vd_svg_segment(out, VD_SVG_LEFT + 110, bottom + 54, 14, 14, "seg b hatched");
    vd_svg_text(out, VD_SVG_LEFT + 130, bottom + 66, "tick", "start",
                "making the machine, its share");
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
    double joules = fmax(a * requests, cost + b * requests), top = 34, bottom = 254;
    double right = VD_SVG_WIDTH - 130, left = 90;
    vd_svg_begin(out, "even", bottom + 50, "Joules spent in all, by answers given",
                 "Two lines: A begins at zero, B at what making it took. Where they cross, making "
                 "B has paid for itself. The table below holds the figures.");
#define X(r) (left + (right - left) * (r) / requests)
#define Y(j) (bottom - (bottom - top) * (j) / joules)
    double step = vd_nice_step(joules, 4);
    for (int i = 0; i * step <= joules; i++) {
        double v = i * step;
        vd_svg_line(out, left, Y(v), right, Y(v), i == 0 ? "one" : "grid");
        vd_svg_text(out, left - 8, Y(v) + 4, "tick", "end", vd_unit_text(v, "J").text);
    }
    step = vd_nice_step(requests, 5);
    for (int i = 0; i * step <= requests; i++)
        vd_svg_text(out, X(i * step), bottom + 18, "tick", "middle", vd_number_text(i * step).text);
    vd_svg_text(out, (left + right) / 2, bottom + 40, "tick", "middle", "answers given");
    vd_svg_text(out, left - 80, top - 16, "tick", "start", "joules spent in all");
    vd_svg_line(out, X(0), Y(0), X(requests), Y(a * requests), "curve a");
    vd_svg_line(out, X(0), Y(cost), X(requests), Y(cost + b * requests), "curve b");
    bool apart = fabs(Y(a * requests) - Y(cost + b * requests)) > 14;
    vd_svg_text(out, right + 8, Y(a * requests) + 4 - (apart ? 0 : 8), "value", "start", "A");
    vd_svg_text(out, right + 8, Y(cost + b * requests) + 4 + (apart ? 0 : 8), "value", "start",
                "B");
    if (isfinite(even) && even > 0) {
        double x = X(even), y = Y(a * even);
        char text[80];
        vd_svg_line(out, x, y, x, bottom, "drop");
        vd_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"6\" class=\"cross\"/>\n", x, y);
        snprintf(text, sizeof(text), "even after %s answers", vd_number_text(ceil(even)).text);
        vd_svg_text(out, x + 12, y + 20, "value", "start", text);
    }
#undef X
#undef Y
    vd_buf_puts(out, "</svg></figure>\n");
}
