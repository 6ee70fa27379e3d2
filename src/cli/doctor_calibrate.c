/*
 * doctor_calibrate.c - measures this machine's power over load and keeps it
 * (energy/power/calibration.h).
 *
 *   loads   a ladder run here | --loads FILE, run before | --fit FILE, recorded elsewhere
 *   watts   the machine's own meter (RAPL) | --meter-csv FILE, a plug's | the column of --fit
 *
 * Nothing is written before all of it has gone well: who is interrupted leaves nothing.
 */
#include "cli/doctor_calibrate.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/doctor_ladder.h"
#include "cli/format.h"
#include "energy/power/calibration.h"
#include "energy/power/load_csv.h"

/* 90 % of their own error: RAPL's of its datasheets' and tests', a plug's of its class. */
static const double rapl_pct = 5, plug_pct = 3;

typedef struct options {
    bool json, wall;
    double seconds, threads, base_mhz, memory_gb, meter_pct; /* < 0: not given */
    const char *meter_csv, *loads, *save_loads, *fit, *out, *cpu_type, *covers;
    vd_recording_options series;
} options;

typedef struct job {
    options o;
    vd_meter *meter;
    vd_meter_info info;
    vd_load_step step[VD_CALIBRATION_POINTS_MAX];
    size_t n;
    double strangers;
    vd_sheet csv;
    vd_recording series;
    vd_load_joined joined;
    vd_calibration calibration;
    vd_power before, after;
    char *path;
} job;

static bool parse(int argc, char **argv, options *o)
{
    static const struct option names[] = {{"calibrate", no_argument, NULL, 'c'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"meter", required_argument, NULL, 'e'},
                                          {"meter-csv", required_argument, NULL, 'm'},
                                          {"time-column", required_argument, NULL, 't'},
                                          {"watts-column", required_argument, NULL, 'w'},
                                          {"watts-unit", required_argument, NULL, 'u'},
                                          {"save-loads", required_argument, NULL, 'S'},
                                          {"loads", required_argument, NULL, 'L'},
                                          {"fit", required_argument, NULL, 'f'},
                                          {"cpu-type", required_argument, NULL, 'C'},
                                          {"covers", required_argument, NULL, 'v'},
                                          {"threads", required_argument, NULL, 'T'},
                                          {"base-mhz", required_argument, NULL, 'b'},
                                          {"memory-gb", required_argument, NULL, 'g'},
                                          {"meter-pct", required_argument, NULL, 'p'},
                                          {"output", required_argument, NULL, 'o'},
                                          {0}};
    int c;
    bool ok = true;
    optind = 1;
    while (ok && (c = getopt_long(argc, argv, ":o:", names, NULL)) != -1) {
        const char **text = c == 'm'   ? &o->meter_csv
                            : c == 't' ? &o->series.time_column
                            : c == 'w' ? &o->series.watts_column
                            : c == 'u' ? &o->series.unit
                            : c == 'S' ? &o->save_loads
                            : c == 'L' ? &o->loads
                            : c == 'f' ? &o->fit
                            : c == 'C' ? &o->cpu_type
                            : c == 'v' ? &o->covers
                            : c == 'o' ? &o->out
                                       : NULL;
        if (text != NULL)
            *text = optarg;
        else if (c == 'j')
            o->json = true;
        else if (c == 'e')
            vd_cli_use_meter(optarg);
        else if (c == 's')
            ok = vd_cli_parse_float("doctor", "--seconds", optarg, 3, 86400, &o->seconds);
        else if (c == 'T')
            ok = vd_cli_parse_float("doctor", "--threads", optarg, 0.01, 1e5, &o->threads);
        else if (c == 'b')
            ok = vd_cli_parse_float("doctor", "--base-mhz", optarg, 100, 20000, &o->base_mhz);
        else if (c == 'g')
            ok = vd_cli_parse_float("doctor", "--memory-gb", optarg, 0, 1e6, &o->memory_gb);
        else if (c == 'p')
            ok = vd_cli_parse_float("doctor", "--meter-pct", optarg, 0, 100, &o->meter_pct);
        else if (c != 'c') {
            vd_cli_bad_option("doctor", c, argv);
            return false;
        }
    }
    return ok;
}

