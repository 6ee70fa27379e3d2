/* sweep.c - see sweep.h. Drawn with what draws the reports. */
#include "report/sweep.h"

#include <math.h>
#include <stdio.h>

#include "report/lookup.h"
#include "report/style.h"
#include "report/svg.h"
#include "report/text.h"

enum { LEFT = 90, RIGHT = VD_SVG_WIDTH - 130, TOP = 34, BOTTOM = 264 };
enum { LINES_MAX = 16, NAME_HEIGHT = 15 };

static double value_of(const json_t *sweep, size_t i, const char *key)
{
    return vd_report_number(sweep, "points.%zu.%s", i, key);
}

static size_t count(const json_t *sweep)
{
    return json_array_size(json_object_get(sweep, "points"));
}

/* Batches are doublings, more or less: equal ratios are equal ways. */
static double x_of(const json_t *sweep, double batch)
{
    double most = 2;
    for (size_t i = 0; i < count(sweep); i++)
        most = fmax(most, value_of(sweep, i, "batch"));
    return LEFT + (RIGHT - LEFT) * log2(batch) / log2(most);
}

static double y_of(double value, double most)
{
    return BOTTOM - (BOTTOM - TOP) * value / most;
}

static void draw_axes(const json_t *sweep, double most, const char *unit, vd_buf *out)
{
    double step = vd_nice_step(most, 4), threads = value_of(sweep, 0, "threads");
    for (int i = 0; i * step <= most; i++) {
        double y = y_of(i * step, most);
        vd_svg_line(out, LEFT, y, RIGHT, y, i == 0 ? "one" : "grid");
        vd_svg_text(out, LEFT - 8, y + 4, "tick", "end", vd_number_text(i * step).text);
    }
    for (size_t i = 0; i < count(sweep) && value_of(sweep, i, "threads") == threads; i++) {
        double batch = value_of(sweep, i, "batch");
        vd_svg_text(out, x_of(sweep, batch), BOTTOM + 18, "tick", "middle",
                    vd_number_text(batch).text);
    }
    vd_svg_text(out, (LEFT + RIGHT) / 2.0, BOTTOM + 40, "tick", "middle",
                "sequences that write together");
    vd_svg_text(out, LEFT - 80, TOP - 16, "tick", "start", unit);
}

/* A name at each line's end, in the order of the ends: lowest first, each clear of the one
 * below. */
static void draw_names(const json_t *sweep, const char *key, double most, vd_buf *out)
{
    size_t end[LINES_MAX], n = 0;
    for (size_t i = 0; i < count(sweep) && n < LINES_MAX; i++) {
        if (i + 1 < count(sweep) &&
            value_of(sweep, i + 1, "threads") == value_of(sweep, i, "threads"))
            continue;
        size_t k = n++;
        for (; k > 0 && value_of(sweep, end[k - 1], key) > value_of(sweep, i, key); k--)
            end[k] = end[k - 1];
        end[k] = i;
    }
    double below = BOTTOM + NAME_HEIGHT;
    for (size_t k = 0; k < n; k++) {
        char text[48];
        double threads = value_of(sweep, end[k], "threads");
        below = fmin(y_of(value_of(sweep, end[k], key), most), below - NAME_HEIGHT);
        snprintf(text, sizeof(text), "%.0f thread%s", threads, threads == 1 ? "" : "s");
        vd_svg_text(out, x_of(sweep, value_of(sweep, end[k], "batch")) + 10, below + 4, "value",
                    "start", text);
    }
}

/* A line for each number of threads, the more the stronger. */
static void draw_lines(const json_t *sweep, const char *key, double most, vd_buf *out)
{
    double strongest = value_of(sweep, count(sweep) - 1, "threads");
    for (size_t i = 0; i < count(sweep); i++) {
        double threads = value_of(sweep, i, "threads");
        double x = x_of(sweep, value_of(sweep, i, "batch"));
        double y = y_of(value_of(sweep, i, key), most);
        bool ends = i + 1 == count(sweep) || value_of(sweep, i + 1, "threads") != threads;
        double strength = strongest > 1 ? 0.35 + 0.65 * (threads - 1) / (strongest - 1) : 1;
        vd_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" class=\"dot\"/>\n", x, y);
        if (!ends)
            vd_buf_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
                          "class=\"curve b\" stroke-opacity=\"%.2f\"/>\n", x, y,
                          x_of(sweep, value_of(sweep, i + 1, "batch")),
                          y_of(value_of(sweep, i + 1, key), most), strength);
    }
}

static void draw(const json_t *sweep, const char *key, const char *title, const char *unit,
                 vd_buf *out)
{
    double most = 0;
    for (size_t i = 0; i < count(sweep); i++)
        most = fmax(most, value_of(sweep, i, key));
    if (!(most > 0) || !isfinite(most))
        return;
    vd_svg_begin(out, key, BOTTOM + 52, title,
                 "One line for each number of threads, over the sequences that write together. The "
                 "table below holds the same figures.");
    draw_axes(sweep, most * 1.05, unit, out);
    draw_lines(sweep, key, most * 1.05, out);
    draw_names(sweep, key, most * 1.05, out);
    vd_buf_puts(out, "</svg></figure>\n");
}

