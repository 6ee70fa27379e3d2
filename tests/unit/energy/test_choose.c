/* test_choose.c - which meters are read: by name, by the environment, and by themselves. */
#include "fake_tree.h"

static vd_status open_as(fake_tree *tree, const char *spec, vd_err *err)
{
    vd_meter_options options = {
        .sysfs = tree->root, .spec = spec, .now_ns = tree_now, .cpu_ns = tree_cpu,
        .open_file = tree_open, .ctx = tree};
    vd_meter *meter = NULL;
    *err = (vd_err){0};
    vd_status st = vd_meter_open(&options, &meter, err);
    assert_true((meter != NULL) == (st == VD_OK));
    vd_meter_close(meter);
    return st;
}

static void a_meter_that_was_named_is_read_or_it_is_an_error(void **state)
{
    fake_tree tree;
    vd_err err;
    make_server(&tree);
    assert_int_equal(open_as(&tree, "rapl", &err), VD_OK);
    assert_int_equal(open_as(&tree, "model", &err), VD_OK);
    assert_int_equal(open_as(&tree, "rapl,model", &err), VD_OK);
    assert_int_equal(open_as(&tree, "auto,rapl", &err), VD_OK);
    assert_int_equal(open_as(&tree, "psys", &err), VD_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "the meter psys"));
    assert_non_null(strstr(err.message, "no zone named psys"));
    assert_int_equal(open_as(&tree, "watts", &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "called 'watts': use one of auto, model, rapl"));
    static const char *const malformed[] = {"rapl,", ",rapl", ",", "rapl,,model", "Rapl", " rapl",
                                            "rapl model", ":", "aut", "modell", "rapl:0", "psys:1",
                                            "rapl-perf:x", "rapl-powercap:x", "auto:x"};
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
        assert_int_equal(open_as(&tree, malformed[i], &err), VD_ERR_ARG);
    char longer[1200];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    memcpy(longer, "rapl:", 5);
    assert_int_equal(open_as(&tree, longer, &err), VD_ERR_ARG);
    assert_int_equal(open_as(&tree, longer + 5, &err), VD_ERR_ARG);
    tree.denied = "energy_uj";
    assert_int_equal(open_as(&tree, "rapl", &err), VD_ERR_PERM);
    assert_non_null(strstr(err.message, "root only"));
    assert_int_equal(open_as(&tree, "rapl,model", &err), VD_ERR_PERM);
    tree_remove(&tree);
}

static void what_would_be_counted_twice_is_refused(void **state)
{
    fake_tree tree;
    vd_err err;
    make_server(&tree);
    zone_add(&tree, "intel-rapl:2", "psys", PACKAGE_RANGE, 0);
    assert_int_equal(open_as(&tree, "psys", &err), VD_OK);
    static const char *const twice[] = {"psys,rapl", "rapl,psys", "psys,model", "psys,auto",
                                        "auto,psys", "rapl,rapl"};
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++)
        assert_int_equal(open_as(&tree, twice[i], &err), VD_ERR_ARG);
    tree_remove(&tree);
}

static void psys_where_it_is_named_is_read_and_nothing_else(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 0);
    zone_add(&tree, "intel-rapl:1", "psys", PACKAGE_RANGE, 500);
    tree.spec = "psys";
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(use_of(&info, "intel-rapl:1"), VD_RAPL_READ);
    assert_int_equal(use_of(&info, "intel-rapl:0"), VD_RAPL_PART);
    zone_set(&tree, "intel-rapl:0", 9999);
    zone_set(&tree, "intel-rapl:0:0", 9999);
    zone_set(&tree, "intel-rapl:1", 500 + 4321);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 4321);
    assert_int_equal(r.uj[VD_PART_DRAM], 0);
    assert_string_equal(r.method, "psys");
    zone_delete(&tree, "intel-rapl:1"); /* it was named: nothing else stands in, ever */
    for (int i = 0; i < 40; i++)
        r = read_after(&tree, meter, SECOND);
    assert_true(r.gap);
    assert_string_equal(r.method, "psys");
    assert_int_equal(r.uj[VD_PART_CPU], 4321);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void the_environment_names_the_meter_where_the_caller_does_not(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter_options options = {.sysfs = tree.root};
    vd_meter *meter = NULL;
    setenv("VERDANT_METER", "model", 1);
    assert_int_equal(vd_meter_open(&options, &meter, NULL), VD_OK);
    vd_meter_info info = info_of(meter);
    assert_string_equal(info.method, "model");
    assert_false(info.measured);
    assert_int_equal(info.n_zones, 6); /* shown, not read */
    vd_meter_close(meter);
    setenv("VERDANT_METER", "volts", 1);
    assert_int_equal(vd_meter_open(&options, &meter, NULL), VD_ERR_ARG);
    options.spec = "rapl";
    assert_int_equal(vd_meter_open(&options, &meter, NULL), VD_OK);
    vd_meter_close(meter);
    unsetenv("VERDANT_METER");
    tree_remove(&tree);
}

static void the_sources_and_those_refused_are_told(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 1000 + 700);
    zone_set(&tree, "intel-rapl:0:1", 70 + 30);
    read_after(&tree, meter, SECOND);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.n_sources, 1);
    assert_string_equal(info.source[0].method, "rapl");
    assert_int_equal(info.source[0].counted_uj, 730);
    assert_int_equal(info.source[0].parts, 1 << VD_PART_CPU | 1 << VD_PART_DRAM);
    assert_int_equal(info.refresh_ns, 0);
    vd_meter_close(meter);
    tree.denied = "energy_uj";
    meter = tree_meter(&tree);
    info = info_of(meter);
    assert_true(info.n_refused >= 1);
    assert_string_equal(info.refused[0].name, "rapl");
    assert_int_equal(info.refused[0].status, VD_ERR_PERM);
    assert_int_equal(info.n_sources, 1);
    assert_string_equal(info.source[0].method, "model");
    vd_meter_close(meter);
    tree_remove(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_meter_that_was_named_is_read_or_it_is_an_error),
        cmocka_unit_test(what_would_be_counted_twice_is_refused),
        cmocka_unit_test(psys_where_it_is_named_is_read_and_nothing_else),
        cmocka_unit_test(the_environment_names_the_meter_where_the_caller_does_not),
        cmocka_unit_test(the_sources_and_those_refused_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
