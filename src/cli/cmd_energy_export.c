/*
 * cmd_energy_export.c - `verdant energy export`: the ledger for other programs.
 *
 *   csv, json     a row per answer, whole microjoules
 *   codecarbon    the columns of CodeCarbon's emissions.csv (kWh, kg, W), a row per day and model
 */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <verdant/verdant.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "carbon/intensity.h"
#include "cli/energy.h"

#define ENDED(t) t ".end_ns >= ?1 * 1000000000 AND " t ".end_ns < ?2 * 1000000000"
#define TIME_OF(ns) "strftime('%Y-%m-%dT%H:%M:%SZ', " ns " / 1000000000, 'unixepoch')"

/* Columns are named as they are written. */
static const char answers_sql[] =
    "SELECT a.id, a.body_id AS answer_id, a.model, a.kind, a.key, " TIME_OF("a.begin_ns")
    " AS begin, " TIME_OF("a.end_ns") " AS end, a.sequences, a.prompt_tokens, a.cached_tokens, "
    "a.completion_tokens, a.total_uj, a.active_uj, a.idle_share_uj, a.prefill_uj, a.decode_uj, "
    "a.cpu_uj, a.dram_uj, a.gpu_uj, a.method, a.uncertainty_pct, a.settled, a.incomplete, "
    "sum(r.first_ug) * s.pue / 1e6 AS operational_g, iif(count(r.final_ug) > 0, "
    "sum(ifnull(r.final_ug, r.first_ug)) * s.pue / 1e6, NULL) AS operational_final_g, "
    "sum(r.embodied_ug) / 1e6 AS embodied_g, s.pue "
    "FROM answer AS a JOIN session AS s ON s.id = a.session LEFT JOIN request AS r ON "
    "r.session = a.session AND r.answer = a.number WHERE " ENDED("a")
    " GROUP BY a.row ORDER BY a.end_ns, a.row";

/* Per day and model; seconds are of the machine, so that watts are its own. */
static const char codecarbon_sql[] =
    "SELECT g.*, (SELECT i.zone FROM request AS q JOIN share AS h ON h.session = q.session AND "
    "h.request = q.request JOIN intensity AS i ON i.id = h.intensity WHERE q.id = g.last LIMIT 1) "
    "FROM (SELECT r.end_ns / 86400000000000 AS day, ifnull(r.model, '') AS model, "
    "max(r.end_ns) / 1000000000, sum(r.machine_ns) / 1e9, "
    "sum(ifnull(r.final_ug, r.first_ug) * s.pue) / 1e9, sum(r.cpu_uj) / 3.6e12, "
    "sum(r.gpu_uj) / 3.6e12, sum(r.dram_uj) / 3.6e12, sum(r.total_uj) / 3.6e12, max(s.pue), "
    "max(r.id) AS last FROM request AS r JOIN session AS s ON s.id = r.session "
    "WHERE r.settled AND " ENDED("r") " GROUP BY day, r.model) AS g ORDER BY g.day, g.model";

static const char codecarbon_head[] =
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,"
    "gpu_power,ram_power,cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,"
    "country_name,country_iso_code,region,cloud_provider,cloud_region,os,python_version,"
    "codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,"
    "ram_total_size,tracking_mode,on_cloud,pue,wue\n";

/* RFC 4180; and what a spreadsheet would take for a formula gets its mark of a text in front. */
static void put_field(FILE *out, const char *text)
{
    bool is_quoted = strpbrk(text, ",\"\n\r") != NULL;
    if (is_quoted)
        fputc('"', out);
    if (text[0] != '\0' && strchr("=+-@", text[0]) != NULL)
        fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    if (is_quoted)
        fputc('"', out);
}

static vd_status put_csv(sqlite3_stmt *s, FILE *out, vd_err *err)
{
    bool row = true;
    vd_status st = VD_OK;
    int n = sqlite3_column_count(s);
    for (int i = 0; i < n; i++)
        fprintf(out, "%s%s", i > 0 ? "," : "", sqlite3_column_name(s, i));
    fputc('\n', out);
    while ((st = vd_db_step(s, &row, err)) == VD_OK && row)
        for (int i = 0; i < n; i++) {
            if (sqlite3_column_type(s, i) == SQLITE_TEXT)
                put_field(out, vd_db_text(s, i));
            else
                fputs(vd_db_text(s, i), out); /* a number may well begin with - */
            fputc(i + 1 < n ? ',' : '\n', out);
        }
    return st;
}

static json_t *row_json(sqlite3_stmt *s)
{
    json_t *row = json_object();
    for (int i = 0; row != NULL && i < sqlite3_column_count(s); i++) {
        const char *name = sqlite3_column_name(s, i);
        bool flag = strcmp(name, "settled") == 0 || strcmp(name, "incomplete") == 0;
        json_t *value = NULL;
        switch (sqlite3_column_type(s, i)) {
        case SQLITE_NULL:
            value = json_null();
            break;
        case SQLITE_INTEGER:
            value = flag ? json_boolean(sqlite3_column_int(s, i))
                         : json_integer(sqlite3_column_int64(s, i));
            break;
        case SQLITE_FLOAT:
            value = json_real(sqlite3_column_double(s, i));
            break;
        default:
            value = json_string(vd_db_text(s, i));
        }
        if (json_object_set_new(row, name, value) != 0) {
            json_decref(row);
            row = NULL;
        }
    }
    return row;
}

