/*
 * test_source_scaphandre.c - files that a host passes into a virtual machine. Layout: Scaphandre's
 * documentation, "Propagate power consumption metrics from hypervisor to virtual machines", and its
 * src/exporters/qemu.rs: energy_uj without newline, an empty folder beside it.
 */
#include "source_test.h"

#include "energy/sources/sources.h"

static char spec[96];

static void setup(source_test *t)
{
    *t = (source_test){0};
    tree_make(&t->tree);
    put(t, "var/scaphandre/intel-rapl:0/energy_uj", "1000");
    char path[128];
    snprintf(path, sizeof(path), "%s/var/scaphandre/intel-rapl:0:0", t->tree.root);
    make_path(path);
    snprintf(spec, sizeof(spec), "%s/var/scaphandre", t->tree.root);
}

static void teardown(source_test *t)
{
    close_source(t);
    tree_remove(&t->tree);
}

/* Rewrites it `seconds` after the epoch, so that the file's time does not depend on the test's. */
static void rewrite(const source_test *t, const char *text, time_t seconds)
{
    char path[128];
    put(t, "var/scaphandre/intel-rapl:0/energy_uj", text);
    snprintf(path, sizeof(path), "%s/var/scaphandre/intel-rapl:0/energy_uj", t->tree.root);
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void the_hosts_counter_is_this_machines_energy(void **state)
{
    source_test t;
    setup(&t);
    must_open(&t, vd_source_scaphandre_open, spec);
    assert_string_equal(t.source.method, "scaphandre");
    assert_int_equal(t.source.parts, 1u << VD_PART_CPU | 1u << VD_PART_DRAM);
    assert_int_equal(t.source.refresh_ns, 5500 * MS);
    rewrite(&t, "26000", 100);
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 25000);
    teardown(&t);
}

static void a_waiting_machine_is_told_from_an_exporter_that_has_stopped(void **state)
{
    source_test t;
    setup(&t);
    must_open(&t, vd_source_scaphandre_open, spec);
    for (time_t s = 0; s < 120; s += 5) { /* the same value, rewritten every five seconds */
        rewrite(&t, "1000", 1000 + s);
        assert_true(read_source(&t, 5 * SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 0);
    }
    rewrite(&t, "3000", 2000);
    assert_true(read_source(&t, 5 * SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 2000);
    for (int i = 0; i < 6; i++)
        assert_true(read_source(&t, 5 * SECOND));
    assert_false(read_source(&t, 5 * SECOND));
    assert_non_null(strstr(t.source.last_gap, "has stood still for 35 s"));
    assert_int_equal(t.source.lost_since_ns, t.tree.now_ns);
    rewrite(&t, "4000", 3000); /* started again: counted, but for no one */
    assert_false(read_source(&t, 5 * SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 1000);
    assert_int_equal(t.source.lost_since_ns, 0);
    rewrite(&t, "5000", 3005);
    assert_true(read_source(&t, 5 * SECOND));
    teardown(&t);
}

static void empty_missing_and_restarted_files_are_gaps(void **state)
{
    source_test t;
    setup(&t);
    must_open(&t, vd_source_scaphandre_open, spec);
    rewrite(&t, "", 100);
    assert_false(read_source(&t, SECOND));
    assert_non_null(strstr(t.source.last_gap, "not a number"));
    rewrite(&t, "3000", 101);
    assert_false(read_source(&t, SECOND)); /* is back, with all of it */
    assert_int_equal(t.uj[VD_PART_CPU], 2000);
    take_away(&t, "var/scaphandre/intel-rapl:0/energy_uj"); /* the mount has gone */
    assert_false(read_source(&t, SECOND));
    assert_true(t.source.lost_since_ns != 0);
    rewrite(&t, "17", 105); /* a new tmpfs: the exporter begins at 0 */
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 0);
    rewrite(&t, "18", 106);
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 1);
    teardown(&t);
}

static void a_machine_to_which_nothing_is_passed_says_so(void **state)
{
    source_test t;
    setup(&t);
    must_fail(&t, vd_source_scaphandre_open, "", VD_ERR_NOT_FOUND, "this machine's /sys alone");
    must_fail(&t, vd_source_scaphandre_open, "/nonexistent", VD_ERR_NOT_FOUND, "passes no energy");
    must_fail(&t, vd_source_scaphandre_open, t.tree.root, VD_ERR_NOT_FOUND, "exporter");
    t.tree.denied = "energy_uj";
    must_fail(&t, vd_source_scaphandre_open, spec, VD_ERR_PERM, "chmod");
    t.tree.denied = NULL;
    rewrite(&t, "", 1);
    must_fail(&t, vd_source_scaphandre_open, spec, VD_ERR_FORMAT, "not a number");
    teardown(&t);
}

static void opening_without_memory_is_a_status(void **state)
{
    source_test t;
    setup(&t);
    fail_each_allocation(&t, vd_source_scaphandre_open, spec);
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hosts_counter_is_this_machines_energy),
        cmocka_unit_test(a_waiting_machine_is_told_from_an_exporter_that_has_stopped),
        cmocka_unit_test(empty_missing_and_restarted_files_are_gaps),
        cmocka_unit_test(a_machine_to_which_nothing_is_passed_says_so),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
