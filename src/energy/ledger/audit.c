/* audit.c - see audit.h: each check is a query that finds nothing in sound books. */
#include "energy/ledger/audit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fail.h"
#include "energy/ledger/schema.h"

enum { SLOT_S = 300, LISTED_DEFAULT = 100 };
static const int64_t last_s = INT64_C(9000000000); /* in nanoseconds it still fits 63 bits */

/* In every query ?1 and ?2 are the first slot and the one behind the last. */
#define IN_SLOTS "slot_s >= ?1 AND slot_s < ?2"
#define ENDED_IN "end_ns >= ?1 * 1000000000 AND end_ns < ?2 * 1000000000"

/* The requests and answers that the period has to do with. */
static const char touched_requests[] =
    "INSERT INTO temp.touched SELECT session, request FROM share WHERE " IN_SLOTS
    " UNION SELECT session, request FROM request WHERE " ENDED_IN
    " UNION SELECT session, request FROM request WHERE end_ns IS NULL";
static const char touched_answers[] =
    "INSERT INTO temp.asked SELECT session, number FROM answer WHERE " ENDED_IN
    " OR end_ns IS NULL UNION SELECT r.session, r.answer FROM request AS r "
    "JOIN temp.touched AS t ON t.session = r.session AND t.request = r.request "
    "WHERE r.answer > 0";

#define TOUCHED(alias)                                                                             \
    "JOIN temp.touched AS t ON t.session = " alias ".session AND t.request = " alias ".request "
#define ASKED                                                                                      \
    "JOIN temp.asked AS q ON q.session = a.session AND q.number = a.number "

/* Sums of a table's energy that must agree within a row. */
#define ROW_SUMS(key, alias)                                                                       \
    "SELECT " key ", printf('total %lld, active %lld, prefill %lld, decode %lld, idle share %lld, "\
    "parts %lld', " alias ".total_uj, " alias ".active_uj, " alias ".prefill_uj, "                 \
    alias ".decode_uj, " alias ".idle_share_uj, " alias ".cpu_uj + " alias ".dram_uj + "           \
    alias ".gpu_uj) "
#define ROW_SUMS_BROKEN(alias)                                                                     \
    "(" alias ".total_uj <> " alias ".active_uj + " alias ".idle_share_uj OR "                     \
    alias ".active_uj <> " alias ".prefill_uj + " alias ".decode_uj OR "                           \
    alias ".total_uj <> " alias ".cpu_uj + " alias ".dram_uj + " alias ".gpu_uj)"

#define CHILD(column)                                                                              \
    "a." column " <> ifnull(sum(r." column "), 0)"

