/*
 * test_meter_faults.c - everything that can go wrong below the meter, at every moment: openings
 * that fail, files that are no numbers, a tree that changes while it is read, several sources.
 *
 * The laws: what was counted never falls, and never exceeds what was used; a reading without a gap,
 * after one without a gap, has the whole of it.
 */
#include "fake_tree.h"

#include <math.h>

#include "energy/method.h"

/* ---- the k-th opening fails ------------------------------------------------------------------ */

typedef struct fault {
    fake_tree tree; /* first: its callbacks get this struct */
    size_t n_opens, fail_at;
    int fail_with;
} fault;

static int fault_open(void *ctx, const char *path)
{
    fault *f = ctx;
    if (++f->n_opens == f->fail_at) {
        errno = f->fail_with;
        return -1;
    }
    return open(path, O_RDONLY | O_CLOEXEC);
}

static vd_meter *fault_meter(fault *f)
{
    vd_meter_options options = {.sysfs = f->tree.root, .spec = "auto", .now_ns = tree_now,
                                .cpu_ns = tree_cpu, .open_file = fault_open, .ctx = f};
    vd_meter *meter = NULL;
    assert_int_equal(vd_meter_open(&options, &meter, NULL), VD_OK);
    return meter;
}

static void any_opening_may_fail_and_no_figure_is_a_part_of_one(void **state)
{
    static const int errors[] = {EACCES, ENODEV, EIO, EMFILE, ENOENT};
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++)
        for (size_t k = 1; k <= 12; k++) {
            fault f = {0};
            make_server(&f.tree);
            f.fail_at = k;
            f.fail_with = errors[e];
            vd_meter *meter = fault_meter(&f);
            zone_set(&f.tree, "intel-rapl:0", 1000 + 100000);
            zone_set(&f.tree, "intel-rapl:1", 2000 + 40000);
            zone_set(&f.tree, "intel-rapl:0:1", 70 + 3000);
            zone_set(&f.tree, "intel-rapl:1:1", 80 + 500);
            vd_reading r = read_after(&f.tree, meter, SECOND);
            vd_meter_info info = info_of(meter);
            if (info.measured) /* both sockets, or none of them */
                assert_int_equal(r.uj[VD_PART_CPU], 140000);
            else
                assert_int_equal(r.uj[VD_PART_CPU], info.idle_uw[VD_PART_CPU]);
            assert_true(strstr(r.method, info.measured ? "rapl" : "model") != NULL);
            vd_meter_close(meter);
            tree_remove(&f.tree);
        }
}

static void a_reopening_that_fails_is_a_gap_and_is_tried_again(void **state)
{
    static const int errors[] = {ENODEV, EACCES, EMFILE};
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        fault f = {0};
        make_server(&f.tree);
        vd_meter *meter = fault_meter(&f);
        char path[160], other[160];
        snprintf(path, sizeof(path), "%s/class/powercap/intel-rapl:0/energy_uj", f.tree.root);
        snprintf(other, sizeof(other), "%s/class/powercap/intel-rapl:0/new", f.tree.root);
        zone_file(&f.tree, "intel-rapl:0", "new", "5000\n");
        assert_int_equal(rename(other, path), 0); /* the open file is gone */
        f.fail_at = f.n_opens + 1;
        f.fail_with = errors[e];
        vd_reading r = read_after(&f.tree, meter, SECOND);
        assert_true(r.gap);
        assert_int_equal(r.uj[VD_PART_CPU], 0);
        assert_non_null(strstr(info_of(meter).last_gap, strerror(errors[e])));
        r = read_after(&f.tree, meter, SECOND);
        assert_true(r.gap); /* it is back, and its 4,000 uJ came at an unknown time */
        assert_int_equal(r.uj[VD_PART_CPU], 4000);
        zone_set(&f.tree, "intel-rapl:0", 5001);
        r = read_after(&f.tree, meter, SECOND);
        assert_false(r.gap);
        assert_int_equal(r.uj[VD_PART_CPU], 4001);
        vd_meter_close(meter);
        tree_remove(&f.tree);
    }
}

static void a_number_that_was_cut_short_is_a_gap_and_never_energy_later(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 12345678);
    zone_add(&tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 1);
    vd_meter *meter = tree_meter(&tree);
    zone_file(&tree, "intel-rapl:0", "energy_uj", "1234"); /* of 12345700 */
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 0);
    zone_set(&tree, "intel-rapl:0", 12345778);
    r = read_after(&tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 100);
    vd_meter_close(meter);

    /* One that never has a newline is whole. */
    zone_file(&tree, "intel-rapl:0", "energy_uj", "2000");
    meter = tree_meter(&tree);
    zone_file(&tree, "intel-rapl:0", "energy_uj", "2500");
    r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 500);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* ---- a tree that changes under it ------------------------------------------------------------ */

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

