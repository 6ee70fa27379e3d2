/* test_ledger.c - the books add up, whatever comes in, and a changed row is found. */
#include "ledger_rig.h"

#include <sys/stat.h>

static void fill(rig *r, size_t n, bool fast)
{
    for (size_t i = 0; i < n; i++) {
        if (rig_draw(r, 3) == 0)
            rig_window(r, 1000, NULL, 0);
        rig_request(r, 1 + rig_draw(r, 4), fast);
        if (rig_draw(r, 4) == 0)
            rig_flush(r);
    }
}

static void the_books_add_up_and_outlive_the_process(void **state)
{
    rig r;
    rig_make(&r);
    for (int session = 1; session <= 3; session++) {
        rig_open(&r);
        fill(&r, 40, session != 2);
        if (session == 3)
            rig_flush(&r);
        else
            vd_ledger_close(r.ledger);
        rig_sound(&r);
    }
    json_t *report = rig_audit(&r);
    assert_int_equal(json_array_size(json_object_get(report, "sessions")), 3);
    assert_int_equal(rig_number(report, "unclean_ends"), 0);
    assert_int_equal(rig_number(report, "settled_requests"), rig_number(report, "requests"));
    assert_int_equal(rig_number(report, "answers"), 120);
    assert_int_equal(rig_number(report, "unsettled_uj"), 0);
    json_decref(report);
    rig_done(&r);
}