static const struct check {
    const char *name, *sql;
} checks[] = {
    {"session.mark", "SELECT id, 'the row was changed' FROM session WHERE "
                     VD_MARK_BROKEN("session", VD_COLUMNS_SESSION)},
    {"intensity.mark", "SELECT id, 'the row was changed' FROM intensity WHERE "
                       VD_MARK_BROKEN("intensity", VD_COLUMNS_INTENSITY)},
    {"window.mark", "SELECT id, 'the row was changed' FROM window WHERE " IN_SLOTS " AND "
                    VD_MARK_BROKEN("window", VD_COLUMNS_WINDOW)},
    {"share.mark", "SELECT printf('%lld/%lld/%lld', session, request, slot_s), "
                   "'the row was changed' FROM share WHERE " IN_SLOTS " AND "
                   VD_MARK_BROKEN("share", VD_COLUMNS_SHARE)},
    {"request.mark", "SELECT id, 'the row was changed' FROM request WHERE (session, request) IN "
                     "temp.touched AND " VD_MARK_BROKEN("request", VD_COLUMNS_REQUEST)},
    {"answer.mark", "SELECT row, 'the row was changed' FROM answer WHERE (session, number) IN "
                    "temp.asked AND " VD_MARK_BROKEN("answer", VD_COLUMNS_ANSWER)},
    {"window.sum",
     "SELECT id, printf('meter %lld, requests %lld + idle %lld + unattributed %lld', meter_uj, "
     "requests_uj, idle_uj, unattributed_uj) FROM window WHERE " IN_SLOTS
     " AND (meter_uj <> requests_uj + idle_uj + unattributed_uj OR min(meter_uj, requests_uj, "
     "idle_uj, unattributed_uj) < 0)"},
    {"window.parts",
     "SELECT id, printf('meter %lld, components %lld', meter_uj, cpu_uj + dram_uj + gpu_uj) "
     "FROM window WHERE " IN_SLOTS " AND meter_uj <> cpu_uj + dram_uj + gpu_uj"},
    {"window.chain",
     "SELECT id, printf('begins %lld ns after the end of the one before', d) FROM (SELECT id, "
     "mono_ns - lag(mono_ns + length_ns) OVER (PARTITION BY session ORDER BY mono_ns) AS d "
     "FROM window WHERE " IN_SLOTS ") WHERE d <> 0"},
    {"window.shares",
     "SELECT printf('%lld/%lld', session, slot_s), printf('windows gave requests %lld, shares "
     "hold %lld', sum(w), sum(s)) FROM (SELECT session, slot_s, requests_uj AS w, 0 AS s FROM "
     "window WHERE " IN_SLOTS " UNION ALL SELECT session, slot_s, 0, uj FROM share WHERE " IN_SLOTS
     ") GROUP BY session, slot_s HAVING sum(w) <> sum(s)"},
    {"request.shares",
     "SELECT r.id, printf('total %lld, shares %lld + given up %lld', r.total_uj, "
     "ifnull(sum(h.uj), 0), r.folded_uj) FROM request AS r " TOUCHED("r")
     "LEFT JOIN share AS h ON h.session = r.session AND h.request = r.request "
     "WHERE r.settled GROUP BY r.id HAVING r.total_uj <> ifnull(sum(h.uj), 0) + r.folded_uj"},
    {"request.sum", ROW_SUMS("r.id", "r") "FROM request AS r " TOUCHED("r")
                    "WHERE " ROW_SUMS_BROKEN("r")},
    {"answer.sum", ROW_SUMS("a.row", "a") "FROM answer AS a " ASKED
                   "WHERE " ROW_SUMS_BROKEN("a")},
    {"answer.sequences",
     "SELECT a.row, printf('answer %lld, its %lld of %lld sequences %lld + given up %lld', "
     "a.total_uj, count(r.id), a.sequences, ifnull(sum(r.total_uj), 0), a.folded_uj) "
     "FROM answer AS a " ASKED
     "LEFT JOIN request AS r ON r.session = a.session AND r.answer = a.number GROUP BY a.row "
     "HAVING a.total_uj <> ifnull(sum(r.total_uj), 0) + a.folded_uj OR (a.folded_uj = 0 AND "
     "(a.sequences <> count(r.id) OR a.completion_tokens <> ifnull(sum(r.completion_tokens), 0) OR "
     CHILD("active_uj") " OR " CHILD("prefill_uj") " OR " CHILD("decode_uj") " OR "
     CHILD("idle_share_uj") " OR " CHILD("cpu_uj") " OR " CHILD("dram_uj") " OR "
     CHILD("gpu_uj") "))"},
    {"request.first_grams",
     "SELECT r.id, printf('%.17g micrograms, the shares give %.17g', r.first_ug, x.ug) "
     "FROM request AS r " TOUCHED("r") "JOIN (SELECT h.session, h.request, sum(h.uj * "
     "i.g_per_kwh) / 3.6e6 AS ug FROM share AS h JOIN intensity AS i ON i.id = h.intensity "
     "GROUP BY h.session, h.request) AS x ON x.session = r.session AND x.request = r.request "
     "WHERE r.settled AND abs(ifnull(r.first_ug, -1) - x.ug) > 1e-9 * abs(x.ug) + 1e-9"},
    {"request.final_grams",
     "SELECT r.id, printf('%.17g micrograms, the shares give %.17g', r.final_ug, x.ug) "
     "FROM request AS r " TOUCHED("r") "JOIN (SELECT h.session, h.request, sum(h.uj * "
     "i.g_per_kwh) / 3.6e6 AS ug FROM share AS h JOIN intensity AS i ON i.id = "
     "ifnull(h.final, h.intensity) GROUP BY h.session, h.request) AS x "
     "ON x.session = r.session AND x.request = r.request "
     "WHERE r.final_ug IS NOT NULL AND abs(r.final_ug - x.ug) > 1e-9 * abs(x.ug) + 1e-9"},
    {"folded",
     "SELECT r.session, printf('requests miss %lld, request 0 holds %lld', sum(r.folded_uj), "
     "ifnull((SELECT sum(uj) FROM share AS h WHERE h.session = r.session AND h.request = 0), 0)) "
     "FROM request AS r GROUP BY r.session HAVING min(r.folded_uj) < 0 OR sum(r.folded_uj) > "
     "ifnull((SELECT sum(uj) FROM share AS h WHERE h.session = r.session AND h.request = 0), 0)"},
    {"share.intensity",
     "SELECT printf('%lld/%lld/%lld', session, request, slot_s), 'its intensity is missing' "
     "FROM share WHERE " IN_SLOTS " AND (intensity NOT IN (SELECT id FROM intensity) OR "
     "(final IS NOT NULL AND final NOT IN (SELECT id FROM intensity)))"},
    {"request.missing",
     "SELECT printf('%lld/%lld', h.session, h.request), 'it has shares, but no row, and the "
     "session ended well' FROM share AS h JOIN session AS s ON s.id = h.session AND s.clean "
     "WHERE " IN_SLOTS " AND h.request <> 0 AND NOT EXISTS (SELECT 1 FROM request AS r WHERE "
     "r.session = h.session AND r.request = h.request) AND NOT EXISTS (SELECT 1 FROM share AS z "
     "WHERE z.session = h.session AND z.request = 0) AND NOT EXISTS (SELECT 1 FROM answer AS a "
     "WHERE a.session = h.session AND a.folded_uj <> 0) GROUP BY h.session, h.request"},
    {"answer.missing",
     "SELECT r.id, printf('its answer %lld has no row, and the session ended well', r.answer) "
     "FROM request AS r " TOUCHED("r") "JOIN session AS s ON s.id = r.session AND s.clean "
     "WHERE r.answer > 0 AND NOT EXISTS (SELECT 1 FROM answer AS a WHERE a.session = r.session "
     "AND a.number = r.answer)"},
    {"session.missing",
     "SELECT DISTINCT w.session, 'windows of it are there' FROM window AS w WHERE " IN_SLOTS
     " AND w.session NOT IN (SELECT id FROM session)"},
    /* Rows get numbers without holes, and none is ever removed. */
    {"rows.missing",
     "SELECT t, printf('%lld rows, numbered up to %lld', n, last) FROM ("
     "SELECT 'session' AS t, count(*) AS n, ifnull(max(id), 0) AS last FROM session UNION ALL "
     "SELECT 'intensity', count(*), ifnull(max(id), 0) FROM intensity UNION ALL "
     "SELECT 'window', count(*), ifnull(max(id), 0) FROM window UNION ALL "
     "SELECT 'request', count(*), ifnull(max(id), 0) FROM request UNION ALL "
     "SELECT 'answer', count(*), ifnull(max(row), 0) FROM answer) WHERE n <> last"},
};

