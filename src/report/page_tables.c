/* page_tables.c - see page_tables.h. */
#include "report/page_tables.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "report/lookup.h"
#include "report/text.h"

/* Some figures are stored in a unit that a prefix is wrong for: kilograms and shares. */
static vd_report_text as_text(double value, const char *unit)
{
    if (strcmp(unit, "kg") == 0)
        return vd_unit_text(value * 1000, "g");
    if (strcmp(unit, "share") == 0)
        return vd_unit_text(value * 100, "%");
    if (strcmp(unit, "\xc3\x97") == 0) {
        vd_report_text out = vd_ratio_text(value);
        size_t n = strlen(out.text);
        snprintf(out.text + n, sizeof(out.text) - n, "\xc3\x97");
        return out;
    }
    return vd_unit_text(value, unit);
}

void vd_put_figure(const json_t *report, const char *path, const char *unit, vd_buf *out)
{
    double value = vd_report_number(report, "%s", path);
    if (!isfinite(value)) {
        vd_buf_puts(out, "<span class=\"small\">unknown</span>");
        return;
    }
    vd_buf_printf(out, "<data class=\"nowrap\" value=\"%.15g\" data-path=\"%s\">", value, path);
    vd_put_escaped(out, as_text(value, unit).text);
    vd_buf_puts(out, "</data>");
}

static void put_path(const json_t *report, const char *unit, vd_buf *out, const char *fmt, ...)
    VD_PRINTF(4, 5);
