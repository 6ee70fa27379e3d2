/* resettle.c - see resettle.h. */
#include "energy/ledger/resettle.h"

#include "base/checked.h"
#include "base/clock.h"
#include "energy/ledger/schema.h"

enum { SLOT_S = 300 };
static const int64_t last_s = INT64_C(9000000000);

#define MAY_BE_REPLACED                                                                            \
    "FROM share AS h JOIN intensity AS i ON i.id = h.intensity "                                   \
    "WHERE (i.estimated OR i.stale) AND h.slot_s >= ?1 AND h.slot_s < ?2"

static int64_t slot_before(int64_t s)
{
    return s - s % SLOT_S;
}

static int64_t slot_after(int64_t s)
{
    return s == 0 ? last_s : (s + SLOT_S - 1) / SLOT_S * SLOT_S;
}

vd_status vd_resettle_look(sqlite3 *db, int64_t since_s, int64_t until_s, vd_resettle_need *ret,
                           vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    vd_status st = vd_db_prepare(db,
                                 "SELECT ifnull(min(h.slot_s), 0), ifnull(max(h.slot_s) + 300, 0), "
                                 "count(*), count(*) - count(h.final) " MAY_BE_REPLACED,
                                 &s, err);
    if (st == VD_OK)
        st = vd_db_bind(s, err, "ii", slot_before(since_s), slot_after(until_s));
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    if (st == VD_OK && row)
        *ret = (vd_resettle_need){.from_s = sqlite3_column_int64(s, 0),
                                  .to_s = sqlite3_column_int64(s, 1),
                                  .n_shares = (uint64_t)sqlite3_column_int64(s, 2),
                                  .n_open = (uint64_t)sqlite3_column_int64(s, 3)};
    sqlite3_finalize(s);
    return st;
}

#define SAME "zone, from_s, to_s, g_per_kwh, kind, scope, basis, boundary, source, version"

static const char make_tables[] =
    "CREATE TEMP TABLE IF NOT EXISTS value(" SAME ");"
    "DELETE FROM temp.value;"
    "CREATE TEMP TABLE IF NOT EXISTS move(session, request, slot_s, intensity, final, "
    "PRIMARY KEY(session, request, slot_s, intensity)) WITHOUT ROWID;"
    "DELETE FROM temp.move;";
static const char add_value[] =
    "INSERT INTO temp.value VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/* A value that is used gets its row; rows are numbered without holes. */
#define USED                                                                                       \
    "SELECT DISTINCT v.* FROM temp.value AS v JOIN share AS h ON h.slot_s >= v.from_s AND "        \
    "h.slot_s < v.to_s JOIN intensity AS i ON i.id = h.intensity WHERE (i.estimated OR i.stale) "  \
    "AND h.slot_s >= ?1 AND h.slot_s < ?2 AND (i.zone, i.kind, i.scope, i.basis, i.boundary, "     \
    "i.source) = (v.zone, v.kind, v.scope, v.basis, v.boundary, v.source) AND NOT EXISTS (SELECT " \
    "1 FROM intensity AS f WHERE (f.zone, f.from_s, f.to_s, f.g_per_kwh, f.kind, f.scope, "        \
    "f.basis, f.boundary, f.source, f.version) = (v.zone, v.from_s, v.to_s, v.g_per_kwh, v.kind, " \
    "v.scope, v.basis, v.boundary, v.source, v.version) AND NOT f.estimated AND NOT f.stale)"

static const char *const in_slots[] = {
    "INSERT INTO intensity(id, " SAME ", estimated, stale, seen_ns) SELECT (SELECT ifnull(max(id), "
    "0) FROM intensity) + row_number() OVER (ORDER BY from_s, g_per_kwh, version), " SAME
    ", 0, 0, ?3 FROM (" USED ")",
    "UPDATE intensity SET " VD_MARK_SET("intensity", VD_COLUMNS_INTENSITY) " WHERE mark IS NULL",
    "INSERT INTO temp.move SELECT h.session, h.request, h.slot_s, h.intensity, max(f.id) "
    "FROM share AS h JOIN intensity AS i ON i.id = h.intensity "
    "JOIN temp.value AS v ON h.slot_s >= v.from_s AND h.slot_s < v.to_s AND (i.zone, i.kind, "
    "i.scope, i.basis, i.boundary, i.source) = (v.zone, v.kind, v.scope, v.basis, v.boundary, "
    "v.source) JOIN intensity AS f ON (f.zone, f.from_s, f.to_s, f.g_per_kwh, f.kind, f.scope, "
    "f.basis, f.boundary, f.source, f.version) = (v.zone, v.from_s, v.to_s, v.g_per_kwh, v.kind, "
    "v.scope, v.basis, v.boundary, v.source, v.version) AND NOT f.estimated AND NOT f.stale "
    "WHERE (i.estimated OR i.stale) AND h.slot_s >= ?1 AND h.slot_s < ?2 "
    "GROUP BY h.session, h.request, h.slot_s, h.intensity HAVING max(f.id) IS NOT h.final",
    "UPDATE share SET final = m.final, mark = vd_mark('share', share.session, share.request, "
    "share.slot_s, share.intensity, uj, m.final) FROM temp.move AS m WHERE (share.session, "
    "share.request, share.slot_s, share.intensity) = (m.session, m.request, m.slot_s, "
    "m.intensity)",
};