typedef struct audit {
    sqlite3 *db;
    int64_t from_s, to_s; /* slots */
    size_t max_listed, n_violations;
    json_t *violations;
} audit;

static vd_status no_memory(vd_err *err)
{
    return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the audit");
}

static vd_status prepare(audit *a, const char *sql, sqlite3_stmt **ret, vd_err *err)
{
    vd_status st = vd_db_prepare(a->db, sql, ret, err);
    for (int i = 0; st == VD_OK && i < sqlite3_bind_parameter_count(*ret); i++)
        sqlite3_bind_int64(*ret, i + 1, i == 0 ? a->from_s : a->to_s);
    return st;
}

static vd_status run_check(audit *a, const struct check *check, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = true;
    vd_status st = prepare(a, check->sql, &s, err);
    while (st == VD_OK && (st = vd_db_step(s, &row, err)) == VD_OK && row) {
        if (a->n_violations++ >= a->max_listed)
            continue;
        json_t *found = json_pack("{s:s, s:s, s:s}", "check", check->name, "row",
                                  vd_db_text(s, 0), "found", vd_db_text(s, 1));
        if (found == NULL || json_array_append_new(a->violations, found) != 0)
            st = no_memory(err);
    }
    sqlite3_finalize(s);
    return st;
}

static vd_status run_once(audit *a, const char *sql, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    vd_status st = prepare(a, sql, &s, err);
    if (st == VD_OK)
        st = vd_db_finish(s, err);
    sqlite3_finalize(s);
    return st;
}

