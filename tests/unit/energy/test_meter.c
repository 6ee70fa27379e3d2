/* test_meter.c - RAPL on fake powercap trees. */
#include "fake_tree.h"

#include <math.h>

#include "base/alloc.h"
#include "base/clock.h"

static void two_sockets_add_packages_and_dram_and_never_their_parts(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_string_equal(info.method, "rapl");
    assert_int_equal(info.why, VD_OK);
    assert_string_equal(info.why_text, "");
    assert_true(info.uncertainty_pct == 5);
    assert_int_equal(info.n_zones, 6);
    assert_int_equal(use_of(&info, "intel-rapl:0:0"), VD_RAPL_PART);

    zone_set(&tree, "intel-rapl:0", 1000 + 100000);
    zone_set(&tree, "intel-rapl:0:0", 500 + 77777);
    zone_set(&tree, "intel-rapl:0:1", 70 + 3000);
    zone_set(&tree, "intel-rapl:1", 2000 + 40000);
    zone_set(&tree, "intel-rapl:1:0", 900 + 33333);
    zone_set(&tree, "intel-rapl:1:1", 80 + 500);
    assert_int_equal(info.zone[0].counted_uj, 0);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 140000);
    assert_int_equal(r.uj[VD_PART_DRAM], 3500);
    assert_int_equal(r.uj[VD_PART_GPU], 0);
    assert_int_equal(info_of(meter).zone[0].counted_uj, 100000);
    assert_int_equal(info_of(meter).zone[2].counted_uj, 3000);
    assert_false(r.gap);
    assert_string_equal(r.method, "rapl");
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void zones_nested_below_the_control_type_are_the_same_zones(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl/intel-rapl:0", "package-0", PACKAGE_RANGE, 10);
    zone_add(&tree, "intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram", DRAM_RANGE, 10);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 10);
    zone_add(&tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 10);
    vd_meter *meter = tree_meter(&tree);
    assert_int_equal(info_of(meter).n_zones, 2);
    vd_meter_close(meter);
    tree_remove(&tree);

    tree_make(&tree); /* nested only, as a host may pass it in */
    zone_add(&tree, "intel-rapl/intel-rapl:0", "package-0", PACKAGE_RANGE, 10);
    zone_add(&tree, "intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram", DRAM_RANGE, 10);
    meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.n_zones, 2);
    assert_true(info.measured);
    zone_set(&tree, "intel-rapl/intel-rapl:0", 25);
    zone_set(&tree, "intel-rapl/intel-rapl:0/intel-rapl:0:0", 17);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 15);
    assert_int_equal(r.uj[VD_PART_DRAM], 7);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void twins_of_registers_and_mapped_memory_count_once(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 100);
    zone_add(&tree, "intel-rapl:0:0", "core", PACKAGE_RANGE, 100);
    zone_add(&tree, "intel-rapl:0:1", "dram", DRAM_RANGE, 100);
    zone_add(&tree, "intel-rapl-mmio:0", "package-0", PACKAGE_RANGE, 100);
    zone_add(&tree, "intel-rapl-mmio:0:0", "dram", DRAM_RANGE, 100);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(use_of(&info, "intel-rapl:0"), VD_RAPL_READ);
    assert_int_equal(use_of(&info, "intel-rapl-mmio:0"), VD_RAPL_TWIN);
    assert_int_equal(use_of(&info, "intel-rapl-mmio:0:0"), VD_RAPL_TWIN);
    zone_set(&tree, "intel-rapl:0", 1100);
    zone_set(&tree, "intel-rapl-mmio:0", 1100);
    zone_set(&tree, "intel-rapl:0:1", 110);
    zone_set(&tree, "intel-rapl-mmio:0:0", 110);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 1000);
    assert_int_equal(r.uj[VD_PART_DRAM], 10);
    vd_meter_close(meter);

    /* Where only the mapped twin may be read, that one serves. */
    tree.denied = "intel-rapl:0/";
    meter = tree_meter(&tree);
    info = info_of(meter);
    assert_int_equal(use_of(&info, "intel-rapl:0"), VD_RAPL_TWIN);
    assert_int_equal(use_of(&info, "intel-rapl-mmio:0"), VD_RAPL_READ);
    assert_true(info.measured);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void dies_that_mirror_one_counter_count_once_and_others_are_added(void **state)
{
    static const struct {
        uint64_t first, second;
        bool mirror;
    } cases[] = {
        {UINT64_C(50000000000), UINT64_C(50000030000), true},
        {UINT64_C(50000030000), UINT64_C(50000000000), true},
        {PACKAGE_RANGE - 20000, 10000, true}, /* wrapped between the two readings */
        {UINT64_C(50000000000), UINT64_C(40000000000), false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_tree tree;
        tree_make(&tree);
        uint64_t a = cases[i].first, b = cases[i].second;
        zone_add(&tree, "intel-rapl:0", "package-0-die-0", PACKAGE_RANGE, a);
        zone_add(&tree, "intel-rapl:1", "package-0-die-1", PACKAGE_RANGE, b);
        zone_add(&tree, "intel-rapl:2", "package-1-die-0", PACKAGE_RANGE, a); /* another socket */
        vd_meter *meter = tree_meter(&tree);
        vd_meter_info info = info_of(meter);
        assert_int_equal(use_of(&info, "intel-rapl:0"), VD_RAPL_READ);
        assert_int_equal(use_of(&info, "intel-rapl:1"),
                         cases[i].mirror ? VD_RAPL_TWIN : VD_RAPL_READ);
        assert_int_equal(use_of(&info, "intel-rapl:2"), VD_RAPL_READ);
        zone_set(&tree, "intel-rapl:0", a + 1000);
        zone_set(&tree, "intel-rapl:1", b + 1000);
        zone_set(&tree, "intel-rapl:2", a + 500);
        vd_reading r = read_after(&tree, meter, SECOND);
        assert_false(r.gap);
        assert_int_equal(r.uj[VD_PART_CPU], cases[i].mirror ? 1500 : 2500);
        vd_meter_close(meter);
        tree_remove(&tree);
    }
}

static void a_package_under_any_two_interfaces_counts_once(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 100);
    zone_add(&tree, "intel-rapl-tpmi:0", "package-0", PACKAGE_RANGE, 100);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(use_of(&info, "intel-rapl:0"), VD_RAPL_READ);
    assert_int_equal(use_of(&info, "intel-rapl-tpmi:0"), VD_RAPL_TWIN);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void psys_is_never_added_to_the_packages_it_holds(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&tree, "intel-rapl:0:0", "core", PACKAGE_RANGE, 0);
    zone_add(&tree, "intel-rapl:0:1", "uncore", PACKAGE_RANGE, 0);
    zone_add(&tree, "intel-rapl:1", "psys", PACKAGE_RANGE, 0);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(use_of(&info, "intel-rapl:1"), VD_RAPL_WHOLE);
    assert_int_equal(use_of(&info, "intel-rapl:0:1"), VD_RAPL_PART);
    zone_set(&tree, "intel-rapl:0", 5000);
    zone_set(&tree, "intel-rapl:1", 9000);
    assert_int_equal(read_after(&tree, meter, SECOND).uj[VD_PART_CPU], 5000);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void without_a_dram_zone_the_memory_is_modelled_or_said_to_be_missing(void **state)
{
    fake_tree tree;
    tree_make(&tree); /* AMD: package and core only, a quarter of Intel's range */
    zone_add(&tree, "intel-rapl:0", "package-0", UINT64_C(65532610987), 0);
    zone_add(&tree, "intel-rapl:0:0", "core", UINT64_C(65532610987), 0);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_true(info.measured);
    assert_string_equal(info.method, "rapl+model");
    assert_non_null(strstr(info.why_text, "no dram zone: the energy of the memory is modelled"));
    zone_set(&tree, "intel-rapl:0", 20000000);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 20000000);
    assert_true(fabs((double)r.uj[VD_PART_DRAM] - (double)info.idle_uw[VD_PART_DRAM]) < 2);
    assert_string_equal(r.method, "rapl+model");
    double cpu = 20000000, dram = (double)r.uj[VD_PART_DRAM]; /* 5 % of one, 50 % of the other */
    assert_true(fabs(r.common_pct - (cpu * 5 + dram * 50) / (cpu + dram)) < 1e-9);
    vd_meter_close(meter);

    tree.spec = "rapl"; /* named: nothing but this */
    meter = tree_meter(&tree);
    info = info_of(meter);
    assert_string_equal(info.method, "rapl");
    assert_non_null(strstr(info.why_text, "not in the figures"));
    zone_set(&tree, "intel-rapl:0", 20000100);
    r = read_after(&tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 100);
    assert_int_equal(r.uj[VD_PART_DRAM], 0);
    assert_true(r.uncertainty_pct == 15);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_counter_that_may_not_be_read_is_said_and_never_zero(void **state)
{
    fake_tree tree;
    make_server(&tree);
    tree.denied = "energy_uj";
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_string_equal(info.method, "model");
    assert_int_equal(info.why, VD_ERR_PERM);
    assert_non_null(strstr(info.why_text, "root only"));
    assert_int_equal(use_of(&info, "intel-rapl:0"), VD_RAPL_DENIED);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_true(r.uj[VD_PART_CPU] > 0);
    assert_true(r.uncertainty_pct > 20 && r.common_pct > 0 && r.independent_pct > 0);
    assert_true(fabs(r.uncertainty_pct - hypot(r.common_pct, r.independent_pct)) < 1e-9);
    assert_string_equal(r.method, "model");
    vd_meter_close(meter);

    tree.denied = "intel-rapl:1/"; /* one socket of two would be a figure that is too low */
    meter = tree_meter(&tree);
    assert_string_equal(info_of(meter).method, "model");
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_masked_or_missing_tree_is_told_apart_and_modelled(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.why, VD_ERR_NOT_FOUND);
    assert_non_null(strstr(info.why_text, "virtual machine"));
    vd_meter_close(meter);

    char path[128];
    snprintf(path, sizeof(path), "%s/class/powercap/intel-rapl", tree.root);
    make_path(path); /* a container: the directories, and nothing in them */
    meter = tree_meter(&tree);
    info = info_of(meter);
    assert_int_equal(info.why, VD_ERR_NOT_FOUND);
    assert_non_null(strstr(info.why_text, "container"));
    assert_true(read_after(&tree, meter, SECOND).uj[VD_PART_CPU] > 0);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void malformed_counters_are_broken_zones(void **state)
{
    static const char *const texts[] = {"",      "\n",
                                        "abc\n", "12 34\n",
                                        "-5\n",  "1e9",
                                        "0x10",  "99999999999999999999999\n",
                                        " 7\n",  "18446744073709551616\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        fake_tree tree;
        make_server(&tree);
        zone_file(&tree, "intel-rapl:1", "energy_uj", texts[i]);
        vd_meter *meter = tree_meter(&tree);
        vd_meter_info info = info_of(meter);
        assert_int_equal(use_of(&info, "intel-rapl:1"), VD_RAPL_BROKEN);
        assert_int_equal(info.why, VD_ERR_FORMAT);
        assert_string_equal(info.method, "model");
        vd_meter_close(meter);
        tree_remove(&tree);
    }
    fake_tree tree;
    make_server(&tree);
    zone_delete(&tree, "intel-rapl:0:1"); /* a directory where the counter should be */
    char path[160];
    snprintf(path, sizeof(path), "%s/class/powercap/intel-rapl:0:1/energy_uj", tree.root);
    make_path(path);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(use_of(&info, "intel-rapl:0:1"), VD_RAPL_BROKEN);
    assert_string_equal(info.method, "rapl"); /* the packages and the other socket's memory serve */
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_wrap_counts_with_the_range_of_its_own_zone(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, PACKAGE_RANGE - 1000000);
    zone_add(&tree, "intel-rapl:0:0", "dram", DRAM_RANGE, DRAM_RANGE - 2000);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 500000);
    zone_set(&tree, "intel-rapl:0:0", 3000);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 1500000);
    assert_int_equal(r.uj[VD_PART_DRAM], 5000);

    /* Many wraps in a row, a minute apart, read every second: nothing is lost. */
    uint64_t true_uj = 1500000, at = 500000, step = PACKAGE_RANGE / 60;
    for (int i = 0; i < 600; i++) {
        true_uj += step;
        at = at + step >= PACKAGE_RANGE ? at + step - PACKAGE_RANGE : at + step;
        zone_set(&tree, "intel-rapl:0", at);
        zone_set(&tree, "intel-rapl:0:0", 3000 + (uint64_t)i);
        r = read_after(&tree, meter, SECOND);
        assert_false(r.gap);
        assert_int_equal(r.uj[VD_PART_CPU], true_uj);
    }
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void what_may_be_several_wraps_is_a_gap(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", UINT64_C(65532610987), 1000);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 5000);
    vd_reading r = read_after(&tree, meter, 600 * SECOND); /* 65 kJ in ten minutes: 109 W */
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 0);
    assert_non_null(strstr(info_of(meter).last_gap, "more than once"));
    zone_set(&tree, "intel-rapl:0", 6000);
    r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 1000);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_step_back_that_is_no_wrap_is_a_gap_and_the_next_interval_counts(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 100000000);
    zone_add(&tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 0);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 90000000); /* a wrap would be 262 kJ in a second */
    zone_set(&tree, "intel-rapl:0:0", 123);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 0);
    assert_int_equal(r.uj[VD_PART_DRAM], 123); /* true, but of an interval not to be attributed */
    assert_int_equal(info_of(meter).n_gaps, 1);
    zone_set(&tree, "intel-rapl:0", 90000777);
    r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 777);

    zone_set(&tree, "intel-rapl:0", 90000777 + UINT64_C(200000000000)); /* 200 kJ in a second */
    assert_true(read_after(&tree, meter, SECOND).gap);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void values_up_to_64_bits_do_no_harm(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", UINT64_MAX, UINT64_MAX - 10);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 9);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 19);
    vd_meter_close(meter);

    zone_add(&tree, "intel-rapl:0", "package-0", 1000, UINT64_MAX); /* above its own range */
    meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 5);
    assert_true(read_after(&tree, meter, SECOND).gap);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_zone_that_disappears_is_a_gap_until_it_is_back_and_then_the_model_serves(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 2000);
    assert_false(read_after(&tree, meter, SECOND).gap);
    zone_delete(&tree, "intel-rapl:1");
    zone_set(&tree, "intel-rapl:0", 3000);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 2000);
    assert_non_null(strstr(info_of(meter).last_gap, "intel-rapl:1"));

    zone_set(&tree, "intel-rapl:1", 2000 + 50000); /* back: what it used meanwhile is not lost */
    r = read_after(&tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 52000);
    zone_set(&tree, "intel-rapl:1", 2000 + 51000);
    r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 53000);

    zone_delete(&tree, "intel-rapl:1"); /* and away for good */
    for (int i = 0; i < 32; i++) {
        zone_set(&tree, "intel-rapl:0", 3000 + 100 * (uint64_t)i);
        r = read_after(&tree, meter, SECOND);
    }
    assert_string_equal(r.method, "model");
    assert_false(r.gap);
    assert_string_equal(info_of(meter).method, "model");

    /* Back at last: the model has counted the time that the zone now shows. */
    uint64_t before = r.uj[VD_PART_CPU];
    tree.now_ns += SECOND;
    zone_set(&tree, "intel-rapl:0", 1000000000);
    zone_set(&tree, "intel-rapl:1", 1000000000);
    zone_set(&tree, "intel-rapl:0:1", 1000000);
    zone_set(&tree, "intel-rapl:1:1", 1000000);
    vd_meter_read(meter, &r);
    double model_uj = (double)info_of(meter).idle_uw[VD_PART_CPU]; /* of a second */
    assert_true(fabs((double)(r.uj[VD_PART_CPU] - before) - model_uj) < 2);
    assert_string_equal(r.method, "model");
    before = r.uj[VD_PART_CPU];
    zone_set(&tree, "intel-rapl:0", 1000000100);
    zone_set(&tree, "intel-rapl:1", 1000000010);
    r = read_after(&tree, meter, SECOND);
    assert_string_equal(r.method, "rapl");
    assert_int_equal(r.uj[VD_PART_CPU] - before, 110);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_counter_file_replaced_by_rename_goes_on(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter *meter = tree_meter(&tree);
    char from[160], to[160];
    snprintf(from, sizeof(from), "%s/class/powercap/intel-rapl:0/new", tree.root);
    snprintf(to, sizeof(to), "%s/class/powercap/intel-rapl:0/energy_uj", tree.root);
    zone_file(&tree, "intel-rapl:0", "new", "1500\n");
    assert_int_equal(rename(from, to), 0);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 500);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_counter_that_stands_still_is_no_zero(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
    vd_meter *meter = tree_meter(&tree);
    assert_false(read_after(&tree, meter, 5 * SECOND).gap);
    assert_true(read_after(&tree, meter, 6 * SECOND).gap);
    assert_non_null(strstr(info_of(meter).last_gap, "stood still"));
    zone_set(&tree, "intel-rapl:0", 1000001); /* of how long? */
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 1000000);
    zone_set(&tree, "intel-rapl:0", 2000001);
    assert_false(read_after(&tree, meter, SECOND).gap);
    for (int i = 0; i < 50; i++)
        r = read_after(&tree, meter, SECOND); /* stuck for good: the model serves */
    assert_string_equal(r.method, "model");
    assert_false(r.gap);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void opening_fails_cleanly_when_memory_is_short(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter_options options = {.sysfs = tree.root, .spec = "auto"};
    vd_meter *meter = NULL;
    vd_status st = VD_ERR_NOMEM;
    uint64_t live = vd_alloc_stats_get().n_live;
    int k = 0;
    while (st == VD_ERR_NOMEM) {
        vd_err err = {0};
        vd_alloc_fail_at((uint64_t)++k);
        st = vd_meter_open(&options, &meter, &err);
        if (st == VD_ERR_NOMEM) {
            assert_null(meter);
            assert_int_equal(vd_alloc_stats_get().n_live, live);
        }
    }
    vd_alloc_fail_at(0);
    assert_int_equal(st, VD_OK);
    assert_true(k >= 3);
    vd_meter_close(meter);
    assert_int_equal(vd_alloc_stats_get().n_live, live);
    tree_remove(&tree);
    vd_meter_close(NULL);
}

