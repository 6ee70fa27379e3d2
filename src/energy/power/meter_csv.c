/* meter_csv.c - columns, units and times of an external meter's table. See meter_csv.h. */
#include "energy/power/meter_csv.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

void vd_recording_done(vd_recording *series)
{
    vd_free(series->time_s);
    vd_free(series->watts);
    *series = (vd_recording){0};
}

/* ---- times -----------------------------------------------------------------------------------*/

/* What stands behind the seconds: nothing (local), Z, or +hh, +hhmm, +hh:mm. */
static bool take_zone(const char *text, bool *ret_local, double *ret_s)
{
    int hours = 0, minutes = 0;
    text += strspn(text, " ");
    *ret_local = *text == '\0';
    *ret_s = 0;
    if (*ret_local || strcasecmp(text, "Z") == 0 || strcasecmp(text, "UTC") == 0)
        return true;
    if (*text != '+' && *text != '-')
        return false;
    int n = 0;
    bool ok = (sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &n) == 2 && text[1 + n] == '\0') ||
              (sscanf(text + 1, "%2d%2d%n", &hours, &minutes, &n) == 2 && text[1 + n] == '\0') ||
              (sscanf(text + 1, "%2d%n", &hours, &n) == 1 && text[1 + n] == '\0');
    if (!ok || hours < 0 || hours > 15 || minutes < 0 || minutes > 59)
        return false;
    *ret_s = (*text == '-' ? -1 : 1) * (hours * 3600.0 + minutes * 60.0);
    return true;
}

static bool iso_time(const char *text, double *ret_s, bool *ret_local)
{
    struct tm tm = {.tm_isdst = -1};
    int n = 0;
    double seconds = 0, zone_s;
    if (sscanf(text, "%4d-%2d-%2d%*[T t]%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &n) != 5 ||
        n == 0)
        return false;
    text += n;
    if (*text == ':') {
        char *end;
        if (!isdigit((unsigned char)text[1]))
            return false;
        seconds = strtod(text + 1, &end);
        text = end;
    }
    bool in_range = tm.tm_year >= 1970 && tm.tm_mon >= 1 && tm.tm_mon <= 12 && tm.tm_mday >= 1 &&
                    tm.tm_mday <= 31 && tm.tm_hour >= 0 && tm.tm_hour <= 24 && tm.tm_min >= 0 &&
                    tm.tm_min <= 59 && seconds >= 0 && seconds < 61;
    if (!in_range || !take_zone(text, ret_local, &zone_s))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    *ret_s = (double)(*ret_local ? mktime(&tm) : timegm(&tm)) + seconds - zone_s;
    return true;
}

bool vd_recording_time(const char *text, double *ret_s, bool *ret_local)
{
    char *end;
    double number = strtod(text, &end);
    if (end != text && *end == '\0' && isfinite(number) && number > 0) {
        /* Epoch seconds until the year 5138; larger numbers are of finer units. */
        for (int i = 0; i < 3 && number > 1e11; i++)
            number /= 1000;
        *ret_s = number;
        *ret_local = false;
        return number <= 1e11;
    }
    return iso_time(text, ret_s, ret_local);
}

/* ---- columns ---------------------------------------------------------------------------------*/

/* Small letters, and only those and digits, blanks between words: "Power_(W)" is "power w". */
static void plain_name(const char *name, char *plain, size_t size)
{
    size_t n = 0;
    bool gap = false;
    for (; *name != '\0' && n + 2 < size; name++) {
        if (!isalnum((unsigned char)*name)) {
            gap = n > 0;
            continue;
        }
        if (gap)
            plain[n++] = ' ';
        gap = false;
        plain[n++] = (char)tolower((unsigned char)*name);
    }
    plain[n] = '\0';
}

static bool named_one_of(const char *plain, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(plain, *names) == 0)
            return true;
    return false;
}

static bool is_time(const char *plain)
{
    static const char *const names[] = {"time", "timestamp", "date", "datetime", "date time",
                                        "time stamp", "epoch", "unix", "unix time", "ts", "t",
                                        "time utc", "timestamp utc", "date utc", "time s",
                                        "last changed", "created at", "time ms", "epoch s",
                                        "timestamp s", "timestamp ms", "epoch ms", NULL};
    return named_one_of(plain, names);
}