static void put_table(const json_t *sweep, vd_buf *out)
{
    vd_buf_puts(out, "<div class=\"wide\"><table><thead><tr><th>Threads</th><th>Sequences</th>"
                     "<th>Tokens/s</th><th>Least \xe2\x80\x93 most</th><th>J/token</th></tr>"
                     "</thead><tbody>\n");
    for (size_t i = 0; i < count(sweep); i++)
        vd_buf_printf(out, "<tr><th>%.0f</th><td>%.0f</td><td>%s</td><td>%s \xe2\x80\x93 %s</td>"
                      "<td>%s</td></tr>\n", value_of(sweep, i, "threads"),
                      value_of(sweep, i, "batch"),
                      vd_number_text(value_of(sweep, i, "tok_s")).text,
                      vd_number_text(value_of(sweep, i, "tok_s_min")).text,
                      vd_number_text(value_of(sweep, i, "tok_s_max")).text,
                      vd_number_text(value_of(sweep, i, "j_per_tok")).text);
    vd_buf_puts(out, "</tbody></table></div>\n");
}

static void put_best(const json_t *sweep, const char *key, const char *name, vd_buf *out)
{
    vd_buf_printf(out, "<div class=\"tile\"><span>%s</span><b>%.0f thread%s, %.0f "
                  "sequence%s</b><span>%s tokens/s, %s J/token</span></div>\n", name,
                  vd_report_number(sweep, "%s.threads", key),
                  vd_report_number(sweep, "%s.threads", key) == 1 ? "" : "s",
                  vd_report_number(sweep, "%s.batch", key),
                  vd_report_number(sweep, "%s.batch", key) == 1 ? "" : "s",
                  vd_number_text(vd_report_number(sweep, "%s.tok_s", key)).text,
                  vd_number_text(vd_report_number(sweep, "%s.j_per_tok", key)).text);
}

static void put_head(const json_t *sweep, vd_buf *out)
{
    static const char *const facts[] = {"cpu", "kernels", "created", "program"};
    vd_buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width, "
                     "initial-scale=1\"/>\n<title>");
    vd_put_escaped(out, vd_report_string(sweep, "model"));
    vd_buf_puts(out, " over threads and batch</title>\n<style>\n");
    for (size_t i = 0; vd_report_style[i] != NULL; i++)
        vd_buf_puts(out, vd_report_style[i]);
    vd_buf_puts(out, "</style>\n</head>\n<body>\n<header>\n<p class=\"meta\">Threads and "
                     "batch</p>\n<h1><bdi>");
    vd_put_escaped(out, vd_report_string(sweep, "model"));
    vd_buf_puts(out, "</bdi></h1>\n<p class=\"meta\">");
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        vd_buf_puts(out, i > 0 ? " \xc2\xb7 " : "");
        vd_put_escaped(out, vd_report_string(sweep, "%s", facts[i]));
    }
    vd_buf_puts(out, "</p>\n</header>\n<main>\n");
}

void vd_sweep_page(const json_t *sweep, vd_buf *out)
{
    put_head(sweep, out);
    vd_buf_puts(out, "<section><h2>Best</h2><div class=\"tiles\">\n");
    put_best(sweep, "fastest", "Fastest", out);
    put_best(sweep, "least_energy", "Least energy per token", out);
    vd_buf_puts(out, "</div></section>\n<section><h2>Speed</h2>\n");
    draw(sweep, "tok_s", "Tokens per second", "tokens/s of all sequences", out);
    vd_buf_puts(out, "</section>\n<section><h2>Energy</h2>\n");
    draw(sweep, "j_per_tok", "Joules per token", "J/token", out);
    vd_buf_puts(out, "<p class=\"small\">Joules are the machine's while it ran, idle power "
                     "included, by ");
    vd_put_escaped(out, vd_report_string(sweep, "energy_method"));
    vd_buf_printf(out, ", \xc2\xb1 %.0f %%.</p>\n</section>\n<section><h2>All of it</h2>\n",
                  vd_report_number(sweep, "uncertainty_pct"));
    put_table(sweep, out);
    vd_buf_printf(out, "<p class=\"small\">Medians of %.0f run%s of %.0f tokens of each sequence, "
                  "behind %.0f tokens of context.</p>\n",
                  vd_report_number(sweep, "runs"),
                  vd_report_number(sweep, "runs") == 1 ? "" : "s",
                  vd_report_number(sweep, "answer_tokens"),
                  vd_report_number(sweep, "depth"));
    vd_buf_puts(out, "</section>\n</main>\n<footer><p>One file, nothing loaded from elsewhere. The "
                     "same figures as JSON: <code>verdant bench --sweep --json</code>.</p></footer>"
                     "\n</body>\n</html>\n");
}
