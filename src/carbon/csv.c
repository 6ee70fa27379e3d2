/*
 * csv.c - intensities from a file: times in one column, values in another, with a header.
 *
 *   datetime,carbon_intensity_g_per_kwh,estimated
 *   2026-03-01T00:00:00Z,212.4,false
 *
 * Found by their names are the columns of time, of value (one that names a unit; of several the one
 * that names our scope) and, where there is one, `estimated`; the separator is a comma, a semicolon
 * or a tab. This feeds an account, so whatever leaves a doubt is an error that names its line: a
 * time without a zone (unless the header says UTC), one that is not later than the one before, a
 * value that is no number, a unit that nothing says. A value holds until the next; where that is
 * missing (a gap) as long as most of them do. Gaps are no error, and said.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "carbon/calendar.h"
#include "carbon/sources.h"
#include "carbon/unit.h"

enum { FILE_MAX = 64 << 20, FIELDS_MAX = 64, HOUR_S = 3600, DAY_S = 86400, N_PAST = 2016,
       AHEAD_S = 7 * DAY_S };

typedef struct field {
    const char *text;
    size_t n;
} field;

typedef struct table {
    vd_provider *provider;
    const char *path;
    char separator;
    size_t n_columns, at_time, at_value, at_estimated; /* at_estimated n_columns: there is none */
    bool utc; /* the header says that times are UTC, so they need no zone */
    double factor;
    size_t line, first_row; /* first_row: the line of out->value[0] */
    vd_series *out;
    vd_err *err;
} table;

static vd_status fail(const table *t, const char *fmt, ...) VD_PRINTF(2, 3);
static vd_status fail(const table *t, const char *fmt, ...)
{
    char what[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    return VD_FAIL(t->err, VD_ERR_FORMAT, "%s:%zu: %s", t->path, t->line, what);
}

/* ---- a line ----------------------------------------------------------------------------------*/

static field trimmed(const char *text, size_t n)
{
    while (n > 0 && strchr(" \t\r\"", text[n - 1]) != NULL)
        n--;
    while (n > 0 && strchr(" \t\"", text[0]) != NULL) {
        text++;
        n--;
    }
    return (field){text, n};
}

/* No quoted separators: times and numbers need none. */
static size_t split(const char *text, size_t n, char separator, field fields[FIELDS_MAX])
{
    size_t n_fields = 0;
    for (size_t begin = 0, i = 0; i <= n && n_fields < FIELDS_MAX; i++)
        if (i == n || text[i] == separator) {
            fields[n_fields++] = trimmed(text + begin, i - begin);
            begin = i + 1;
        }
    return n_fields;
}

static bool has(field f, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= f.n; i++)
        if (strncasecmp(f.text + i, word, n) == 0)
            return true;
    return false;
}

static bool is(field f, const char *word)
{
    return f.n == strlen(word) && strncasecmp(f.text, word, f.n) == 0;
}

/* ---- the header ------------------------------------------------------------------------------*/

static char separator_of(const char *text, size_t n)
{
    return memchr(text, '\t', n) != NULL ? '\t' : memchr(text, ';', n) != NULL ? ';' : ',';
}

/* The first column with one of the words, the words before others; n where none has. */
static size_t find_column(const field *fields, size_t n, const char *const *words, size_t n_words,
                          size_t but)
{
    for (size_t k = 0; k < n_words; k++)
        for (size_t i = 0; i < n; i++)
            if (i != but && has(fields[i], words[k]))
                return i;
    return n;
}

static size_t find_time(const field *fields, size_t n)
{
    static const char *const words[] = {"datetime", "timestamp", "point_time", "time"};
    static const char *const names[] = {"from", "start", "hour", "date"}; /* not "updated" */
    size_t found = find_column(fields, n, words, VD_COUNT(words), SIZE_MAX);
    for (size_t k = 0; found == n && k < VD_COUNT(names); k++)
        for (size_t i = 0; found == n && i < n; i++)
            if (is(fields[i], names[k]))
                found = i;
    return found;
}

static bool names_scope(field head, const char *scope)
{
    if (strcmp(scope, "direct") == 0)
        return has(head, "direct");
    return has(head, "life") || has(head, "lca");
}

/* The first column that names a unit, of intensity if there is one, of our scope if several are;
 * else by its name. */
