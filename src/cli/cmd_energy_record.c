/*
 * cmd_energy_record.c - `verdant energy record`: a stretch of a service's life as a run record, to
 * be held against another by `verdant report`. docs/report.md has the fields.
 *
 * A sample is an hour (UTC) in which answers ended. Where one model served alone, its joules are
 * the machine's, idle and unattributed power included; of one model among several, what its
 * requests were booked.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/energy.h"
#include "cli/run_facts.h"

static const int64_t last_s = INT64_C(9000000000);

#define HOUR_OF_ANSWER "a.end_ns / 3600000000000"
#define ENDED "a.end_ns >= ?1 * 1000000000 AND a.end_ns < ?2 * 1000000000 AND a.model = ?3"

static const char models_sql[] =
    "SELECT count(DISTINCT a.model), ifnull(?3, min(a.model)) FROM answer AS a WHERE "
    "a.end_ns >= ?1 * 1000000000 AND a.end_ns < ?2 * 1000000000";

/* An hour: its answers, and the machine's windows in it. */
static const char samples_sql[] =
    "SELECT h.hour, h.n, h.prompt, h.completion, ifnull(sum(w.length_ns), 0) / 1e9, "
    "ifnull(sum(w.meter_uj), 0) / 1e6, sum(w.cpu_uj) / 1e6, sum(w.dram_uj) / 1e6, "
    "sum(w.gpu_uj) / 1e6, max(w.gap), max(w.common_pct), max(w.independent_pct), "
    "min(w.method), max(w.method), (SELECT sum(z.uj) FROM share AS z JOIN request AS r ON "
    "r.session = z.session AND r.request = z.request WHERE z.slot_s / 3600 = h.hour AND "
    "r.model = ?3) / 1e6 FROM (SELECT " HOUR_OF_ANSWER " AS hour, count(*) AS n, "
    "sum(a.prompt_tokens) AS prompt, sum(a.completion_tokens) AS completion FROM answer AS a "
    "WHERE " ENDED " GROUP BY hour) AS h LEFT JOIN window AS w ON w.slot_s >= h.hour * 3600 AND "
    "w.slot_s < (h.hour + 1) * 3600 GROUP BY h.hour ORDER BY h.hour";

static const char latency_sql[] =
    "SELECT (a.end_ns - a.begin_ns) / 1e9 FROM answer AS a WHERE " HOUR_OF_ANSWER
    " = ?1 AND a.model = ?2 ORDER BY 1 LIMIT 1 OFFSET ?3";

static const char carbon_sql[] =
    "SELECT i.zone, i.kind, i.scope, i.basis, i.boundary, i.source, i.version, "
    "sum(h.uj * i.g_per_kwh) OVER () / sum(h.uj) OVER (), s.pue FROM answer AS a "
    "JOIN session AS s ON s.id = a.session JOIN request AS r ON r.session = a.session AND "
    "r.answer = a.number JOIN share AS h ON h.session = r.session AND h.request = r.request "
    "JOIN intensity AS i ON i.id = ifnull(h.final, h.intensity) WHERE " ENDED
    " ORDER BY h.uj DESC LIMIT 1";

/* All that the strings of the record point into. */
typedef struct facts {
    vd_run_facts run;
    char model[136], method[32], zone[40], kind[16], scope[16], basis[16], boundary[16];
    char source[128], version[40];
} facts;

static vd_status prepare(sqlite3 *db, const char *sql, const vd_energy_args *a, const char *model,
                         sqlite3_stmt **ret, vd_err *err)
{
    vd_status st = vd_db_prepare(db, sql, ret, err);
    if (st == VD_OK)
        st = vd_db_bind(*ret, err, "iit", a->since_s, a->until_s != 0 ? a->until_s : last_s, model);
    return st;
}

/* The model of the record; *ret_alone: no other one answered in the period. */
static vd_status choose_model(sqlite3 *db, const vd_energy_args *a, const char *wanted, facts *f,
                              bool *ret_alone, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    vd_status st = prepare(db, models_sql, a, wanted, &s, err);
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    int n = st == VD_OK && row ? sqlite3_column_int(s, 0) : 0;
    if (st == VD_OK && n == 0)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "no answer ended in this period");
    else if (st == VD_OK && n > 1 && wanted == NULL)
        st = VD_FAIL(err, VD_ERR_ARG, "%d models answered in this period; a record is of one: "
                     "--model NAME", n);
    if (st == VD_OK)
        snprintf(f->model, sizeof(f->model), "%s", vd_db_text(s, 1));
    *ret_alone = n == 1;
    sqlite3_finalize(s);
    return st;
}