/* Puts the columns of the query's first row into `to`, under their names. */
static vd_status put_row(audit *a, const char *sql, json_t *to, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    vd_status st = prepare(a, sql, &s, err);
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    for (int i = 0; st == VD_OK && row && i < sqlite3_column_count(s); i++) {
        json_t *value = sqlite3_column_type(s, i) == SQLITE_NULL ? json_null()
                        : sqlite3_column_type(s, i) == SQLITE_INTEGER
                            ? json_integer(sqlite3_column_int64(s, i))
                            : json_string(vd_db_text(s, i));
        if (json_object_set_new(to, sqlite3_column_name(s, i), value) != 0)
            st = no_memory(err);
    }
    sqlite3_finalize(s);
    return st;
}

#define TIME_OF(ns) "strftime('%Y-%m-%dT%H:%M:%SZ', (" ns ") / 1000000000, 'unixepoch')"

static const char totals_sql[] =
    "SELECT ifnull(sum(meter_uj), 0) AS meter_uj, ifnull(sum(requests_uj), 0) AS requests_uj, "
    "ifnull(sum(idle_uj), 0) AS idle_uj, ifnull(sum(unattributed_uj), 0) AS unattributed_uj, "
    "ifnull(sum(cpu_uj), 0) AS cpu_uj, ifnull(sum(dram_uj), 0) AS dram_uj, "
    "ifnull(sum(gpu_uj), 0) AS gpu_uj, count(*) AS windows, ifnull(sum(gap), 0) AS gaps, "
    "ifnull(sum(length_ns), 0) AS metered_ns, " TIME_OF("min(begin_ns)") " AS first_window, "
    TIME_OF("max(begin_ns + length_ns)") " AS last_window FROM window WHERE " IN_SLOTS;

static const char requests_sql[] =
    "SELECT count(*) AS requests, ifnull(sum(r.settled), 0) AS settled_requests, "
    "(SELECT count(*) FROM temp.asked) AS answers FROM temp.touched AS t "
    "LEFT JOIN request AS r ON r.session = t.session AND r.request = t.request "
    "WHERE t.request <> 0";

/* Shares of requests that are not settled: they run, or their process was killed. */
static const char open_sql[] =
    "SELECT ifnull(sum(h.uj), 0) AS unsettled_uj FROM share AS h WHERE " IN_SLOTS
    " AND h.request <> 0 AND NOT EXISTS (SELECT 1 FROM request AS r WHERE r.session = h.session "
    "AND r.request = h.request AND r.settled)";
static const char folded_sql[] =
    "SELECT ifnull(sum(uj), 0) AS given_up_uj FROM share WHERE " IN_SLOTS " AND request = 0";