static size_t find_value(const field *fields, size_t n, size_t at_time, const char *scope)
{
    static const char *const names[] = {"intensity", "value", "moer", "carbon"};
    size_t found = n, trap = n;
    for (size_t i = 0; i < n; i++) {
        double factor = i != at_time ? vd_unit_factor(fields[i].text, fields[i].n) : 0;
        if (factor > 0 && (found == n || (names_scope(fields[i], scope) &&
                                          !names_scope(fields[found], scope))))
            found = i;
        if (factor < 0 && trap == n)
            trap = i;
    }
    if (found == n)
        found = trap;
    return found < n ? found : find_column(fields, n, names, VD_COUNT(names), at_time);
}

static vd_status check_scope(const table *t, field head)
{
    const char *scope = t->provider->tags.scope;
    const char *other = strcmp(scope, "direct") == 0 ? "lifecycle" : "direct";
    if (names_scope(head, other) && !names_scope(head, scope))
        return fail(t, "'%.*s' is %s, and carbon.scope says %s",
                    (int)VD_MIN(head.n, (size_t)60), head.text, other, scope);
    return VD_OK;
}

static vd_status read_unit(table *t, field head)
{
    double said = vd_unit_factor(head.text, head.n), configured = t->provider->factor;
    if (said < 0)
        return fail(t, "'%.*s' is no intensity: it wants a mass per energy, such as g/kWh",
                    (int)VD_MIN(head.n, (size_t)60), head.text);
    if (said > 0 && configured > 0 && said != configured)
        return fail(t, "the header says another unit than carbon.unit: '%.*s'",
                    (int)VD_MIN(head.n, (size_t)60), head.text);
    t->factor = said > 0 ? said : configured;
    if (t->factor <= 0)
        return fail(t, "the unit of '%.*s' is not said: name the column like intensity_g_per_kwh, "
                    "or set carbon.unit", (int)VD_MIN(head.n, (size_t)60), head.text);
    return VD_OK;
}

static vd_status read_header(table *t, const char *text, size_t n)
{
    static const char *const estimates[] = {"estimated"};
    field fields[FIELDS_MAX];
    int64_t unused;
    t->separator = separator_of(text, n);
    t->n_columns = split(text, n, t->separator, fields);
    if (t->n_columns == FIELDS_MAX)
        return fail(t, "more than %d columns", FIELDS_MAX - 1);
    for (size_t i = 0; i < t->n_columns; i++)
        if (vd_time_parse(fields[i].text, fields[i].n, &unused))
            return fail(t, "a header is missing: the first line names the columns, such as "
                        "datetime,intensity_g_per_kwh");
    t->at_time = find_time(fields, t->n_columns);
    if (t->at_time == t->n_columns)
        return fail(t, "no column is called datetime, timestamp or time");
    t->utc = has(fields[t->at_time], "utc");
    t->at_value = find_value(fields, t->n_columns, t->at_time, t->provider->tags.scope);
    t->at_estimated = find_column(fields, t->n_columns, estimates, 1, t->at_time);
    if (t->at_value == t->n_columns)
        return fail(t, "no column is called intensity, value or g_per_kwh");
    vd_status st = check_scope(t, fields[t->at_value]);
    return st == VD_OK ? read_unit(t, fields[t->at_value]) : st;
}

/* ---- rows ------------------------------------------------------------------------------------*/

static vd_status read_number(const table *t, field f, double *ret)
{
    char text[40], *end;
    if (f.n == 0)
        return fail(t, "the value is missing");
    if (f.n >= sizeof(text))
        return fail(t, "the value is too long");
    memcpy(text, f.text, f.n);
    text[f.n] = '\0';
    double value = strtod(text, &end);
    if (*end != '\0' || strspn(text, "0123456789.+-eE") != f.n)
        return fail(t, "'%s' is no number", text);
    if (!isfinite(value))
        return fail(t, "'%s' is too large", text);
    if (value < 0)
        return fail(t, "%s is negative", text);
    *ret = value * t->factor;
    if (*ret > VD_G_PER_KWH_MAX)
        return fail(t, "%s would be %g g/kWh; more than %g is no carbon intensity: another unit?",
                    text, *ret, VD_G_PER_KWH_MAX);
    return VD_OK;
}

static vd_status read_bool(const table *t, field f, bool *ret)
{
    if (is(f, "true") || is(f, "1") || is(f, "yes"))
        *ret = true;
    else if (is(f, "false") || is(f, "0") || is(f, "no"))
        *ret = false;
    else
        return fail(t, "'estimated' is '%.*s'; it is true or false",
                    (int)VD_MIN(f.n, (size_t)40), f.text);
    return VD_OK;
}