static void put_path(const json_t *report, const char *unit, vd_buf *out, const char *fmt, ...)
{
    char path[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(path, sizeof(path), fmt, args);
    va_end(args);
    vd_put_figure(report, path, unit, out);
}

static void begin(vd_buf *out, const char *class, const char *caption, const char *const *column,
                  size_t n)
{
    vd_buf_printf(out, "<div class=\"wide\"><table class=\"%s\"><caption>%s</caption><thead><tr>",
                  class, caption);
    for (size_t i = 0; i < n; i++)
        vd_buf_printf(out, "<th scope=\"col\">%s</th>", column[i]);
    vd_buf_puts(out, "</tr></thead><tbody>\n");
}

static void end(vd_buf *out)
{
    vd_buf_puts(out, "</tbody></table></div>\n");
}

static void row_head(vd_buf *out, const char *title)
{
    vd_buf_puts(out, "<tr><th scope=\"row\">");
    vd_put_escaped(out, title);
    vd_buf_puts(out, "</th>");
}

void vd_table_comparisons(const json_t *report, vd_buf *out)
{
    static const char *const column[] = {"Figure", "A", "B", "B / A", "95 % interval", "Pairs",
                                         "Verdict on B"};
    size_t n = json_array_size(json_object_get(report, "comparisons"));
    begin(out, "", "Geometric means; by themselves sure to the meter's uncertainty, see below",
          column, VD_COUNT(column));
    for (size_t i = 0; i < n; i++) {
        const char *unit = vd_report_string(report, "comparisons.%zu.unit", i);
        const char *verdict = vd_report_string(report, "comparisons.%zu.verdict", i);
        bool window = i == 1 && strcmp(vd_report_string(report, "kind"), "trace") == 0;
        if (window || strcmp(verdict, "unknown") == 0)
            continue; /* in one window the machine time of both sides is one and the same */
        row_head(out, vd_report_string(report, "comparisons.%zu.title", i));
        vd_buf_puts(out, "<td>");
        put_path(report, unit, out, "comparisons.%zu.a", i);
        vd_buf_puts(out, "</td><td>");
        put_path(report, unit, out, "comparisons.%zu.b", i);
        vd_buf_puts(out, "</td><td>");
        put_path(report, "\xc3\x97", out, "comparisons.%zu.ratio", i);
        vd_buf_puts(out, "</td><td class=\"nowrap\">");
        if (isfinite(vd_report_number(report, "comparisons.%zu.low", i))) {
            put_path(report, "\xc3\x97", out, "comparisons.%zu.low", i);
            vd_buf_puts(out, " to ");
            put_path(report, "\xc3\x97", out, "comparisons.%zu.high", i);
        } else {
            vd_buf_puts(out, "none");
        }
        vd_buf_puts(out, "</td><td>");
        put_path(report, "", out, "comparisons.%zu.n_pairs", i);
        vd_buf_printf(out, "</td><td class=\"%s\">%s</td></tr>\n",
                      strcmp(verdict, "better") == 0  ? "v-good"
                      : strcmp(verdict, "worse") == 0 ? "v-bad"
                                                      : "",
                      verdict);
    }
    end(out);
}

/* One figure of both sides: "Title | A | B". */
static void both(const json_t *report, const char *title, const char *list, const char *key,
                 const char *unit, vd_buf *out)
{
    bool known = isfinite(vd_report_number(report, "%s.0.%s", list, key)) ||
                 isfinite(vd_report_number(report, "%s.1.%s", list, key));
    if (!known)
        return;
    row_head(out, title);
    for (int side = 0; side < 2; side++) {
        vd_buf_puts(out, "<td>");
        put_path(report, unit, out, "%s.%d.%s", list, side, key);
        vd_buf_puts(out, "</td>");
    }
    vd_buf_puts(out, "</tr>\n");
}

static void both_texts(const json_t *report, const char *title, const char *key, vd_buf *out)
{
    if (vd_report_string(report, "sides.0.%s", key) == NULL &&
        vd_report_string(report, "sides.1.%s", key) == NULL)
        return;
    row_head(out, title);
    for (int side = 0; side < 2; side++) {
        const char *text = vd_report_string(report, "sides.%d.%s", side, key);
        vd_buf_puts(out, "<td>");
        vd_put_escaped(out, text != NULL ? text : "unknown");
        vd_buf_puts(out, "</td>");
    }
    vd_buf_puts(out, "</tr>\n");
}

static const char *const a_and_b[] = {"Figure", "A", "B"};

void vd_table_parts(const json_t *report, vd_buf *out)
{
    static const char *const phase[] = {"reading", "writing", "answer"};
    static const char *const part[] = {"processor", "memory", "accelerator", "rest"};
    begin(out, "", "Joules of an answer, idle power included", a_and_b, 3);
    for (size_t i = 0; i < VD_COUNT(phase) * VD_COUNT(part); i++) {
        char title[64], key[64];
        const char *of_phase = phase[i / VD_COUNT(part)], *of_part = part[i % VD_COUNT(part)];
        snprintf(title, sizeof(title), "%s, %s", of_phase, of_part);
        snprintf(key, sizeof(key), "parts_j_per_answer.%s.%s", of_phase, of_part);
        both(report, title, "sides", key, "J", out);
    }
    end(out);
}

bool vd_has_quality(const json_t *report)
{
    return vd_report_at(report, "sides.0.quality") != NULL ||
           vd_report_at(report, "sides.1.quality") != NULL;
}

void vd_table_quality(const json_t *report, vd_buf *out)
{
    begin(out, "", "As verdant eval found it; standard errors beside their figures", a_and_b, 3);
    both_texts(report, "Text", "quality.text", out);
    both(report, "Perplexity (lower is better)", "sides", "quality.ppl", "", out);
    both(report, "its standard error", "sides", "quality.ppl_stderr", "", out);
    both_texts(report, "Compared with", "quality.against", out);
    both(report, "Mean divergence from it, nats", "sides", "quality.kl_mean", "", out);
    both(report, "its standard error", "sides", "quality.kl_stderr", "", out);
    both(report, "Same likeliest token", "sides", "quality.top1_agreement", "share", out);
    both(report, "its standard error", "sides", "quality.top1_stderr", "share", out);
    both_texts(report, "Tasks", "quality.task", out);
    both(report, "Right answers", "sides", "quality.accuracy", "share", out);
    both(report, "its standard error", "sides", "quality.accuracy_stderr", "share", out);
    both(report, "Number of tasks", "sides", "quality.n_tasks", "", out);
    end(out);
}

void vd_table_footprint(const json_t *report, vd_buf *out)
{
    begin(out, "", "Per answer", a_and_b, 3);
    both(report, "Energy of the machine", "footprint", "per_answer.joules", "J", out);
    both(report, "its uncertainty by the meter, \xc2\xb1", "sides", "uncertainty_pct", "%", out);
    both(report, "Machine time", "footprint", "per_answer.machine_s", "s", out);
    both(report, "CO2e of the electricity", "footprint", "per_answer.operational_g", "g", out);
    both(report, "CO2e of making the machine, its share", "footprint", "per_answer.embodied_g",
         "g", out);
    both(report, "SCI per answer, both together", "footprint", "per_answer.sci_g", "g", out);
    both(report, "SCI per written token", "footprint", "per_answer.sci_g_per_token", "g", out);
    both(report, "Water", "footprint", "per_answer.water_l", "L", out);
    both(report, "Grid intensity, g/kWh", "sides", "carbon.intensity_g_per_kwh", "", out);
    both_texts(report, "Grid zone", "carbon.zone", out);
    both_texts(report, "Kind of intensity", "carbon.kind", out);
    both_texts(report, "Scope", "carbon.scope", out);
    both_texts(report, "Basis", "carbon.basis", out);
    both_texts(report, "Source", "carbon.source", out);
    both_texts(report, "Valid at", "carbon.valid_at", out);
    both(report, "PUE of the building", "sides", "carbon.pue", "", out);
    both(report, "Water on site, L/kWh", "sides", "carbon.wue_site_l_per_kwh", "", out);
    both(report, "Water in power stations, L/kWh", "sides", "carbon.wue_grid_l_per_kwh", "", out);
    both(report, "Making a server, kg CO2e", "sides", "carbon.server_kg", "", out);
    both(report, "Its years of life", "sides", "carbon.life_years", "", out);
    both(report, "Part of it that this machine is", "sides", "carbon.reserved_share", "share",
         out);
    end(out);
}

void vd_table_year(const json_t *report, vd_buf *out)
{
    vd_buf_puts(out, "<p>The load: ");
    vd_put_figure(report, "load.requests_per_day", "", out);
    vd_buf_puts(out, " requests a day, ");
    vd_put_figure(report, "load.prompt_tokens", "", out);
    vd_buf_puts(out, " read and ");
    vd_put_figure(report, "load.answer_tokens", "", out);
    vd_buf_puts(out, " written tokens each.</p>\n");
    begin(out, "", "Per year", a_and_b, 3);
    both(report, "Requests", "footprint", "per_year.requests", "", out);
    both(report, "Electricity for the answers", "footprint", "per_year.kwh", "kWh", out);
    both(report, "CO2e of it", "footprint", "per_year.operational_kg", "kg", out);
    both(report, "CO2e of making the machine, its share", "footprint", "per_year.embodied_kg",
         "kg", out);
    both(report, "CO2e together", "footprint", "per_year.total_kg", "kg", out);
    both(report, "Water", "footprint", "per_year.water_l", "L", out);
    both(report, "Time that one machine is busy", "footprint", "per_year.busy_share", "share", out);
    both(report, "Machines that this takes", "footprint", "per_year.machines", "", out);
    both(report, "Electricity with them on all year", "footprint",
         "per_year.always_on_kwh", "kWh", out);
    both(report, "CO2e of that", "footprint", "per_year.always_on_kg", "kg", out);
    end(out);
}

void vd_table_break_even(const json_t *report, vd_buf *out)
{
    static const char *const column[] = {"Figure", "Value"};
    static const struct {
        const char *title, *path, *unit;
    } row[] = {
        {"Making B took, in all", "break_even.cost_j", "J"},
        {"A, energy per answer", "footprint.0.per_answer.joules", "J"},
        {"B, energy per answer", "footprint.1.per_answer.joules", "J"},
        {"Answers until it is saved", "break_even.requests", ""},
        {"at the interval's lower end", "break_even.requests_low", ""},
        {"at the interval's upper end (unknown: never)", "break_even.requests_high", ""},
        {"Days at the stated load", "break_even.days", ""},
    };
    size_t n = json_array_size(vd_report_at(report, "break_even.costs"));
    begin(out, "", "One-off costs of B", column, 2);
    for (size_t i = 0; i < n; i++) {
        row_head(out, vd_report_string(report, "break_even.costs.%zu.what", i));
        vd_buf_puts(out, "<td>");
        put_path(report, "J", out, "break_even.costs.%zu.joules", i);
        vd_buf_puts(out, "</td></tr>\n");
    }
    for (size_t i = 0; i < VD_COUNT(row); i++) {
        if (strstr(row[i].path, "days") != NULL &&
            !(vd_report_number(report, "%s", row[i].path) >= 0.1))
            continue; /* at once */
        row_head(out, row[i].title);
        vd_buf_puts(out, "<td>");
        vd_put_figure(report, row[i].path, row[i].unit, out);
        vd_buf_puts(out, "</td></tr>\n");
    }
    end(out);
}

void vd_table_facts(const json_t *report, vd_buf *out)
{
    begin(out, "facts", "Model, settings, machine and meter of both sides", a_and_b, 3);
    both_texts(report, "Model", "model.name", out);
    both_texts(report, "File", "model.file", out);
    both(report, "File size", "sides", "model.bytes", "B", out);
    both_texts(report, "Quantization", "model.quant", out);
    both(report, "Bits per weight", "sides", "bits_per_weight", "", out);
    both_texts(report, "Compression", "model.compression", out);
    both_texts(report, "Architecture", "model.architecture", out);
    both(report, "Parameters", "sides", "model.params", "", out);
    both_texts(report, "SHA-256", "model.sha256", out);
    both_texts(report, "Served as", "trace.mode", out);
    both_texts(report, "Trace", "trace.name", out);
    both(report, "Requests of the trace", "sides", "trace.requests", "", out);
    both(report, "Clients", "sides", "trace.clients", "", out);
    both(report, "Processes", "sides", "settings.processes", "", out);
    both(report, "Threads of each", "sides", "settings.threads", "", out);
    both(report, "Sequences at once", "sides", "settings.batch", "", out);
    both_texts(report, "Kernels", "settings.kernels", out);
    both_texts(report, "Precision", "settings.precision", out);
    both_texts(report, "Keys and values", "settings.kv", out);
    both(report, "Weights in memory", "sides", "memory.weights_bytes", "B", out);
    both(report, "Key-value cache", "sides", "memory.kv_bytes", "B", out);
    both_texts(report, "Processor", "machine.cpu", out);
    both(report, "Hardware threads", "sides", "machine.logical_cpus", "", out);
    both(report, "Memory of the machine", "sides", "machine.memory_bytes", "B", out);
    both(report, "Load average before", "sides", "machine.load_average", "", out);
    both_texts(report, "Meter", "meter.method", out);
    both(report, "Uncertainty of joules, \xc2\xb1", "sides", "uncertainty_pct", "%", out);
    both(report, "of it common to both sides, \xc2\xb1", "sides", "meter.common_pct", "%", out);
    both(report, "of it independent, \xc2\xb1", "sides", "meter.independent_pct", "%", out);
    both(report, "Idle power", "sides", "meter.idle_w", "W", out);
    both(report, "Runs", "sides", "n_samples", "", out);
    both_texts(report, "Measured", "created", out);
    both_texts(report, "Measured by", "program", out);
    end(out);
}