typedef struct shaken {
    fake_tree tree;
    uint64_t uj[2]; /* what the two packages' counters would show */
    bool away[2];
} shaken;

static const char *const ids[2] = {"intel-rapl:0", "intel-rapl:1"};

static void shake(shaken *s, size_t zone)
{
    static const char *const nonsense[] = {"", "\n", "x\n", "-1\n", "12 34\n", "1e9\n",
                                           "99999999999999999999999\n"};
    char path[192];
    snprintf(path, sizeof(path), "%s/class/powercap/%s/energy_uj", s->tree.root, ids[zone]);
    (void)remove(path);
    s->away[zone] = true;
    switch (draw(4)) {
    case 0:
        break; /* gone */
    case 1:
        make_path(path); /* a folder */
        break;
    case 2:
        zone_file(&s->tree, ids[zone], "energy_uj", nonsense[draw(7)]);
        break;
    default:
        assert_int_equal(symlink("/nonexistent", path), 0);
    }
}

static void restore(shaken *s, size_t zone)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/class/powercap/%s/energy_uj", s->tree.root, ids[zone]);
    if (s->away[zone])
        assert_int_equal(remove(path) == 0 || errno == ENOENT, 1);
    s->away[zone] = false;
    zone_set(&s->tree, ids[zone], s->uj[zone]);
}

static void a_tree_that_changes_under_it_never_makes_energy(void **state)
{
    for (int round = 0; round < 40; round++) {
        seed = 0x9e3779b97f4a7c15u + (uint64_t)round;
        shaken s = {.uj = {1000, 2000}};
        tree_make(&s.tree);
        s.tree.spec = "rapl";
        zone_add(&s.tree, ids[0], "package-0", PACKAGE_RANGE, s.uj[0]);
        zone_add(&s.tree, ids[1], "package-1", PACKAGE_RANGE, s.uj[1]);
        vd_meter *meter = tree_meter(&s.tree);
        vd_reading before = {0};
        uint64_t seen_all = 0; /* readings in a row without a gap and with all zones there */
        for (int i = 0; i < 150; i++) {
            uint64_t used = 0;
            for (size_t zone = 0; zone < 2; zone++) {
                uint64_t step = 1 + draw(50000000);
                s.uj[zone] += step;
                used += step;
                if (draw(10) == 0)
                    shake(&s, zone);
                else if (!s.away[zone] || draw(3) == 0)
                    restore(&s, zone);
            }
            vd_reading r = read_after(&s.tree, meter, SECOND);
            bool away = s.away[0] || s.away[1];
            assert_true(r.uj[VD_PART_CPU] >= before.uj[VD_PART_CPU]);
            assert_true(r.uj[VD_PART_CPU] <= s.uj[0] + s.uj[1] - 3000);
            assert_true(r.gap || !away); /* what could not be read is said */
            seen_all = r.gap || away ? 0 : seen_all + 1;
            if (seen_all >= 2)
                assert_int_equal(r.uj[VD_PART_CPU] - before.uj[VD_PART_CPU], used);
            if (!r.gap) /* nothing was lost for good either */
                assert_int_equal(r.uj[VD_PART_CPU], s.uj[0] + s.uj[1] - 3000);
            before = r;
        }
        vd_meter_close(meter);
        tree_remove(&s.tree);
    }
}

/* ---- several sources ------------------------------------------------------------------------- */