static void only_its_owner_can_read_a_new_ledger(void **state)
{
    rig r;
    struct stat about;
    rig_make(&r);
    mode_t mask = umask(0);
    rig_open(&r);
    umask(mask);
    assert_int_equal(stat(r.path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    rig_done(&r);
}

static void a_late_figure_replaces_the_one_that_was_told(void **state)
{
    rig r;
    rig_make(&r);
    rig_open(&r);
    const vd_window_share share = {1, 1000};
    rig_window(&r, 100, &share, 1);
    rig_sequence(&r, 1, 1, rig_energy(400, false));
    rig_answer_told(&r, 1, 1, rig_energy(400, false));
    rig_flush(&r);
    assert_int_equal(rig_count(&r, "SELECT total_uj FROM answer WHERE settled = 0"), 400);
    rig_sound(&r);
    vd_energy settled = rig_energy(1000, true);
    vd_ledger_on_settled(r.ledger, 1, &settled);
    rig_flush(&r);
    assert_int_equal(rig_count(&r, "SELECT total_uj FROM request WHERE settled = 1"), 1000);
    assert_int_equal(rig_count(&r, "SELECT total_uj FROM answer WHERE settled = 1"), 1000);
    rig_sound(&r);
    rig_done(&r);
}

static void rows_are_of_about_a_second(void **state)
{
    rig r;
    rig_make(&r);
    r.options.flush_ns = r.options.idle_ns = 100 * SECOND;
    rig_open(&r);
    for (int i = 0; i < 1000; i++) /* 20 seconds */
        rig_window(&r, 20, &(vd_window_share){1, 100}, 1);
    rig_flush(&r);
    int64_t n = rig_count(&r, "SELECT count(*) FROM window");
    assert_in_range(n, 2, 4);
    assert_int_equal(rig_count(&r, "SELECT sum(merged) FROM window"), 1000);
    assert_in_range(rig_count(&r, "SELECT count(*) FROM share"), 1, 2);
    rig_sound(&r);
    rig_done(&r);
}

/* Pools far too small, and nothing is written meanwhile: detail goes, no microjoule does. */
static void full_pools_give_up_detail_and_no_sum(void **state)
{
    rig r;
    rig_make(&r);
    r.options.flush_ns = r.options.idle_ns = 100 * SECOND;
    r.options.max_requests = 8;
    r.options.max_shares = 8;
    r.options.max_windows = 2;
    rig_open(&r);
    /* The thread would come early for full pools; a lock on the file keeps it from writing. */
    sqlite3 *db = NULL;
    vd_err err = {0};
    assert_int_equal(vd_db_open(r.path, false, &db, &err), VD_OK);
    assert_int_equal(vd_db_run(db, "BEGIN IMMEDIATE", &err), VD_OK);
    for (int i = 0; i < 60; i++)
        rig_request(&r, 1 + (size_t)i % 4, i % 2 == 0);
    vd_ledger_stats stats;
    vd_ledger_stats_get(r.ledger, &stats);
    assert_true(stats.folded_uj > 0 && stats.n_folded > 0 && stats.lag_ns > 0);
    assert_int_equal(vd_db_run(db, "ROLLBACK", &err), VD_OK);
    vd_db_close(db);
    rig_flush(&r);
    rig_sound(&r);
    fill(&r, 10, true); /* and after it all is well again */
    rig_flush(&r);
    rig_sound(&r);
    assert_true(rig_count(&r, "SELECT sum(uj) FROM share WHERE request = 0") > 0);
    vd_ledger_close(r.ledger);
    r.ledger = NULL;
    rig_sound(&r);
    rig_done(&r);
}

static bool finds_something(rig *r)
{
    json_t *report = rig_audit(r);
    bool found = json_is_false(json_object_get(report, "ok"));
    assert_true(found == (rig_number(report, "n_violations") > 0));
    json_decref(report);
    return found;
}

static size_t columns_of(rig *r, const char *table, char column[48][32])
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    vd_err err = {0};
    char sql[128];
    bool row = true;
    size_t n = 0;
    snprintf(sql, sizeof(sql), "SELECT name FROM pragma_table_info('%s')", table);
    assert_int_equal(vd_db_open(r->path, true, &db, &err), VD_OK);
    assert_int_equal(vd_db_prepare(db, sql, &s, &err), VD_OK);
    while (vd_db_step(s, &row, &err) == VD_OK && row)
        snprintf(column[n++], 32, "%s", vd_db_text(s, 0));
    sqlite3_finalize(s);
    vd_db_close(db);
    return n;
}

/* One row of a table: a number is one more, a word has a letter more. */
static void change(rig *r, const char *table, const char *column)
{
    bool share = strcmp(table, "share") == 0;
    char sql[512];
    snprintf(sql, sizeof(sql),
             "PRAGMA ignore_check_constraints = 1; CREATE TABLE saved AS SELECT * FROM %s;"
             "UPDATE %s SET %s = iif(typeof(%s) = 'text', %s || 'x', ifnull(%s, 0) + 1) WHERE "
             "%s = (SELECT max(%s) FROM %s)", table, table, column, column, column, column,
             share ? "request" : "rowid", share ? "request" : "rowid", table);
    rig_sql(r, sql);
}

static void put_back(rig *r, const char *table)
{
    char sql[256];
    snprintf(sql, sizeof(sql), "DELETE FROM %s; INSERT INTO %s SELECT * FROM saved; "
             "DROP TABLE saved", table, table);
    rig_sql(r, sql);
}

/* Every column of every table, one at a time: the audit finds it; put back, it finds nothing. */
static void a_changed_column_is_found(void **state)
{
    static const char *const tables[] = {"session", "intensity", "window",
                                         "share",   "request",   "answer"};
    rig r;
    rig_make(&r);
    rig_open(&r);
    fill(&r, 30, true);
    vd_ledger_close(r.ledger);
    r.ledger = NULL;
    rig_sound(&r);
    size_t n_columns = 0;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        char column[48][32];
        size_t n = columns_of(&r, tables[t], column);
        for (size_t i = 0; i < n; i++) {
            change(&r, tables[t], column[i]);
            if (!finds_something(&r))
                fail_msg("%s.%s was changed, and the audit did not see it", tables[t], column[i]);
            put_back(&r, tables[t]);
        }
        rig_sound(&r);
        n_columns += n;
    }
    assert_true(n_columns > 90);
    rig_done(&r);
}

static void a_removed_row_is_found(void **state)
{
    static const char *const removals[] = {
        "DELETE FROM window WHERE id = 2",
        "DELETE FROM window WHERE id = (SELECT max(id) FROM window WHERE requests_uj > 0)",
        "DELETE FROM share WHERE request = 3",
        "DELETE FROM request WHERE id = 1",
        "DELETE FROM request WHERE id = (SELECT max(id) FROM request)",
        "DELETE FROM answer WHERE row = 1",
        "DELETE FROM answer WHERE row = (SELECT max(row) FROM answer)",
        "DELETE FROM session WHERE id = 1",
        "DELETE FROM intensity WHERE id = 1",
    };
    for (size_t i = 0; i < sizeof(removals) / sizeof(removals[0]); i++) {
        rig r;
        rig_make(&r);
        rig_open(&r);
        fill(&r, 30, true);
        vd_ledger_close(r.ledger);
        r.ledger = NULL;
        rig_sound(&r);
        rig_sql(&r, removals[i]);
        if (!finds_something(&r))
            fail_msg("%s: the audit did not see it", removals[i]);
        rig_done(&r);
    }
}

