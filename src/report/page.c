/* page.c - the report's HTML. See page.h; tables come from page_tables.c, charts from draw.c. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/draw.h"
#include "report/lookup.h"
#include "report/page_tables.h"
#include "report/style.h"
#include "report/text.h"

static void put_list(const json_t *list, vd_buf *out)
{
    vd_buf_puts(out, "<ul>\n");
    for (size_t i = 0; i < json_array_size(list); i++) {
        vd_buf_puts(out, "<li>");
        vd_put_escaped(out, json_string_value(json_array_get(list, i)));
        vd_buf_puts(out, "</li>\n");
    }
    vd_buf_puts(out, "</ul>\n");
}

static void put_head(const json_t *report, vd_buf *out)
{
    const char *a = vd_report_string(report, "sides.0.name");
    const char *b = vd_report_string(report, "sides.1.name");
    vd_buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta "
                     "charset=\"utf-8\"/>\n<meta "
                     "name=\"viewport\" content=\"width=device-width, "
                     "initial-scale=1\"/>\n<title>");
    vd_put_escaped(out, a);
    vd_buf_puts(out, " and ");
    vd_put_escaped(out, b);
    vd_buf_puts(out, ": before and after</title>\n<style>\n");
    for (size_t i = 0; vd_report_style[i] != NULL; i++)
        vd_buf_puts(out, vd_report_style[i]);
    vd_buf_puts(out, "</style>\n</head>\n<body>\n<header>\n<p class=\"meta\">Before and after</p>\n"
                     "<h1><span class=\"of\"><span class=\"tag a\">A</span><bdi>");
    vd_put_escaped(out, a);
    vd_buf_puts(out, "</bdi></span><span class=\"of\"><span class=\"tag b\">B</span><bdi>");
    vd_put_escaped(out, b);
    vd_buf_puts(out, "</bdi></span></h1>\n<p class=\"meta\">Made ");
    vd_put_escaped(out, vd_report_string(report, "created"));
    vd_buf_puts(out, " by ");
    vd_put_escaped(out, vd_report_string(report, "program"));
    vd_buf_puts(out, "</p>\n</header>\n<main>\n");
}

/* `doubt` is the path of the meter's uncertainty in percent, NULL where it cancels. */
static void put_tile(const json_t *report, const char *title, const char *path, const char *unit,
                     const char *doubt, vd_buf *out)
{
    double value = vd_report_number(report, "%s", path);
    if (!isfinite(value))
        return;
    vd_buf_puts(out, "<div class=\"tile\"><span>");
    vd_put_escaped(out, title);
    vd_buf_puts(out, "</span><b>");
    vd_put_figure(report, path, unit, out);
    vd_buf_puts(out, "</b>");
    if (doubt != NULL && isfinite(vd_report_number(report, "%s", doubt))) {
        vd_buf_puts(out, "<span>\xc2\xb1 ");
        vd_put_figure(report, doubt, "%", out);
        vd_buf_puts(out, " by the meter</span>");
    }
    vd_buf_puts(out, "</div>\n");
}

static void put_ratio_tile(const json_t *report, vd_buf *out)
{
    bool sure = isfinite(vd_report_number(report, "comparisons.0.low"));
    if (!isfinite(vd_report_number(report, "comparisons.0.ratio")))
        return;
    vd_buf_puts(out, "<div class=\"tile\"><span>B / A, energy per answer</span><b>");
    vd_put_figure(report, "comparisons.0.ratio", "\xc3\x97", out);
    vd_buf_puts(out, sure ? "</b><span>95 % interval " : "</b><span>no interval: not paired");
    if (sure) {
        vd_put_figure(report, "comparisons.0.low", "\xc3\x97", out);
        vd_buf_puts(out, " to ");
        vd_put_figure(report, "comparisons.0.high", "\xc3\x97", out);
    }
    vd_buf_puts(out, "</span></div>\n");
}