/* As vd_time_parse, and where the header says UTC also without a zone. */
static bool read_time(const table *t, field f, int64_t *ret_s)
{
    char text[40];
    if (vd_time_parse(f.text, f.n, ret_s))
        return true;
    if (!t->utc || f.n + 1 >= sizeof(text))
        return false;
    memcpy(text, f.text, f.n);
    text[f.n] = 'Z';
    return vd_time_parse(text, f.n + 1, ret_s);
}

static vd_status read_row(table *t, const char *text, size_t n)
{
    field fields[FIELDS_MAX];
    vd_intensity value = t->provider->tags;
    size_t n_fields = split(text, n, t->separator, fields);
    vd_status st = VD_OK;
    if (n_fields != t->n_columns)
        return fail(t, "%zu columns where the header has %zu", n_fields, t->n_columns);
    field time = fields[t->at_time];
    if (!read_time(t, time, &value.valid_from_s))
        return fail(t, "'%.*s' is no time with a zone, such as 2026-03-01T00:00:00Z",
                    (int)VD_MIN(time.n, (size_t)60), time.text);
    const vd_intensity *last = t->out->n > 0 ? &t->out->value[t->out->n - 1] : NULL;
    if (last != NULL && value.valid_from_s == last->valid_from_s)
        return fail(t, "the time '%.*s' stands there twice", (int)time.n, time.text);
    if (last != NULL && value.valid_from_s < last->valid_from_s)
        return fail(t, "'%.*s' is earlier than the line before: sort the file by time",
                    (int)time.n, time.text);
    st = read_number(t, fields[t->at_value], &value.g_per_kwh);
    if (st == VD_OK && t->at_estimated < t->n_columns)
        st = read_bool(t, fields[t->at_estimated], &value.estimated);
    if (st != VD_OK)
        return st;
    st = vd_series_add(t->out, &value, t->err);
    if (st != VD_OK)
        vd_err_prefix(t->err, "%s:%zu", t->path, t->line);
    return st;
}

/* ---- how long values hold --------------------------------------------------------------------*/