static void reading_allocates_nothing_and_is_quick(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter *meter = tree_meter(&tree);
    uint64_t before = vd_alloc_stats_get().n_calls, best = UINT64_MAX;
    for (int i = 0; i < 200; i++) {
        uint64_t begin = vd_now_ns();
        read_after(&tree, meter, 1000);
        uint64_t took = vd_now_ns() - begin;
        best = took < best ? took : best;
    }
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
    assert_true(best < 50000);
    vd_meter_close(meter);
    tree_remove(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sockets_add_packages_and_dram_and_never_their_parts),
        cmocka_unit_test(zones_nested_below_the_control_type_are_the_same_zones),
        cmocka_unit_test(twins_of_registers_and_mapped_memory_count_once),
        cmocka_unit_test(dies_that_mirror_one_counter_count_once_and_others_are_added),
        cmocka_unit_test(a_package_under_any_two_interfaces_counts_once),
        cmocka_unit_test(psys_is_never_added_to_the_packages_it_holds),
        cmocka_unit_test(without_a_dram_zone_the_memory_is_modelled_or_said_to_be_missing),
        cmocka_unit_test(a_counter_that_may_not_be_read_is_said_and_never_zero),
        cmocka_unit_test(a_masked_or_missing_tree_is_told_apart_and_modelled),
        cmocka_unit_test(malformed_counters_are_broken_zones),
        cmocka_unit_test(a_wrap_counts_with_the_range_of_its_own_zone),
        cmocka_unit_test(what_may_be_several_wraps_is_a_gap),
        cmocka_unit_test(a_step_back_that_is_no_wrap_is_a_gap_and_the_next_interval_counts),
        cmocka_unit_test(values_up_to_64_bits_do_no_harm),
        cmocka_unit_test(
            a_zone_that_disappears_is_a_gap_until_it_is_back_and_then_the_model_serves),
        cmocka_unit_test(a_counter_file_replaced_by_rename_goes_on),
        cmocka_unit_test(a_counter_that_stands_still_is_no_zero),
        cmocka_unit_test(opening_fails_cleanly_when_memory_is_short),
        cmocka_unit_test(reading_allocates_nothing_and_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