static vd_status percentile(sqlite3 *db, int64_t hour, const char *model, uint64_t n, double part,
                            double *ret, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    vd_status st = vd_db_prepare(db, latency_sql, &s, err);
    if (st == VD_OK)
        st = vd_db_bind(s, err, "iti", hour, model, (int64_t)((double)(n - 1) * part + 0.5));
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    if (st == VD_OK && row)
        *ret = sqlite3_column_double(s, 0);
    sqlite3_finalize(s);
    return st;
}

static double or_nan(sqlite3_stmt *s, int column, bool known)
{
    bool there = known && sqlite3_column_type(s, column) != SQLITE_NULL;
    return there ? sqlite3_column_double(s, column) : NAN;
}

static vd_status read_sample(sqlite3 *db, sqlite3_stmt *s, facts *f, bool alone, vd_run *run,
                             vd_run_sample *sample, vd_err *err)
{
    static const double parts[] = {0.5, 0.95, 0.99};
    double *const times[] = {&sample->latency_s.p50, &sample->latency_s.p95,
                             &sample->latency_s.p99};
    int64_t hour = sqlite3_column_int64(s, 0);
    sample->answers = (uint64_t)sqlite3_column_int64(s, 1);
    sample->prompt_tokens = (uint64_t)sqlite3_column_int64(s, 2);
    sample->whole = (vd_run_phase){.seconds = sqlite3_column_double(s, 4),
                                   .joules = sqlite3_column_double(s, alone ? 5 : 14),
                                   .tokens = (uint64_t)sqlite3_column_int64(s, 3),
                                   .cpu_j = or_nan(s, 6, alone),
                                   .dram_j = or_nan(s, 7, alone),
                                   .gpu_j = or_nan(s, 8, alone)};
    sample->idle_w = NAN;
    sample->ttft_s = (vd_run_times){NAN, NAN, NAN};
    run->meter.incomplete |= sqlite3_column_int(s, 9) != 0;
    run->meter.common_pct = fmax(run->meter.common_pct, sqlite3_column_double(s, 10));
    run->meter.independent_pct = fmax(run->meter.independent_pct, sqlite3_column_double(s, 11));
    bool one = strcmp(vd_db_text(s, 12), vd_db_text(s, 13)) == 0 &&
               (f->method[0] == '\0' || strcmp(f->method, vd_db_text(s, 12)) == 0);
    snprintf(f->method, sizeof(f->method), "%s", one ? vd_db_text(s, 12) : "mixed");
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(parts); i++)
        st = percentile(db, hour, f->model, sample->answers, parts[i], times[i], err);
    return st;
}

static vd_status read_samples(sqlite3 *db, const vd_energy_args *a, bool alone, facts *f,
                              vd_run *run, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = true;
    run->meter.common_pct = run->meter.independent_pct = 0;
    vd_status st = vd_alloc_array(VD_RUN_SAMPLES_MAX, sizeof(vd_run_sample), "samples",
                                  &run->sample, err);
    if (st == VD_OK)
        st = prepare(db, samples_sql, a, f->model, &s, err);
    while (st == VD_OK && (st = vd_db_step(s, &row, err)) == VD_OK && row) {
        if (run->n_samples == VD_RUN_SAMPLES_MAX)
            st = VD_FAIL(err, VD_ERR_LIMIT, "more than %d hours; ask for a shorter period",
                         VD_RUN_SAMPLES_MAX);
        else
            st = read_sample(db, s, f, alone, run, &run->sample[run->n_samples], err);
        run->n_samples += st == VD_OK && run->sample[run->n_samples].whole.joules > 0;
    }
    run->meter.method = f->method;
    sqlite3_finalize(s);
    if (st == VD_OK && run->n_samples == 0)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "no answer of '%s' ended in this period", f->model);
    return st;
}