static int by_length(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* A step of twice the usual one or more is a gap, but for steps up to an hour (grids that changed
 * from half-hours to quarters). */
static bool is_gap(int64_t step_s, int64_t usual_s)
{
    return step_s >= 2 * usual_s && step_s > HOUR_S;
}

static void note_gap(table *t, size_t i, int64_t step_s, int64_t usual_s)
{
    char at[VD_TIME_TEXT];
    vd_time_text(t->out->value[i].valid_from_s + usual_s, at);
    if (t->provider->note[0] == '\0')
        snprintf(t->provider->note, sizeof(t->provider->note),
                 "%s: no value for %.4g h from %s", t->path,
                 (double)(step_s - usual_s) / HOUR_S, at);
}

static vd_status set_lengths(table *t)
{
    vd_series *s = t->out;
    int64_t usual_s = HOUR_S, *steps = NULL;
    size_t n = s->n > 0 ? s->n - 1 : 0;
    if (n > 0) {
        vd_status st = vd_alloc_array(n, sizeof(*steps), "the steps of a series", &steps, t->err);
        if (st != VD_OK)
            return st;
        for (size_t i = 0; i < n; i++)
            steps[i] = s->value[i + 1].valid_from_s - s->value[i].valid_from_s;
        qsort(steps, n, sizeof(*steps), by_length);
        usual_s = steps[n / 2];
        vd_free(steps);
    }
    for (size_t i = 0; i < s->n; i++) {
        int64_t step_s = i < n ? s->value[i + 1].valid_from_s - s->value[i].valid_from_s : usual_s;
        if (is_gap(step_s, usual_s))
            note_gap(t, i, step_s, usual_s);
        s->value[i].valid_to_s =
            s->value[i].valid_from_s + (is_gap(step_s, usual_s) ? usual_s : step_s);
    }
    return VD_OK;
}

vd_status vd_csv_read(vd_provider *p, const char *path, const char *text, size_t n, vd_series *out,
                      vd_err *err)
{
    table t = {.provider = p, .path = path, .out = out, .err = err};
    vd_status st = VD_OK;
    p->note[0] = '\0';
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        n -= 3;
    }
    for (size_t at = 0; st == VD_OK && at < n;) {
        const char *newline = memchr(text + at, '\n', n - at);
        size_t length = newline != NULL ? (size_t)(newline - (text + at)) : n - at;
        field line = trimmed(text + at, length);
        t.line++;
        if (line.n > 0 && line.text[0] != '#')
            st = t.n_columns == 0 ? read_header(&t, text + at, length)
                                  : read_row(&t, text + at, length);
        at += length + 1;
    }
    if (st == VD_OK && out->n == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: there is no row with a value", path);
    return st == VD_OK ? set_lengths(&t) : st;
}

/* ---- the source ------------------------------------------------------------------------------*/

static vd_status csv_open(vd_provider *p, const vd_provider_options *o, vd_err *err)
{
    p->tags = (vd_intensity){.basis = "location", .boundary = "unknown", .source = "CSV file"};
    if (o->file == NULL)
        return VD_FAIL(err, VD_ERR_ARG, "the provider csv needs a file: carbon.file");
    vd_status st = vd_source_zone(p, o->zone != NULL ? o->zone : "csv", "DE", err);
    if (st == VD_OK)
        st = vd_source_word("carbon.kind", o->kind, "average", "marginal", &p->tags.kind, err);
    if (st == VD_OK)
        st = vd_source_word("carbon.scope", o->scope, "lifecycle", "direct", &p->tags.scope, err);
    p->factor = o->unit != NULL ? vd_unit_factor(o->unit, strlen(o->unit)) : 0;
    if (st == VD_OK && o->unit != NULL && p->factor <= 0)
        st = VD_FAIL(err, VD_ERR_ARG, "carbon.unit is '%.40s'; g/kWh, kg/MWh, kg/kWh and lb/MWh "
                     "are some that are", o->unit);
    if (st == VD_OK && (p->file = vd_strdup(o->file)) == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a file's name");
    return st;
}

/* What changes when a file is written again or replaced; 0 for what is no regular file: a pipe
 * would make the thread that reads it wait for its writer. */
static uint64_t mark_of(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISREG(about.st_mode))
        return 0;
    uint64_t mark = (uint64_t)about.st_mtim.tv_sec * 1000000000u + (uint64_t)about.st_mtim.tv_nsec;
    return (mark ^ (uint64_t)about.st_ino << 40 ^ (uint64_t)about.st_size << 20) | 1;
}

/* Reads the file where it changed; a file that became wrong leaves what was read before. */
static vd_status refresh(vd_provider *p, vd_err *err)
{
    uint64_t mark = mark_of(p->file);
    char *text = NULL;
    size_t n = 0;
    vd_series fresh = {0};
    if (mark != 0 && mark == p->file_mark)
        return VD_OK;
    if (mark == 0 && access(p->file, R_OK) == 0)
        return VD_FAIL(err, VD_ERR_ARG, "%s is not a regular file", p->file);
    vd_status st = vd_file_read(p->file, FILE_MAX, &text, &n, err);
    if (st == VD_OK)
        st = vd_csv_read(p, p->file, text, n, &fresh, err);
    if (st == VD_OK) {
        vd_series_done(&p->kept);
        p->kept = fresh;
        p->file_mark = mark;
        fresh = (vd_series){0};
    }
    vd_series_done(&fresh);
    vd_free(text);
    return st;
}

static vd_status copy(const vd_provider *p, size_t from, int64_t to_s, vd_series *out, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = from; st == VD_OK && i < p->kept.n && p->kept.value[i].valid_from_s < to_s; i++)
        st = vd_series_add(out, &p->kept.value[i], err);
    return st;
}

static vd_status csv_latest(vd_provider *p, const vd_asking *asking, vd_series *out, vd_err *err)
{
    vd_status st = refresh(p, err);
    if (st != VD_OK)
        return st;
    size_t now = vd_series_find(&p->kept, asking->now_s);
    if (now == p->kept.n)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s begins in the future", p->file);
    return copy(p, now > N_PAST ? now - N_PAST : 0, asking->now_s + AHEAD_S, out, err);
}

static vd_status csv_history(vd_provider *p, const vd_asking *asking, int64_t from_s, int64_t to_s,
                             vd_series *out, vd_err *err)
{
    vd_status st = refresh(p, err);
    if (st != VD_OK)
        return st;
    size_t first = vd_series_find(&p->kept, from_s);
    return copy(p, first == p->kept.n ? 0 : first, to_s, out, err);
}

const vd_provider_ops vd_source_csv = {.name = "csv",
                                       .piece_s = INT64_MAX,
                                       .open = csv_open,
                                       .latest = csv_latest,
                                       .history = csv_history};