static void put_summary(const json_t *report, vd_buf *out)
{
    const json_t *reasons = json_object_get(report, "reasons");
    vd_buf_puts(out, "<section class=\"short\" aria-labelledby=\"h-short\"><h2 id=\"h-short\">In "
                     "short</h2>\n");
    put_list(json_object_get(report, "summary"), out);
    if (json_array_size(reasons) > 0) {
        vd_buf_printf(out, "<div class=\"warn\" role=\"note\"><h3>No paired statement%s is "
                      "possible</h3>\n",
                      json_is_true(json_object_get(report, "paired_times")) ? " about energy" : "");
        put_list(reasons, out);
        vd_buf_puts(out, "</div>\n");
    }
    vd_buf_puts(out, "<div class=\"tiles\">\n");
    put_tile(report, "A, energy per answer", "comparisons.0.a", "J", "sides.0.uncertainty_pct",
             out);
    put_tile(report, "B, energy per answer", "comparisons.0.b", "J", "sides.1.uncertainty_pct",
             out);
    put_ratio_tile(report, out);
    put_tile(report, "B, CO2e per answer (SCI)", "footprint.1.per_answer.sci_g", "g", NULL, out);
    vd_buf_puts(out, "</div>\n</section>\n");
}

static void begin_section(vd_buf *out, const char *id, const char *title)
{
    vd_buf_printf(out, "<section aria-labelledby=\"h-%s\"><h2 id=\"h-%s\">%s</h2>\n", id, id,
                  title);
}

static void put_method(const json_t *report, vd_buf *out)
{
    begin_section(out, "method", "Method, and what to be careful about");
    put_list(json_object_get(report, "notes"), out);
    vd_buf_puts(
        out,
        "<p>A and B run in turn, A B, B A, A B, and so on, so that what the machine does meanwhile "
        "falls on both. A ratio is the geometric mean of B / A over the pairs; its 95 % interval "
        "is Student's t on the logarithms. The part of the meter's uncertainty that differs from "
        "figure "
        "to figure is added to the interval; the part that is common to both sides cancels. "
        "\xe2\x80\x9cNo difference\xe2\x80\x9d is said only where the interval holds 1. It takes "
        "ten pairs at least, and each interval stands for its own figure: of twenty, one misses by "
        "chance. Figures of one side are geometric means over its runs.</p>\n"
        "<p>Joules are the machine's while it worked, idle power included. Grams are joules times "
        "the building's PUE times the grid's intensity, location-based; no certificates are "
        "counted. "
        "Embodied grams are the machine's making, by the time it was busy. SCI (ISO/IEC "
        "21031:2024) "
        "is both together, per answer. A year is 365 days of the stated load.</p>\n</section>\n");
}

void vd_report_page(const json_t *report, vd_buf *out)
{
    put_head(report, out);
    put_summary(report, out);
    begin_section(out, "pairs", "What changed, pair by pair");
    vd_draw_pairs(report, out);
    vd_table_comparisons(report, out);
    vd_buf_puts(out, "</section>\n");
    begin_section(out, "parts", "Where the joules of an answer go");
    vd_draw_parts(report, out);
    vd_table_parts(report, out);
    vd_buf_puts(out, "</section>\n");
    if (vd_has_quality(report)) {
        begin_section(out, "quality", "Quality");
        vd_table_quality(report, out);
        vd_buf_puts(out, "</section>\n");
    }
    begin_section(out, "carbon", "Carbon and water of an answer");
    vd_table_footprint(report, out);
    vd_buf_puts(out, "</section>\n");
    begin_section(out, "year", "A year at the stated load");
    vd_draw_year(report, out);
    vd_table_year(report, out);
    vd_buf_puts(out, "</section>\n");
    if (json_is_object(json_object_get(report, "break_even"))) {
        begin_section(out, "even", "When making B has paid for itself");
        vd_draw_break_even(report, out);
        vd_table_break_even(report, out);
        vd_buf_puts(out, "</section>\n");
    }
    begin_section(out, "facts", "What was compared");
    vd_table_facts(report, out);
    vd_buf_puts(out, "</section>\n");
    put_method(report, out);
    vd_buf_puts(out, "</main>\n<footer><p>One file, nothing loaded from elsewhere. The same "
                     "figures "
                     "as JSON: <code>verdant report "
                     "--json</code>.</p></footer>\n</body>\n</html>\n");
}