/* Those whose shares moved, and those that were not settled when theirs did. */
#define MOVED                                                                                      \
    "settled AND ((session, request) IN (SELECT session, request FROM temp.move) OR "              \
    "(final_ug IS NULL AND EXISTS (SELECT 1 FROM share AS z WHERE z.session = request.session "    \
    "AND z.request = request.request AND z.final IS NOT NULL)))"

static const char *const requests[] = {
    "CREATE TEMP TABLE IF NOT EXISTS moved(id INTEGER PRIMARY KEY); DELETE FROM temp.moved;",
    "INSERT INTO temp.moved SELECT id FROM request WHERE " MOVED,
    "UPDATE request SET final_ug = (SELECT sum(h.uj * i.g_per_kwh) / 3.6e6 FROM share AS h JOIN "
    "intensity AS i ON i.id = ifnull(h.final, h.intensity) WHERE h.session = request.session AND "
    "h.request = request.request) WHERE id IN temp.moved",
    "UPDATE request SET " VD_MARK_SET("request", VD_COLUMNS_REQUEST) " WHERE id IN temp.moved",
};

static vd_status put_values(sqlite3 *db, const vd_ledger_intensity *v, size_t n, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    vd_status st = vd_db_run(db, make_tables, err);
    if (st == VD_OK)
        st = vd_db_prepare(db, add_value, &s, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        if (v[i].estimated || v[i].stale || v[i].to_s <= v[i].from_s)
            continue;
        st = vd_db_bind(s, err, "tiirtttttt", v[i].zone, v[i].from_s, v[i].to_s, v[i].g_per_kwh,
                        v[i].kind, v[i].scope, v[i].basis, v[i].boundary, v[i].source,
                        v[i].version);
        if (st == VD_OK)
            st = vd_db_finish(s, err);
    }
    sqlite3_finalize(s);
    return st;
}

static vd_status run_in_slots(sqlite3 *db, const char *sql, int64_t from_s, int64_t to_s,
                              vd_err *err)
{
    sqlite3_stmt *s = NULL;
    vd_status st = vd_db_prepare(db, sql, &s, err);
    const int64_t bound[] = {from_s, to_s, (int64_t)vd_wall_ns()};
    int n = sqlite3_bind_parameter_count(s);
    for (int i = 0; st == VD_OK && i < VD_MIN(n, 3); i++)
        sqlite3_bind_int64(s, i + 1, bound[i]);
    if (st == VD_OK)
        st = vd_db_finish(s, err);
    sqlite3_finalize(s);
    return st;
}

static vd_status count_done(sqlite3 *db, vd_resettle_done *done, vd_err *err)
{
    sqlite3_stmt *s = NULL;
    bool row = false;
    vd_status st = vd_db_prepare(
        db,
        "SELECT (SELECT count(*) FROM temp.move), count(*), ifnull(sum(first_ug), 0.0), "
        "ifnull(sum(final_ug), 0.0) FROM request WHERE id IN temp.moved", &s, err);
    if (st == VD_OK)
        st = vd_db_step(s, &row, err);
    if (st == VD_OK && row)
        *done = (vd_resettle_done){.n_shares = (uint64_t)sqlite3_column_int64(s, 0),
                                   .n_requests = (uint64_t)sqlite3_column_int64(s, 1),
                                   .first_ug = sqlite3_column_double(s, 2),
                                   .final_ug = sqlite3_column_double(s, 3)};
    sqlite3_finalize(s);
    return st;
}

vd_status vd_resettle_apply(sqlite3 *db, int64_t since_s, int64_t until_s,
                            const vd_ledger_intensity *values, size_t n,
                            vd_resettle_done *ret_done, vd_err *err)
{
    int64_t from_s = slot_before(since_s), to_s = slot_after(until_s);
    vd_resettle_done done = {0};
    vd_status st = vd_db_run(db, "BEGIN IMMEDIATE", err);
    if (st != VD_OK)
        return st;
    st = put_values(db, values, n, err);
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(in_slots); i++)
        st = run_in_slots(db, in_slots[i], from_s, to_s, err);
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(requests); i++)
        st = vd_db_run(db, requests[i], err);
    if (st == VD_OK)
        st = count_done(db, &done, err);
    if (st == VD_OK)
        st = vd_db_run(db, "COMMIT", err);
    if (st != VD_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return st;
    }
    *ret_done = done;
    return VD_OK;
}