static void a_period_is_of_whole_slots(void **state)
{
    rig r;
    rig_make(&r);
    rig_open(&r);
    fill(&r, 10, true);
    rig_flush(&r);
    int64_t now_s = (int64_t)(vd_wall_ns() / SECOND);
    vd_err err = {0};
    json_t *report = NULL;
    vd_audit_options o = {.path = r.path, .since_s = now_s - 1, .until_s = now_s + 3600};
    assert_int_equal(vd_audit_run(&o, &report, &err), VD_OK);
    assert_true(json_is_true(json_object_get(report, "ok")));
    assert_int_equal(rig_number(report, "slots_from_s") % 300, 0);
    assert_true(rig_number(report, "meter_uj") > 0);
    json_decref(report);
    o = (vd_audit_options){.path = r.path, .since_s = now_s - 90000, .until_s = now_s - 80000};
    assert_int_equal(vd_audit_run(&o, &report, &err), VD_OK);
    assert_true(json_is_true(json_object_get(report, "ok")));
    assert_int_equal(rig_number(report, "meter_uj"), 0);
    json_decref(report);
    rig_done(&r);
}

static void what_is_no_ledger_is_refused(void **state)
{
    rig r;
    vd_err err = {0};
    vd_ledger *ledger = NULL;
    json_t *report = NULL;
    rig_make(&r);
    vd_audit_options audit = {.path = r.path};
    assert_int_equal(vd_audit_run(&audit, &report, &err), VD_ERR_NOT_FOUND);
    rig_sql(&r, "CREATE TABLE theirs(a)");
    r.options = (vd_ledger_options){.path = r.path, .lazy = true};
    assert_int_equal(vd_ledger_open(&r.options, &ledger, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no ledger"));
    assert_int_equal(unlink(r.path), 0);
    FILE *file = fopen(r.path, "w");
    for (int i = 0; i < 5000; i++)
        fputc(i % 251, file);
    fclose(file);
    assert_int_equal(vd_ledger_open(&r.options, &ledger, &err), VD_ERR_FORMAT);
    assert_int_equal(vd_audit_run(&audit, &report, &err), VD_ERR_FORMAT);
    /* A pipe is not waited for. */
    assert_int_equal(unlink(r.path), 0);
    assert_int_equal(mkfifo(r.path, 0600), 0);
    assert_int_equal(vd_audit_run(&audit, &report, &err), VD_ERR_FORMAT);
    assert_int_equal(vd_ledger_open(&r.options, &ledger, &err), VD_ERR_FORMAT);
    assert_int_equal(unlink(r.path), 0);
    assert_int_equal(mkdir(r.path, 0700), 0);
    assert_int_equal(vd_ledger_open(&r.options, &ledger, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "directory"));
    rig_done(&r);
}

static void a_newer_ledger_is_refused_and_left_alone(void **state)
{
    rig r;
    vd_err err = {0};
    rig_make(&r);
    rig_open(&r);
    fill(&r, 2, true);
    vd_ledger_close(r.ledger);
    r.ledger = NULL;
    rig_sql(&r, "PRAGMA user_version = 999");
    assert_int_equal(vd_ledger_open(&r.options, &r.ledger, &err), VD_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "newer Verdant"));
    json_t *report = NULL;
    vd_audit_options audit = {.path = r.path};
    assert_int_equal(vd_audit_run(&audit, &report, &err), VD_ERR_UNSUPPORTED);
    assert_int_equal(rig_count(&r, "PRAGMA user_version"), 999);
    rig_done(&r);
}

static void a_file_that_is_taken_away_is_made_again(void **state)
{
    rig r;
    rig_make(&r);
    rig_open(&r);
    rig_request(&r, 2, true);
    rig_flush(&r);
    rig_sound(&r);
    assert_int_equal(unlink(r.path), 0);
    r.meter_uj = r.requests_uj = r.idle_uj = r.unattributed_uj = 0;
    rig_request(&r, 2, true);
    rig_flush(&r);
    rig_sound(&r);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_books_add_up_and_outlive_the_process),
        cmocka_unit_test(only_its_owner_can_read_a_new_ledger),
        cmocka_unit_test(a_late_figure_replaces_the_one_that_was_told),
        cmocka_unit_test(rows_are_of_about_a_second),
        cmocka_unit_test(full_pools_give_up_detail_and_no_sum),
        cmocka_unit_test(a_changed_column_is_found),
        cmocka_unit_test(a_removed_row_is_found),
        cmocka_unit_test(a_period_is_of_whole_slots),
        cmocka_unit_test(what_is_no_ledger_is_refused),
        cmocka_unit_test(a_newer_ledger_is_refused_and_left_alone),
        cmocka_unit_test(a_file_that_is_taken_away_is_made_again),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