static bool sensible(int argc, char **argv, options *o)
{
    const char *wrong =
        optind < argc                                      ? argv[optind]
        : o->fit != NULL && (o->loads || o->meter_csv)     ? "--fit with --loads or --meter-csv"
        : o->fit != NULL && o->save_loads != NULL          ? "--fit with --save-loads"
        : o->loads != NULL && o->meter_csv == NULL         ? "--loads without --meter-csv"
        : o->loads != NULL && o->save_loads != NULL        ? "--loads with --save-loads"
        : o->fit == NULL && o->meter_csv == NULL && o->series.watts_column != NULL
            ? "--watts-column without a table"
            : NULL;
    if (wrong != NULL) {
        vd_cli_misuse("doctor", "'%s' is not understood", wrong);
        return false;
    }
    bool package = o->covers == NULL || strcmp(o->covers, "package") == 0;
    if (!package && strcmp(o->covers, "wall") != 0) {
        vd_cli_misuse("doctor", "--covers is package or wall, not '%s'", o->covers);
        return false;
    }
    o->wall = o->covers != NULL ? !package : o->meter_csv != NULL;
    const char *unit = o->series.unit;
    if (unit != NULL && strcmp(unit, "W") != 0 && strcmp(unit, "kW") != 0 &&
        strcmp(unit, "mW") != 0) {
        vd_cli_misuse("doctor", "--watts-unit is W, kW or mW, not '%s'", unit);
        return false;
    }
    return true;
}

