/* load_csv.c - see load_csv.h. */
#include "energy/power/load_csv.h"

#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

typedef struct columns {
    size_t load, spread, clock, begin, end, watts;
    bool has_spread, has_clock;
    double load_scale, watts_scale;
} columns;

static bool any_column(const vd_sheet *t, const char *const *names, size_t *ret)
{
    for (; *names != NULL; names++)
        if (vd_sheet_column(t, *names, ret))
            return true;
    return false;
}

static bool is_percent(const vd_sheet *t, size_t column)
{
    const char *name = t->cell[column];
    if (strchr(name, '%') != NULL || strstr(name, "pct") != NULL || strstr(name, "percent") != NULL)
        return true;
    double load;
    for (size_t i = 0; i < t->n_rows; i++)
        if (vd_sheet_number(t, i, column, &load) && load > 1.5)
            return true;
    return false;
}

static vd_status find_columns(const vd_sheet *t, const vd_load_csv_options *o, columns *c,
                              vd_err *err)
{
    static const char *const loads[] = {"load", "cpu_load", "load_pct", "load %", "load (%)",
                                        "utilization", "cpu_percent", "cpu", NULL};
    static const char *const spreads[] = {"spread", NULL};
    static const char *const clocks[] = {"clock_mhz", "cpu_freq", "freq_mhz", "mhz", NULL};
    static const char *const begins[] = {"begin", NULL}, *const ends[] = {"end", NULL};
    char names[320];
    vd_sheet_names(t, names, sizeof(names));
    *c = (columns){.watts_scale = 1};
    if (!any_column(t, loads, &c->load))
        return VD_FAIL(err, VD_ERR_FORMAT, "there is no column 'load'; there are %s", names);
    c->load_scale = is_percent(t, c->load) ? 0.01 : 1;
    c->has_spread = any_column(t, spreads, &c->spread);
    c->has_clock = any_column(t, clocks, &c->clock);
    if (o->times && !(any_column(t, begins, &c->begin) && any_column(t, ends, &c->end)))
        return VD_FAIL(err, VD_ERR_FORMAT, "there are no columns 'begin' and 'end'; there are %s",
                       names);
    if (!o->watts)
        return VD_OK;
    return vd_recording_power(t, o->watts_column, o->unit, &c->watts, &c->watts_scale, err);
}

static vd_status take_row(const vd_sheet *t, size_t row, const columns *c,
                          const vd_load_csv_options *o, vd_load_step *step, vd_err *err)
{
    double load = 0, spread = 0, mhz = 0, watts = 0;
    bool ok = vd_sheet_number(t, row, c->load, &load), local;
    load *= c->load_scale;
    if (!ok || !(load >= 0 && load <= 1.02))
        return VD_FAIL(err, VD_ERR_FORMAT, "line %zu: the load '%.20s' is not from 0 to %s",
                       t->line[row + 1], vd_sheet_cell(t, row, c->load),
                       c->load_scale < 1 ? "100 %" : "1");
    if (c->has_spread &&
        (!vd_sheet_number(t, row, c->spread, &spread) || !(spread >= 0 && spread <= 1)))
        return VD_FAIL(err, VD_ERR_FORMAT, "line %zu: the spread '%.20s' is not from 0 to 1",
                       t->line[row + 1], vd_sheet_cell(t, row, c->spread));
    if (c->has_clock && (!vd_sheet_number(t, row, c->clock, &mhz) || !(mhz >= 0 && mhz <= 20000)))
        return VD_FAIL(err, VD_ERR_FORMAT, "line %zu: the clock '%.20s' is not from 0 to 20000 MHz",
                       t->line[row + 1], vd_sheet_cell(t, row, c->clock));
    if (o->watts && (!vd_sheet_number(t, row, c->watts, &watts) || !(watts > 0)))
        return VD_FAIL(err, VD_ERR_FORMAT, "line %zu: the power '%.20s' is not above 0",
                       t->line[row + 1], vd_sheet_cell(t, row, c->watts));
    const char *begin = vd_sheet_cell(t, row, c->begin), *end = vd_sheet_cell(t, row, c->end);
    if (o->times && (!vd_recording_time(begin, &step->begin_s, &local) ||
                     !vd_recording_time(end, &step->end_s, &local) ||
                     !(step->end_s > step->begin_s)))
        return VD_FAIL(err, VD_ERR_FORMAT, "line %zu: '%.24s' and '%.24s' are no begin and end",
                       t->line[row + 1], begin, end);
    step->at = (vd_power_point){
        .load = VD_MIN(load, 1),
        .spread = spread,
        .clock = o->base_mhz > 0 ? VD_MIN(mhz / o->base_mhz, 10) : 0,
        .watts = watts * c->watts_scale,
    };
    return VD_OK;
}

vd_status vd_load_csv_take(const vd_sheet *t, const vd_load_csv_options *options,
                           vd_load_step *steps, size_t max, size_t *ret_n, vd_err *err)
{
    columns c;
    vd_status st = find_columns(t, options, &c, err);
    if (st == VD_OK && (t->n_rows == 0 || t->n_rows > max))
        st = VD_FAIL(err, VD_ERR_FORMAT, "%zu rows of load; 1 to %zu are possible", t->n_rows,
                     max);
    for (size_t i = 0; i < t->n_rows && st == VD_OK; i++) {
        steps[i] = (vd_load_step){0};
        st = take_row(t, i, &c, options, &steps[i], err);
    }
    if (st == VD_OK)
        *ret_n = t->n_rows;
    return st;
}

void vd_load_csv_put(FILE *out, const vd_load_step *steps, size_t n, double base_mhz)
{
    fputs("begin,end,load,spread,clock_mhz\n", out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%.3f,%.3f,%.6f,%.6f,%.0f\n", steps[i].begin_s, steps[i].end_s,
                steps[i].at.load, steps[i].at.spread, steps[i].at.clock * base_mhz);
}
