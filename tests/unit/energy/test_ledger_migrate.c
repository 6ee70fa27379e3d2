/* test_ledger_migrate.c - an older file becomes a newer one whole or not at all, also under kill
 * -9. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "energy/ledger/schema.h"
#include "ledger_rig.h"

/* A version of the future: a column that is computed for every row, and a table. */
static const char next_step[] =
    "ALTER TABLE window ADD COLUMN twice_uj INTEGER;"
    "UPDATE window SET twice_uj = 2 * meter_uj, method = method || '';"
    "CREATE TABLE copy AS SELECT * FROM share;"
    "UPDATE copy SET uj = uj + 1;"
    "UPDATE copy SET uj = uj - 1;";

static vd_status migrate(const char *path, vd_err *err)
{
    const char *steps[VD_LEDGER_SCHEMA + 1];
    sqlite3 *db = NULL;
    memcpy(steps, vd_schema_steps, sizeof(vd_schema_steps));
    steps[VD_LEDGER_SCHEMA] = next_step;
    vd_status st = vd_db_open(path, false, &db, err);
    if (st == VD_OK)
        st = vd_schema_bring(db, steps, VD_LEDGER_SCHEMA + 1, err);
    vd_db_close(db);
    return st;
}

static void fill(rig *r)
{
    rig_make(r);
    r->options.flush_ns = r->options.idle_ns = 3600 * SECOND;
    rig_open(r);
    for (int i = 0; i < 2000; i++)
        rig_request(r, 2, true);
    rig_flush(r);
    vd_ledger_close(r->ledger);
    r->ledger = NULL;
    rig_sound(r);
}

static int64_t version_of(rig *r)
{
    return rig_count(r, "PRAGMA user_version");
}

/* Every row has been carried over, or the file is as it was. */
static void whole_or_not_at_all(rig *r)
{
    if (version_of(r) == VD_LEDGER_SCHEMA) {
        rig_sound(r);
        assert_int_equal(rig_count(r, "SELECT count(*) FROM sqlite_schema WHERE name = 'copy'"), 0);
        return;
    }
    assert_int_equal(version_of(r), VD_LEDGER_SCHEMA + 1);
    assert_int_equal(rig_count(r, "SELECT sum(meter_uj) FROM window"), r->meter_uj);
    assert_int_equal(rig_count(r, "SELECT sum(twice_uj) FROM window"), 2 * r->meter_uj);
    assert_int_equal(rig_count(r, "SELECT sum(uj) FROM copy"), r->requests_uj);
    assert_int_equal(rig_count(r, "SELECT sum(uj) FROM share"), r->requests_uj);
}

static void an_older_file_is_brought_up_to_date(void **state)
{
    rig r;
    vd_err err = {0};
    fill(&r);
    assert_int_equal(migrate(r.path, &err), VD_OK);
    assert_int_equal(version_of(&r), VD_LEDGER_SCHEMA + 1);
    whole_or_not_at_all(&r);
    assert_int_equal(migrate(r.path, &err), VD_OK); /* and again: nothing to do */
    whole_or_not_at_all(&r);
    /* The program of before refuses it now. */
    r.options.path = r.path;
    assert_int_equal(vd_ledger_open(&r.options, &r.ledger, &err), VD_ERR_UNSUPPORTED);
    rig_done(&r);
}

/* Back to the older version, for the next try. */
static void go_back(rig *r)
{
    rig_sql(r, "DROP TABLE copy; ALTER TABLE window DROP COLUMN twice_uj; PRAGMA user_version = 1");
}

static uint64_t migrate_in_child(rig *r, uint64_t kill_after_ns)
{
    uint64_t begin_ns = vd_now_ns();
    pid_t child = fork();
    if (child == 0)
        _exit(migrate(r->path, NULL) != VD_OK);
    const struct timespec wait = {.tv_nsec = (long)kill_after_ns};
    if (kill_after_ns != 0) {
        nanosleep(&wait, NULL);
        kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    return vd_now_ns() - begin_ns;
}

static void kill_9_at_any_moment_of_a_migration(void **state)
{
    int n_before = 0, n_after = 0;
    rig r;
    fill(&r);
    uint64_t takes_ns = migrate_in_child(&r, 0);
    whole_or_not_at_all(&r);
    go_back(&r);
    for (int i = 0; i < 60; i++) {
        migrate_in_child(&r, 1 + rig_draw(&r, takes_ns));
        whole_or_not_at_all(&r);
        bool done = version_of(&r) != VD_LEDGER_SCHEMA;
        n_after += done;
        n_before += !done;
        if (done)
            go_back(&r);
    }
    print_message("killed before the end %d times, after it %d times\n", n_before, n_after);
    assert_true(n_before > 0);
    vd_err err = {0};
    assert_int_equal(migrate(r.path, &err), VD_OK);
    whole_or_not_at_all(&r);
    rig_done(&r);
}

static void a_step_that_fails_leaves_the_file_as_it_was(void **state)
{
    const char *steps[VD_LEDGER_SCHEMA + 1];
    rig r;
    sqlite3 *db = NULL;
    vd_err err = {0};
    fill(&r);
    memcpy(steps, vd_schema_steps, sizeof(vd_schema_steps));
    steps[VD_LEDGER_SCHEMA] = "ALTER TABLE window ADD COLUMN a; UPDATE window SET meter_uj = 0;";
    assert_int_equal(vd_db_open(r.path, false, &db, &err), VD_OK);
    assert_int_not_equal(vd_schema_bring(db, steps, VD_LEDGER_SCHEMA + 1, &err), VD_OK);
    assert_non_null(strstr(err.message, "CHECK"));
    vd_db_close(db);
    assert_int_equal(version_of(&r), VD_LEDGER_SCHEMA);
    rig_sound(&r);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_older_file_is_brought_up_to_date),
        cmocka_unit_test(kill_9_at_any_moment_of_a_migration),
        cmocka_unit_test(a_step_that_fails_leaves_the_file_as_it_was),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