static vd_status read_carbon(sqlite3 *db, const vd_energy_args *a, facts *f, vd_run *run,
                             vd_err *err)
{
    const struct {
        char *text;
        size_t size;
    } words[] = {{f->zone, sizeof(f->zone)},     {f->kind, sizeof(f->kind)},
                 {f->scope, sizeof(f->scope)},   {f->basis, sizeof(f->basis)},
                 {f->boundary, sizeof(f->boundary)}, {f->source, sizeof(f->source)},
                 {f->version, sizeof(f->version)}};
    sqlite3_stmt *s = NULL;
    bool row = false;
    vd_status st = prepare(db, carbon_sql, a, f->model, &s, err);
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    if (st == VD_OK && row) {
        for (size_t i = 0; i < VD_COUNT(words); i++)
            snprintf(words[i].text, words[i].size, "%s", vd_db_text(s, (int)i));
        run->carbon.g_per_kwh = sqlite3_column_double(s, 7);
        run->carbon.pue = sqlite3_column_double(s, 8);
        run->carbon.zone = f->zone;
        run->carbon.kind = f->kind;
        run->carbon.scope = f->scope;
        run->carbon.basis = f->basis;
        run->carbon.boundary = f->boundary;
        run->carbon.source = f->source;
        run->carbon.valid_at = f->version[0] != '\0' ? f->version : NULL;
    }
    sqlite3_finalize(s);
    return st;
}

static vd_status make_record(const vd_energy_args *a, const char *model, const char *label,
                             facts *f, vd_run *run, vd_err *err)
{
    sqlite3 *db = NULL;
    vd_meter *meter = NULL;
    bool alone = true;
    vd_run_init(run);
    vd_status st = vd_energy_open(a->path, false, &db, err);
    if (st == VD_OK)
        st = vd_db_run(db, "BEGIN", err); /* one snapshot */
    if (st == VD_OK)
        st = choose_model(db, a, model, f, &alone, err);
    if (st == VD_OK)
        st = vd_meter_open(NULL, &meter, err); /* for what it knows of the machine */
    if (st == VD_OK) {
        vd_run_facts_meter(meter, &f->run, run);
        vd_run_time(f->run.created);
        run->kind = "service";
        run->label = label;
        run->created = f->run.created;
        run->program = "verdant " VD_VERSION;
        run->model.name = f->model;
        st = read_samples(db, a, alone, f, run, err);
    }
    if (st == VD_OK)
        st = read_carbon(db, a, f, run, err);
    vd_meter_close(meter);
    vd_db_close(db);
    return st;
}

static vd_status write_to(const char *file, const char *text, vd_err *err)
{
    vd_atomic_file to;
    vd_status st = vd_atomic_file_open(file, &to, err);
    if (st != VD_OK)
        return st;
    fprintf(to.stream, "%s\n", text);
    st = vd_atomic_file_commit(&to, err);
    vd_atomic_file_done(&to);
    return st;
}

int vd_energy_record_main(int argc, char **argv)
{
    vd_energy_args a;
    facts f = {.model = ""};
    vd_run run;
    const char *file = NULL, *model = NULL, *label = NULL;
    int status = VD_EXIT_OK;
    vd_err err = {0};
    if (!vd_energy_args_read("energy record", "lsu", &argc, argv, &a, &status))
        return status;
    for (int i = 1; i < argc && status == VD_EXIT_OK; i += 2) {
        const char **to = strcmp(argv[i], "-o") == 0        ? &file
                          : strcmp(argv[i], "--model") == 0 ? &model
                          : strcmp(argv[i], "--label") == 0 ? &label
                                                            : NULL;
        if (to == NULL || i + 1 >= argc)
            status = vd_cli_misuse("energy record", "'%s' is not understood; --model NAME, --label "
                                   "TEXT and -o FILE there are", argv[i]);
        else
            *to = argv[i + 1];
    }
    if (status != VD_EXIT_OK) {
        vd_free(a.path);
        return status;
    }
    vd_status st = make_record(&a, model, label, &f, &run, &err);
    json_t *json = st == VD_OK ? vd_run_json(&run) : NULL;
    char *text = vd_json_text(json);
    json_decref(json);
    if (st == VD_OK && text == NULL)
        st = VD_FAIL(&err, VD_ERR_NOMEM, "no memory for a record");
    if (st == VD_OK && (file == NULL || strcmp(file, "-") == 0))
        puts(text);
    else if (st == VD_OK)
        st = write_to(file, text, &err);
    if (st != VD_OK)
        status = vd_cli_failed("energy record", &err);
    vd_free(text);
    vd_run_done(&run);
    vd_free(a.path);
    return status;
}