static vd_status put_rows(sqlite3_stmt *s, FILE *out, vd_err *err)
{
    bool row = true;
    vd_status st = VD_OK;
    size_t n = 0;
    fputs("[", out);
    while ((st = vd_db_step(s, &row, err)) == VD_OK && row) {
        json_t *value = row_json(s);
        char *text = vd_json_text(value);
        json_decref(value);
        if (text == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a row");
        fprintf(out, "%s\n%s", n++ > 0 ? "," : "", text);
        vd_free(text);
    }
    fputs("\n]\n", out);
    return st;
}

static void put_day(sqlite3_stmt *s, const char *os, FILE *out)
{
    char text[32], run[192];
    struct tm tm;
    time_t at = (time_t)sqlite3_column_int64(s, 2);
    const char *model = vd_db_text(s, 1), *zone = vd_db_text(s, 11);
    double seconds = sqlite3_column_double(s, 3), kg = sqlite3_column_double(s, 4);
    double kwh[4], watts[3];
    const vd_zone *found = NULL;
    for (int i = 0; i < 4; i++)
        kwh[i] = sqlite3_column_double(s, 5 + i);
    for (int i = 0; i < 3; i++)
        watts[i] = seconds > 0 ? kwh[i] * 3.6e6 / seconds : 0;
    gmtime_r(&at, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    fprintf(out, "%s,", text);
    put_field(out, model);
    snprintf(run, sizeof(run), "%.10s %s", text, model);
    fputc(',', out);
    put_field(out, run);
    fprintf(out, ",verdant,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.12g,%.12g,%.12g,%.12g,0,", seconds, kg,
            seconds > 0 ? kg / seconds : 0, watts[0], watts[1], watts[2], kwh[0], kwh[1], kwh[2],
            kwh[3]);
    if (vd_zone_find(zone, &found, NULL) == VD_OK)
        put_field(out, found->name);
    fputs(",,", out);
    put_field(out, zone);
    fputs(",,,", out);
    put_field(out, os);
    fprintf(out, ",,verdant %s,%ld,,0,,,,%.3f,machine,N,%g,0\n", vd_version(),
            sysconf(_SC_NPROCESSORS_ONLN),
            (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1e9,
            sqlite3_column_double(s, 9));
}

static vd_status put_codecarbon(sqlite3_stmt *s, FILE *out, vd_err *err)
{
    bool row = true;
    vd_status st = VD_OK;
    struct utsname name;
    char os[160] = "";
    if (uname(&name) == 0)
        snprintf(os, sizeof(os), "%.40s-%.60s-%.40s", name.sysname, name.release, name.machine);
    fputs(codecarbon_head, out);
    while ((st = vd_db_step(s, &row, err)) == VD_OK && row)
        put_day(s, os, out);
    return st;
}

static const struct {
    const char *name, *sql;
    vd_status (*put)(sqlite3_stmt *s, FILE *out, vd_err *err);
} formats[] = {
    {"csv", answers_sql, put_csv},
    {"json", answers_sql, put_rows},
    {"codecarbon", codecarbon_sql, put_codecarbon},
};

static vd_status write_all(const vd_energy_args *a, size_t format, FILE *out, vd_err *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    vd_status st = vd_energy_open(a->path, false, &db, err);
    if (st == VD_OK)
        st = vd_db_prepare(db, formats[format].sql, &s, err);
    if (st == VD_OK)
        st = vd_db_bind(s, err, "ii", a->since_s,
                        a->until_s != 0 ? a->until_s : INT64_C(9000000000));
    if (st == VD_OK)
        st = formats[format].put(s, out, err);
    sqlite3_finalize(s);
    vd_db_close(db);
    return st;
}

int vd_energy_export_main(int argc, char **argv)
{
    vd_energy_args a;
    const char *file = NULL;
    size_t format = 0;
    int status = VD_EXIT_OK;
    vd_err err = {0};
    if (!vd_energy_args_read("energy export", "lsu", &argc, argv, &a, &status))
        return status;
    for (int i = 1; i < argc; i += 2) {
        bool has_value = i + 1 < argc;
        if (has_value && strcmp(argv[i], "-o") == 0) {
            file = argv[i + 1];
            continue;
        }
        bool is_format = has_value && strcmp(argv[i], "--format") == 0;
        format = is_format ? 0 : VD_COUNT(formats);
        while (format < VD_COUNT(formats) && strcmp(argv[i + 1], formats[format].name) != 0)
            format++;
        if (format == VD_COUNT(formats)) {
            status = vd_cli_misuse("energy export", "'%s' is not understood; --format csv, json or "
                                   "codecarbon and -o FILE there are", argv[i]);
            goto out;
        }
    }
    vd_status st;
    if (file == NULL || strcmp(file, "-") == 0) {
        st = write_all(&a, format, stdout, &err);
    } else {
        vd_atomic_file to;
        st = vd_atomic_file_open(file, &to, &err);
        if (st == VD_OK) {
            st = write_all(&a, format, to.stream, &err);
            if (st == VD_OK)
                st = vd_atomic_file_commit(&to, &err);
            vd_atomic_file_done(&to);
        }
    }
    if (st != VD_OK)
        status = vd_cli_failed("energy export", &err);
out:
    vd_free(a.path);
    return status;
}