/* What is said to be another machine's is; else what this one is. */
static void describe(job *j)
{
    options *o = &j->o;
    vd_machine *m = &j->info.machine;
    vd_calibration *c = &j->calibration;
    if (o->cpu_type != NULL && strcmp(o->cpu_type, m->cpu) != 0) {
        snprintf(m->cpu, sizeof(m->cpu), "%s", o->cpu_type);
        if (o->fit != NULL) { /* another machine: nothing of this one holds for it */
            vd_machine_family("", 0, 0, m->cpu, m);
            m->cores_per_chip = 0;
            m->base_mhz = vd_machine_name_mhz(m->cpu);
        }
    }
    if (o->threads > 0)
        m->n_cpu = o->threads;
    if (o->base_mhz > 0)
        m->base_mhz = o->base_mhz;
    snprintf(c->cpu_type, sizeof(c->cpu_type), "%s", m->cpu);
    c->threads = m->n_cpu;
    c->base_mhz = m->base_mhz;
    c->memory_gb = o->memory_gb >= 0 ? o->memory_gb : (double)m->memory_bytes / 1e9;
    c->wall = o->wall;
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(c->made_at, sizeof(c->made_at), "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static vd_status read_table(job *j, const char *path, bool times, bool watts, vd_err *err)
{
    vd_sheet csv = {0};
    vd_status st = vd_sheet_read(path, &csv, err);
    if (st != VD_OK)
        return st;
    vd_load_csv_options o = {.watts_column = j->o.series.watts_column,
                             .unit = j->o.series.unit,
                             .times = times,
                             .watts = watts,
                             .base_mhz = j->calibration.base_mhz};
    st = vd_load_csv_take(&csv, &o, j->step, VD_COUNT(j->step), &j->n, err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s", path);
    vd_sheet_done(&csv);
    return st;
}

static vd_status save_loads(const job *j, vd_err *err)
{
    vd_atomic_file file = {0};
    vd_status st = vd_atomic_file_open(j->o.save_loads, &file, err);
    if (st != VD_OK)
        return st;
    vd_load_csv_put(file.stream, j->step, j->n, j->calibration.base_mhz);
    st = vd_atomic_file_commit(&file, err);
    vd_atomic_file_done(&file);
    return st;
}

/* Whether the meter of this machine counts the processor, and how: "" or why it does not. */
static const char *why_no_meter(const job *j)
{
    return j->info.measured ? "" : j->info.why_text;
}

static vd_status run_ladder(job *j, vd_err *err)
{
    vd_ladder ladder;
    bool own = j->o.meter_csv == NULL && j->info.measured;
    if (!own && j->o.meter_csv == NULL && j->o.save_loads == NULL)
        return VD_FAIL(err, VD_ERR_NOT_FOUND,
                       "nothing measures this processor (%.200s). With a plug meter that records: "
                       "--meter-csv FILE; or --save-loads LOADS now, and --loads LOADS --meter-csv "
                       "FILE when its file is there",
                       why_no_meter(j));
    vd_status st = vd_ladder_run(&j->info.machine, own ? j->meter : NULL, j->o.seconds, &ladder,
                                 err);
    if (st != VD_OK)
        return st;
    memcpy(j->step, ladder.step, ladder.n * sizeof(*ladder.step));
    j->n = ladder.n;
    j->strangers = ladder.strangers;
    return j->o.save_loads != NULL ? save_loads(j, err) : VD_OK;
}

static vd_status join_meter(job *j, vd_err *err)
{
    vd_status st = vd_sheet_read(j->o.meter_csv, &j->csv, err);
    if (st != VD_OK)
        return st;
    st = vd_recording_take(&j->csv, &j->o.series, &j->series, err);
    if (st == VD_OK)
        st = vd_load_join(&j->series, &j->before, j->step, j->n, &j->joined, err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s", j->o.meter_csv);
    return st;
}

/* The steps that have watts become the calibration's points. */
static vd_status take_points(job *j, vd_err *err)
{
    vd_calibration *c = &j->calibration;
    vd_status st =
        vd_alloc_array(j->n, sizeof(*c->points), "points of a calibration", &c->points, err);
    for (size_t i = 0; i < j->n && st == VD_OK; i++)
        if (j->step[i].at.watts > 0)
            c->points[c->n++] = j->step[i].at;
    return st == VD_OK ? vd_calibration_check(c, err) : st;
}

static vd_status calibrate(job *j, vd_err *err)
{
    const options *o = &j->o;
    vd_calibration *c = &j->calibration;
    vd_power_prior prior;
    vd_power_base base;
    vd_power_shipped(&prior);
    vd_machine_power_base(&j->info.machine, &base);
    vd_power_guess(&base, &prior, &j->before);

    vd_status st = o->fit != NULL     ? read_table(j, o->fit, false, true, err)
                   : o->loads != NULL ? read_table(j, o->loads, true, false, err)
                                      : run_ladder(j, err);
    if (st == VD_OK && o->meter_csv != NULL)
        st = join_meter(j, err);
    if (st != VD_OK || (o->fit == NULL && o->meter_csv == NULL && !j->info.measured))
        return st; /* the last: loads were saved, watts come later */
    st = take_points(j, err);
    if (st != VD_OK)
        return st;
    bool own = o->fit == NULL && o->meter_csv == NULL;
    snprintf(c->meter, sizeof(c->meter), "%s",
             own                    ? j->info.method
             : o->meter_csv != NULL ? "plug meter"
                                    : "table");
    c->meter_pct = o->meter_pct >= 0 ? o->meter_pct : o->meter_csv != NULL ? plug_pct : rapl_pct;
    vd_machine machine = j->info.machine;
    machine.virtual_machine = false; /* of the machine that was measured */
    st = vd_calibration_fit(c, &machine, &j->after, err);
    if (st == VD_OK && o->out != NULL)
        j->path = vd_strdup(o->out);
    else if (st == VD_OK)
        st = vd_calibration_path(c->cpu_type, &j->path, err);
    if (st == VD_OK && j->path == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a path");
    return st == VD_OK ? vd_calibration_write(c, j->path, err) : st;
}

static void print_meter(const job *j)
{
    const vd_recording *s = &j->series;
    printf("meter       %s: '%s' in %s, '%s'%s; %zu rows, one each %.3g s\n", j->o.meter_csv,
           s->watts_column, s->unit, s->time_column,
           s->local_time ? " in this machine's local time" : "", s->n, s->period_s);
    if (s->n_skipped > 0)
        printf("            %zu rows without a time or a number, the first in line %zu\n",
               s->n_skipped, s->first_skipped);
    if (s->n_unsorted > 0)
        printf("            %zu rows out of order: sorted\n", s->n_unsorted);
    if (s->n_repeated > 0)
        printf("            %zu rows with the time of another: their mean\n", s->n_repeated);
    if (s->n_gaps > 0)
        printf("            %zu gaps, the longest %.0f s\n", s->n_gaps, s->longest_gap_s);
    printf("            its clock is %+.1f s from this machine's (correlation %.3f)%s\n",
           j->joined.offset_s, j->joined.correlation,
           fabs(j->joined.offset_s) > 600 ? ": another time zone?" : "");
}

static void print_points(const job *j)
{
    const vd_calibration *c = &j->calibration;
    double memory_w = c->wall ? c->memory_gb * VD_DRAM_W_PER_GB : 0;
    printf("points      load    on threads   clock     measured   curve\n");
    for (size_t i = 0; i < c->n; i++) {
        const vd_power_point *p = &c->points[i];
        printf("            %4.0f %%   %4.0f %%       ", 100 * p->load,
               100 * VD_MAX(p->spread, p->load));
        if (p->clock > 0)
            printf("%4.2f", p->clock);
        else
            printf("   -");
        printf("     %6.1f W   %6.1f W\n", p->watts, vd_power_watts(&j->after, p) + memory_w);
    }
}

static void print_range(const char *label, const char *when, const vd_power *power)
{
    vd_power_estimate waiting, full;
    vd_power_predict(power, &(vd_power_point){0}, &waiting);
    vd_power_predict(power, &(vd_power_point){.load = 1}, &full);
    printf("%-12s%s %.1f W waiting +-%.0f %%, %.1f W full +-%.0f %%\n", label, when, waiting.watts,
           waiting.pct, full.watts, full.pct);
}

static int report(const job *j)
{
    const vd_calibration *c = &j->calibration;
    if (j->path == NULL) {
        printf("loads       %zu steps in %s; when the meter's file is there:\n"
               "            verdant doctor --calibrate --loads %s --meter-csv FILE\n",
               j->n, j->o.save_loads, j->o.save_loads);
        return VD_EXIT_OK;
    }
    if (j->o.json)
        return vd_cli_put_json("doctor", vd_calibration_json(c));
    printf("processor   %s, %g threads%s\n", c->cpu_type, c->threads,
           c->wall ? "; the whole machine at its plug" : "");
    if (j->o.meter_csv != NULL)
        print_meter(j);
    else
        printf("meter       %s\n", c->meter);
    print_points(j);
    print_range("processor", "before:", &j->before);
    print_range("", "now:   ", &j->after);
    if (c->wall)
        printf("            and %.1f W for memory\n", c->memory_gb * VD_DRAM_W_PER_GB);
    if (j->strangers > 0.05)
        printf("note        other programs used up to %.0f %% of the machine: their power is in "
               "the points\n",
               100 * j->strangers);
    if (j->n > c->n)
        printf("note        %zu of %zu steps have no watts\n", j->n - c->n, j->n);
    printf("written     %s\n", j->path);
    return VD_EXIT_OK;
}

int vd_doctor_calibrate(int argc, char **argv)
{
    vd_err err = {0};
    job *j = NULL;
    options o = {.seconds = 60, .memory_gb = -1, .meter_pct = -1};
    if (!parse(argc, argv, &o) || !sensible(argc, argv, &o))
        return VD_EXIT_USAGE;
    vd_status st = vd_alloc_array(1, sizeof(*j), "the calibration", &j, &err);
    if (st == VD_OK) {
        j->o = o;
        st = vd_meter_open(NULL, &j->meter, &err);
    }
    if (st == VD_OK) {
        vd_meter_info_get(j->meter, &j->info);
        describe(j);
        st = calibrate(j, &err);
    }
    int status = st == VD_OK ? report(j) : vd_cli_failed("doctor", &err);
    if (j != NULL) {
        vd_meter_close(j->meter);
        vd_sheet_done(&j->csv);
        vd_recording_done(&j->series);
        vd_calibration_done(&j->calibration);
        vd_free(j->path);
    }
    vd_free(j);
    return status;
}