/* Those beyond the limit would be missing in a sum that looks right. */
static void more_zones_than_are_looked_at_are_no_meter(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    for (int i = 0; i < VD_RAPL_ZONES_MAX; i++) {
        char id[32], name[32];
        snprintf(id, sizeof(id), "intel-rapl:%d", i);
        snprintf(name, sizeof(name), "package-%d", i);
        zone_add(&tree, id, name, PACKAGE_RANGE, 1);
    }
    vd_meter *meter = tree_meter(&tree);
    assert_int_equal(info_of(meter).why, VD_OK);
    vd_meter_close(meter);
    zone_add(&tree, "intel-rapl:999", "package-999", PACKAGE_RANGE, 1);
    meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.why, VD_ERR_LIMIT);
    assert_string_equal(info.method, "model");
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void links_in_circles_end_and_count_nothing_twice(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
    char link[256];
    snprintf(link, sizeof(link), "%s/class/powercap/intel-rapl:0/intel-rapl:0:0", tree.root);
    assert_int_equal(symlink("..", link), 0); /* the control type: no zone */
    snprintf(link, sizeof(link), "%s/class/powercap/intel-rapl:0/intel-rapl:0:1", tree.root);
    assert_int_equal(symlink(".", link), 0); /* the package again, as a part of itself */
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_string_equal(info.method, "rapl+model");
    assert_int_equal(use_of(&info, "intel-rapl:0"), VD_RAPL_READ);
    assert_int_equal(use_of(&info, "intel-rapl:0:1"), VD_RAPL_PART);
    vd_meter_close(meter);
    for (int i = 0; i < 40; i++) { /* 40^5 ways */
        snprintf(link, sizeof(link), "%s/class/powercap/rapl-%d", tree.root, i);
        assert_int_equal(symlink(".", link), 0);
    }
    meter = tree_meter(&tree);
    assert_int_equal(info_of(meter).why, VD_ERR_LIMIT);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void a_gap_of_one_source_is_a_gap_of_the_sum(void **state)
{
    fake_tree tree;
    make_server(&tree);
    tree_file(&tree, "class/hwmon/hwmon0/name", "board\n");
    tree_file(&tree, "class/hwmon/hwmon0/energy1_label", "card\n");
    tree_file(&tree, "class/hwmon/hwmon0/energy1_input", "1000\n");
    tree.spec = "rapl,hwmon:board/card@gpu";
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.n_sources, 2);
    assert_string_equal(info.method, "rapl+hwmon");
    assert_true(info.refresh_ns == info.source[1].refresh_ns && info.refresh_ns > 0);
    tree_file(&tree, "class/hwmon/hwmon0/energy1_input", "8000\n");
    zone_set(&tree, "intel-rapl:0", 1000 + 500);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 500);
    assert_int_equal(r.uj[VD_PART_GPU], 7000);
    assert_string_equal(r.method, "rapl+hwmon");
    double gpu = info.source[1].common_pct;
    assert_true(r.common_pct > 5 && r.common_pct <= gpu); /* by their energy: 500 and 7,000 */
    assert_true(fabs(r.common_pct - (5 * 500 + gpu * 7000) / 7500) < 1e-9);

    tree_file(&tree, "class/hwmon/hwmon0/energy1_input", "nothing\n");
    zone_set(&tree, "intel-rapl:0", 1000 + 900);
    for (int i = 0; i < 3; i++)
        r = read_after(&tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 900); /* seen and counted, in an unattributed time */
    assert_int_equal(r.uj[VD_PART_GPU], 7000);
    assert_true(info_of(meter).last_gap[0] != '\0');
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void methods_are_joined_once_each_and_the_model_stands_last(void **state)
{
    const char *both = vd_method_join("model", "rapl");
    assert_string_equal(both, "rapl+model");
    assert_ptr_equal(both, vd_method_join("rapl", "model")); /* static storage: one of each */
    assert_string_equal(vd_method_join(both, "nvml"), "rapl+nvml+model");
    assert_string_equal(vd_method_join("rapl+nvml", "nvml"), "rapl+nvml");
    assert_string_equal(vd_method_join(NULL, "psys"), "psys");
    assert_string_equal(vd_method_join("psys", NULL), "psys");
    assert_string_equal(vd_method_join(NULL, NULL), "");
    assert_string_equal(vd_method_join("", "rapl"), "rapl");
    for (size_t i = 0; i < 200; i++) { /* more than are kept: a truth, if not the whole */
        static char names[200][8];
        snprintf(names[i], sizeof(names[i]), "m%zu", i);
        assert_non_null(strstr(vd_method_join("rapl", names[i]), "rapl"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_opening_may_fail_and_no_figure_is_a_part_of_one),
        cmocka_unit_test(a_reopening_that_fails_is_a_gap_and_is_tried_again),
        cmocka_unit_test(a_number_that_was_cut_short_is_a_gap_and_never_energy_later),
        cmocka_unit_test(a_tree_that_changes_under_it_never_makes_energy),
        cmocka_unit_test(more_zones_than_are_looked_at_are_no_meter),
        cmocka_unit_test(links_in_circles_end_and_count_nothing_twice),
        cmocka_unit_test(a_gap_of_one_source_is_a_gap_of_the_sum),
        cmocka_unit_test(methods_are_joined_once_each_and_the_model_stands_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