/* "power", "active power", "watts", with a unit or not; not the power factor or apparent power. */
static bool is_power(const char *plain)
{
    static const char *const names[] = {
        "w", "kw", "mw", "watt", "watts", "kilowatt", "kilowatts", "milliwatt", "milliwatts",
        "power", "active power", "real power", "load power", "power w", "power kw", "power mw",
        "active power w", "active power kw", "active power mw", "power watt", "power watts",
        "power kilowatts", "power milliwatts", "watts w", "apower", "power consumption",
        "power consumption w", "current power", "current power w", "current consumption w",
        "wall power", "wall w", "value w", NULL};
    return named_one_of(plain, names);
}

/* "kW" and "mW" by the name itself, whose letters tell milli from mega; "" where it says none. */
static void unit_of_name(const char *name, char unit[4])
{
    unit[0] = '\0';
    for (const char *at = name; *at != '\0'; at++) {
        bool word = at == name || !isalnum((unsigned char)at[-1]);
        size_t n = 0;
        while (isalnum((unsigned char)at[n]))
            n++;
        if (!word || n == 0)
            continue;
        if (n == 1 && (*at == 'W' || *at == 'w'))
            snprintf(unit, 4, "W");
        else if (n == 2 && strncasecmp(at, "kw", 2) == 0)
            snprintf(unit, 4, "kW");
        else if (n == 2 && (strncmp(at, "mW", 2) == 0 || strncmp(at, "mw", 2) == 0))
            snprintf(unit, 4, "mW");
        else if (strncasecmp(at, "watt", 4) == 0)
            snprintf(unit, 4, "W");
        else if (strncasecmp(at, "kilowatt", 8) == 0)
            snprintf(unit, 4, "kW");
        else if (strncasecmp(at, "milliwatt", 9) == 0)
            snprintf(unit, 4, "mW");
    }
}

static vd_status find_column(const vd_sheet *t, const char *wanted, const char *what,
                             bool (*fits)(const char *plain), const char *option,
                             size_t *ret_column, vd_err *err)
{
    char names[320], plain[64];
    vd_sheet_names(t, names, sizeof(names));
    if (wanted != NULL)
        return vd_sheet_column(t, wanted, ret_column)
                   ? VD_OK
                   : VD_FAIL(err, VD_ERR_FORMAT, "there is no column '%.60s'; there are %s", wanted,
                             names);
    size_t n = 0;
    for (size_t i = t->n_columns; i-- > 0;) {
        plain_name(t->cell[i], plain, sizeof(plain));
        if (fits(plain)) {
            *ret_column = i;
            n++;
        }
    }
    if (n == 1)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_FORMAT,
                   "%s of the columns %s is known as one of %s: name it by %s",
                   n == 0 ? "none" : "more than one", names, what, option);
}

static double scale_of(const char *unit)
{
    return strcmp(unit, "kW") == 0 ? 1000 : strcmp(unit, "mW") == 0 ? 0.001 : 1;
}

vd_status vd_recording_power(const vd_sheet *t, const char *wanted, const char *unit,
                             size_t *ret_column, double *ret_scale, vd_err *err)
{
    char named[4];
    vd_status st = find_column(t, wanted, "power", is_power, "--watts-column", ret_column, err);
    if (st != VD_OK)
        return st;
    unit_of_name(t->cell[*ret_column], named);
    *ret_scale = scale_of(unit != NULL ? unit : named);
    return VD_OK;
}

/* ---- rows ------------------------------------------------------------------------------------*/

typedef struct row {
    double time_s, watts;
} row;