/* Is the process of a session that has not ended still there? */
static bool is_running(sqlite3_stmt *s)
{
    char path[64], line[1024] = "", boot_id[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL)
        return false;
    if (fgets(boot_id, sizeof(boot_id), file) == NULL)
        boot_id[0] = '\0';
    fclose(file);
    boot_id[strcspn(boot_id, "\n")] = '\0';
    if (strcmp(boot_id, vd_db_text(s, 3)) != 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/stat", sqlite3_column_int(s, 4));
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    const char *at = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
    fclose(file);
    if (at != NULL && at[1] == ' ' && strchr("ZXx", at[2]) != NULL)
        return false; /* dead; nobody has waited for it yet */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    long long ticks = 0;
    return at != NULL && sscanf(at, "%lld", &ticks) == 1 && ticks == sqlite3_column_int64(s, 5);
}

static const char sessions_sql[] =
    "SELECT s.id, " TIME_OF("min(w.begin_ns)") ", " TIME_OF("max(w.begin_ns + w.length_ns)")
    ", s.boot_id, s.pid, s.pid_start, s.clean, s.program, s.method, count(*), "
    "min(w.begin_ns) - max(max(w.begin_ns + w.length_ns)) OVER (ORDER BY min(w.begin_ns), s.id "
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
    "FROM session AS s JOIN window AS w ON w.session = s.id WHERE w.slot_s >= ?1 AND "
    "w.slot_s < ?2 GROUP BY s.id ORDER BY min(w.begin_ns), s.id";

/* The sessions of the period, and the time between them that nobody metered. */
static vd_status put_sessions(audit *a, json_t *report, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = true;
    json_t *list = json_array();
    int64_t n_killed = 0, unmetered_ns = 0;
    vd_status st = list != NULL ? prepare(a, sessions_sql, &s, err) : no_memory(err);
    while (st == VD_OK && (st = vd_db_step(s, &row, err)) == VD_OK && row) {
        const char *end = sqlite3_column_int(s, 6) != 0 ? "clean"
                          : is_running(s)               ? "running"
                                                        : "killed";
        int64_t before_ns = sqlite3_column_int64(s, 10);
        n_killed += strcmp(end, "killed") == 0;
        unmetered_ns += VD_MAX(before_ns, (int64_t)0);
        json_t *one = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "session",
                                (json_int_t)sqlite3_column_int64(s, 0), "from", vd_db_text(s, 1),
                                "to", vd_db_text(s, 2), "end", end, "program", vd_db_text(s, 7),
                                "method", vd_db_text(s, 8), "windows",
                                (json_int_t)sqlite3_column_int64(s, 9), "unmetered_before_ns",
                                (json_int_t)before_ns);
        if (one == NULL || json_array_append_new(list, one) != 0)
            st = no_memory(err);
    }
    sqlite3_finalize(s);
    if (st == VD_OK &&
        (json_object_set(report, "sessions", list) != 0 ||
         json_object_set_new(report, "unclean_ends", json_integer(n_killed)) != 0 ||
         json_object_set_new(report, "unmetered_ns", json_integer(unmetered_ns)) != 0))
        st = no_memory(err);
    json_decref(list);
    return st;
}

static vd_status run_all(audit *a, json_t *report, vd_err *err)
{
    vd_status st = vd_db_run(
        a->db,
        "BEGIN;"
        "CREATE TEMP TABLE touched(session, request, PRIMARY KEY(session, request)) WITHOUT ROWID;"
        "CREATE TEMP TABLE asked(session, number, PRIMARY KEY(session, number)) WITHOUT ROWID;",
        err);
    if (st == VD_OK)
        st = run_once(a, touched_requests, err);
    if (st == VD_OK)
        st = run_once(a, touched_answers, err);
    const char *const rows[] = {totals_sql, requests_sql, open_sql, folded_sql};
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(rows); i++)
        st = put_row(a, rows[i], report, err);
    if (st == VD_OK)
        st = put_sessions(a, report, err);
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(checks); i++) {
        st = run_check(a, &checks[i], err);
        if (st != VD_OK)
            vd_err_prefix(err, "%s", checks[i].name);
    }
    return st;
}

vd_status vd_audit_run(const vd_audit_options *o, json_t **ret_report, vd_err *err)
{
    audit a = {.max_listed = o->max_listed != 0 ? o->max_listed : LISTED_DEFAULT,
               .from_s = o->since_s - o->since_s % SLOT_S,
               .to_s = o->until_s != 0 ? (o->until_s + SLOT_S - 1) / SLOT_S * SLOT_S : last_s};
    json_t *report = json_object();
    vd_status st = VD_OK;
    a.violations = json_array();
    if (report == NULL || a.violations == NULL)
        st = no_memory(err);
    else if (access(o->path, F_OK) != 0)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "%s: there is no ledger; `verdant serve` makes one",
                     o->path);
    if (st == VD_OK)
        st = vd_db_open(o->path, true, &a.db, err);
    if (st == VD_OK)
        st = vd_schema_check(a.db, err);
    if (st == VD_OK)
        st = run_all(&a, report, err);
    if (st != VD_OK)
        goto out;
    if (json_object_set_new(report, "slots_from_s", json_integer(a.from_s)) != 0 ||
        json_object_set_new(report, "slots_to_s",
                            a.to_s == last_s ? json_null() : json_integer(a.to_s)) != 0 ||
        json_object_set(report, "violations", a.violations) != 0 ||
        json_object_set_new(report, "n_violations", json_integer((json_int_t)a.n_violations)) ||
        json_object_set_new(report, "ok", json_boolean(a.n_violations == 0)) != 0) {
        st = no_memory(err);
        goto out;
    }
    *ret_report = report;
    report = NULL;
out:
    json_decref(a.violations);
    json_decref(report);
    vd_db_close(a.db);
    return st;
}
