/* schema.c - see schema.h. A step is never changed once it was released; a new one is added. */
#include "energy/ledger/schema.h"

#include <stdio.h>

#include "base/fail.h"

#define APPLICATION "1447316551" /* "VDLG" */

#define ENERGY                                                                                     \
    "total_uj INTEGER, active_uj INTEGER, prefill_uj INTEGER, decode_uj INTEGER,"                  \
    "idle_share_uj INTEGER, cpu_uj INTEGER, dram_uj INTEGER, gpu_uj INTEGER, machine_ns INTEGER,"  \
    "method TEXT, uncertainty_pct REAL, common_pct REAL, independent_pct REAL,"                    \
    "settled INTEGER NOT NULL DEFAULT 0, incomplete INTEGER NOT NULL DEFAULT 0,"                   \
    "folded_uj INTEGER NOT NULL DEFAULT 0,"

const char *const vd_schema_steps[VD_LEDGER_SCHEMA] = {
    /* 0 to 1 */
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE session("
    "id INTEGER PRIMARY KEY, begin_ns INTEGER NOT NULL, mono_ns INTEGER NOT NULL, end_ns INTEGER,"
    "boot_id TEXT NOT NULL, pid INTEGER NOT NULL, pid_start INTEGER NOT NULL,"
    "program TEXT NOT NULL, method TEXT NOT NULL, pue REAL NOT NULL, clean INTEGER NOT NULL,"
    "mark INTEGER);"
    "CREATE TABLE intensity("
    "id INTEGER PRIMARY KEY, zone TEXT NOT NULL, from_s INTEGER NOT NULL, to_s INTEGER NOT NULL,"
    "g_per_kwh REAL NOT NULL, kind TEXT NOT NULL, scope TEXT NOT NULL, basis TEXT NOT NULL,"
    "boundary TEXT NOT NULL,"
    "source TEXT NOT NULL, version TEXT NOT NULL, estimated INTEGER NOT NULL,"
    "stale INTEGER NOT NULL, seen_ns INTEGER NOT NULL, mark INTEGER);"
    "CREATE UNIQUE INDEX intensity_of ON intensity(zone, from_s, to_s, g_per_kwh, kind, scope,"
    "basis, boundary, source, version, estimated, stale);"
    "CREATE TABLE window("
    "id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES session, slot_s INTEGER NOT NULL,"
    "begin_ns INTEGER NOT NULL, mono_ns INTEGER NOT NULL, length_ns INTEGER NOT NULL,"
    "meter_uj INTEGER NOT NULL, cpu_uj INTEGER NOT NULL, dram_uj INTEGER NOT NULL,"
    "gpu_uj INTEGER NOT NULL, requests_uj INTEGER NOT NULL, idle_uj INTEGER NOT NULL,"
    "unattributed_uj INTEGER NOT NULL, method TEXT NOT NULL, common_pct REAL NOT NULL,"
    "independent_pct REAL NOT NULL, merged INTEGER NOT NULL, gap INTEGER NOT NULL, mark INTEGER,"
    "CHECK(meter_uj = requests_uj + idle_uj + unattributed_uj),"
    "CHECK(meter_uj = cpu_uj + dram_uj + gpu_uj));"
    "CREATE INDEX window_slot ON window(slot_s);"
    "CREATE INDEX window_session ON window(session, mono_ns);"
    "CREATE TABLE share("
    "session INTEGER NOT NULL, request INTEGER NOT NULL, slot_s INTEGER NOT NULL,"
    "intensity INTEGER NOT NULL REFERENCES intensity, uj INTEGER NOT NULL,"
    "final INTEGER REFERENCES intensity, mark INTEGER,"
    "PRIMARY KEY(session, request, slot_s, intensity)) WITHOUT ROWID;"
    "CREATE INDEX share_slot ON share(slot_s);"
    "CREATE TABLE request("
    "id INTEGER PRIMARY KEY, session INTEGER NOT NULL, request INTEGER NOT NULL, answer INTEGER,"
    "model TEXT, finish TEXT, begin_ns INTEGER, end_ns INTEGER, prompt_tokens INTEGER,"
    "cached_tokens INTEGER, completion_tokens INTEGER, embodied_ug REAL, first_ug REAL,"
    "final_ug REAL," ENERGY "mark INTEGER, UNIQUE(session, request));"
    "CREATE INDEX request_answer ON request(session, answer);"
    "CREATE INDEX request_end ON request(end_ns);"
    "CREATE TABLE answer("
    "row INTEGER PRIMARY KEY, session INTEGER NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL,"
    "body_id TEXT, key TEXT, model TEXT, kind TEXT, begin_ns INTEGER, end_ns INTEGER,"
    "sequences INTEGER NOT NULL, prompt_tokens INTEGER, cached_tokens INTEGER,"
    "completion_tokens INTEGER, receipt INTEGER NOT NULL," ENERGY "mark INTEGER,"
    "UNIQUE(session, number));"
    "CREATE INDEX answer_id ON answer(id);"
    "CREATE INDEX answer_body ON answer(body_id);"
    "CREATE INDEX answer_end ON answer(end_ns);",
};

static vd_status read_version(sqlite3 *db, int n_steps, int64_t *ret_version, vd_err *err)
{
    int64_t application = 0, n_tables = 0, version = 0;
    vd_status st = vd_db_number(db, "PRAGMA application_id", &application, err);
    if (st == VD_OK)
        st = vd_db_number(db, "SELECT count(*) FROM sqlite_schema", &n_tables, err);
    if (st == VD_OK)
        st = vd_db_number(db, "PRAGMA user_version", &version, err);
    if (st != VD_OK)
        return st;
    const char *path = sqlite3_db_filename(db, "main");
    char ours[16];
    snprintf(ours, sizeof(ours), "%lld", (long long)application);
    if (n_tables != 0 && sqlite3_stricmp(ours, APPLICATION) != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: this is a database, but no ledger of Verdant; name "
                       "another file", path);
    if (version > n_steps)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s: the ledger was written by a newer Verdant "
                       "(schema %lld, this one knows %d); use that one, or another file", path,
                       (long long)version, n_steps);
    *ret_version = n_tables == 0 ? 0 : version;
    return VD_OK;
}