static int by_time(const void *a, const void *b)
{
    double x = ((const row *)a)->time_s, y = ((const row *)b)->time_s;
    return x < y ? -1 : x > y;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sorted rows to the series: those of one time become their mean. */
static void keep_rows(const row *rows, size_t n, vd_recording *s)
{
    for (size_t i = 0, k; i < n; i = k) {
        double sum = 0;
        for (k = i; k < n && rows[k].time_s == rows[i].time_s; k++)
            sum += rows[k].watts;
        s->n_repeated += k - i - 1;
        s->time_s[s->n] = rows[i].time_s;
        s->watts[s->n++] = sum / (double)(k - i);
    }
}

static vd_status find_gaps(vd_recording *s, vd_err *err)
{
    double *step = NULL;
    vd_status st = vd_alloc_array(s->n, sizeof(*step), "periods of a meter", &step, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 1; i < s->n; i++)
        step[i - 1] = s->time_s[i] - s->time_s[i - 1];
    qsort(step, s->n - 1, sizeof(*step), by_value);
    s->period_s = step[(s->n - 1) / 2];
    double hole = VD_MAX(5 * s->period_s, 10);
    for (size_t i = s->n - 1; i > 0 && step[i - 1] > hole; i--)
        s->n_gaps++;
    s->longest_gap_s = s->n_gaps > 0 ? step[s->n - 2] : 0;
    vd_free(step);
    return VD_OK;
}

static vd_status take_rows(const vd_sheet *t, size_t time, size_t power, double scale, row *rows,
                           size_t *ret_n, vd_recording *s, vd_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        row r;
        bool local = false;
        if (!vd_recording_time(vd_sheet_cell(t, i, time), &r.time_s, &local) ||
            !vd_sheet_number(t, i, power, &r.watts)) {
            s->n_skipped++;
            if (s->first_skipped == 0)
                s->first_skipped = t->line[i + 1];
            continue;
        }
        if (r.watts < 0)
            return VD_FAIL(err, VD_ERR_FORMAT, "line %zu: %g %s is below zero", t->line[i + 1],
                           r.watts, s->unit);
        r.watts *= scale;
        s->local_time |= local;
        s->n_unsorted += n > 0 && r.time_s < rows[n - 1].time_s;
        rows[n++] = r;
    }
    *ret_n = n;
    if (n < 2 || s->n_skipped > n)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%zu of %zu rows have a time in '%s' and a number in '%s'%s", n, t->n_rows,
                       s->time_column, s->watts_column,
                       n < 2 ? ": two or more are needed" : ": fewer than half");
    return VD_OK;
}

vd_status vd_recording_take(const vd_sheet *t, const vd_recording_options *options,
                            vd_recording *ret_recording, vd_err *err)
{
    vd_recording s = {0};
    row *rows = NULL;
    size_t time = 0, power = 0, n = 0;
    vd_status st = find_column(t, options->time_column, "time", is_time, "--time-column", &time,
                               err);
    double scale = 1;
    if (st == VD_OK)
        st = vd_recording_power(t, options->watts_column, options->unit, &power, &scale, err);
    if (st != VD_OK)
        goto out;
    snprintf(s.time_column, sizeof(s.time_column), "%.60s", t->cell[time]);
    snprintf(s.watts_column, sizeof(s.watts_column), "%.60s", t->cell[power]);
    if (options->unit != NULL)
        snprintf(s.unit, sizeof(s.unit), "%.3s", options->unit);
    else
        unit_of_name(t->cell[power], s.unit);
    if (s.unit[0] == '\0')
        snprintf(s.unit, sizeof(s.unit), "W");

    st = vd_alloc_array(t->n_rows + 1, sizeof(*rows), "rows of a meter", &rows, err);
    if (st == VD_OK)
        st = vd_alloc_array(t->n_rows + 1, sizeof(*s.time_s), "times of a meter", &s.time_s, err);
    if (st == VD_OK)
        st = vd_alloc_array(t->n_rows + 1, sizeof(*s.watts), "watts of a meter", &s.watts, err);
    if (st == VD_OK)
        st = take_rows(t, time, power, scale, rows, &n, &s, err);
    if (st != VD_OK)
        goto out;
    qsort(rows, n, sizeof(*rows), by_time);
    keep_rows(rows, n, &s);
    if (s.n < 2)
        st = VD_FAIL(err, VD_ERR_FORMAT, "all rows have the same time in '%s'", s.time_column);
    else
        st = find_gaps(&s, err);
    if (st != VD_OK)
        goto out;
    *ret_recording = s;
    s = (vd_recording){0};
out:
    vd_free(rows);
    vd_recording_done(&s);
    return st;
}