static vd_status upgrade(sqlite3 *db, const char *const *steps, int n_steps, vd_err *err)
{
    char tail[256];
    int64_t version = 0;
    /* Again, under the lock: another process may have been at it. */
    vd_status st = read_version(db, n_steps, &version, err);
    for (int64_t v = version; st == VD_OK && v < n_steps; v++)
        st = vd_db_run(db, steps[v], err);
    snprintf(tail, sizeof(tail),
             "PRAGMA application_id = " APPLICATION "; PRAGMA user_version = %d;"
             "INSERT OR REPLACE INTO meta VALUES('schema', '%d')", n_steps, n_steps);
    if (st == VD_OK)
        st = vd_db_run(db, tail, err);
    return st;
}

vd_status vd_schema_bring(sqlite3 *db, const char *const *steps, int n_steps, vd_err *err)
{
    int64_t version = 0;
    vd_status st = read_version(db, n_steps, &version, err);
    if (st == VD_OK)
        st = vd_db_run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                       "PRAGMA journal_size_limit = 67108864", err);
    if (st != VD_OK || version == n_steps)
        return st;
    st = vd_db_run(db, "BEGIN IMMEDIATE", err);
    if (st != VD_OK)
        return st;
    st = upgrade(db, steps, n_steps, err);
    if (st == VD_OK)
        st = vd_db_run(db, "COMMIT", err);
    if (st != VD_OK)
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

vd_status vd_schema_make(sqlite3 *db, vd_err *err)
{
    return vd_schema_bring(db, vd_schema_steps, VD_LEDGER_SCHEMA, err);
}

vd_status vd_schema_check(sqlite3 *db, vd_err *err)
{
    int64_t version = 0;
    vd_status st = read_version(db, VD_LEDGER_SCHEMA, &version, err);
    if (st == VD_OK && version != VD_LEDGER_SCHEMA)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s: the ledger has schema %lld; `verdant serve` "
                       "brings it to %d when it opens it", sqlite3_db_filename(db, "main"),
                       (long long)version, VD_LEDGER_SCHEMA);
    return st;
}
