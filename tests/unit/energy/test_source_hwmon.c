/*
 * test_source_hwmon.c - sensors of the hwmon class. Files and units as in
 * Documentation/hwmon/sysfs-interface.rst of the kernel; labels as in drivers/hwmon/amd_energy.c,
 * drivers/hwmon/macsmc-hwmon.c, drivers/hwmon/ina3221.c and drivers/gpu/drm/xe/xe_hwmon.c.
 */
#include "source_test.h"

#include "energy/sources/sources.h"

static void setup(source_test *t)
{
    *t = (source_test){0};
    tree_make(&t->tree);
}

static void teardown(source_test *t)
{
    close_source(t);
    tree_remove(&t->tree);
}

/* amd_energy: a counter per core and one per socket, of two sockets. */
static void make_amd_energy(source_test *t)
{
    setup(t);
    put(t, "class/hwmon/hwmon0/name", "nvme\n");
    put(t, "class/hwmon/hwmon0/temp1_input", "30000\n");
    put(t, "class/hwmon/hwmon3/name", "amd_energy\n");
    put(t, "class/hwmon/hwmon3/energy1_label", "Ecore000\n");
    put(t, "class/hwmon/hwmon3/energy1_input", "100\n");
    put(t, "class/hwmon/hwmon3/energy65_label", "Esocket0\n");
    put(t, "class/hwmon/hwmon3/energy65_input", "5000\n");
    put(t, "class/hwmon/hwmon3/energy66_label", "Esocket1\n");
    put(t, "class/hwmon/hwmon3/energy66_input", "7000\n");
}

static void sockets_are_added_and_cores_are_not(void **state)
{
    source_test t;
    static const char *const specs[] = {"", "amd_energy", "amd_energy/Esocket*"};
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        make_amd_energy(&t);
        must_open(&t, vd_source_hwmon_open, specs[i]);
        assert_string_equal(t.source.method, "hwmon");
        assert_string_equal(t.source.name, "hwmon: amd_energy/Esocket*");
        assert_int_equal(t.source.parts, 1u << VD_PART_CPU);
        put(&t, "class/hwmon/hwmon3/energy1_input", "90100\n");
        put(&t, "class/hwmon/hwmon3/energy65_input", "105000\n");
        put(&t, "class/hwmon/hwmon3/energy66_input", "207000\n");
        assert_true(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 300000);
        teardown(&t);
    }
    make_amd_energy(&t);
    must_open(&t, vd_source_hwmon_open, "amd_energy/Esocket1");
    put(&t, "class/hwmon/hwmon3/energy66_input", "7001\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 1);
    teardown(&t);
}

static void make_laptop(source_test *t)
{
    setup(t);
    put(t, "class/hwmon/hwmon1/name", "macsmc_hwmon\n");
    put(t, "class/hwmon/hwmon1/power1_label", "Total System Power\n");
    put(t, "class/hwmon/hwmon1/power1_input", "20000000\n");
    put(t, "class/hwmon/hwmon1/power2_label", "AC Input Power\n");
    put(t, "class/hwmon/hwmon1/power2_input", "33000000\n");
}

static void a_named_power_is_integrated_for_the_whole_machine(void **state)
{
    source_test t;
    make_laptop(&t);
    must_open(&t, vd_source_hwmon_open, "macsmc_hwmon/Total System Power");
    assert_int_equal(t.source.parts, VD_SOURCE_WHOLE);
    assert_int_equal(t.source.refresh_ns, 1100 * MS);
    put(&t, "class/hwmon/hwmon1/power1_input", "40000000\n");
    assert_true(read_source(&t, 100 * MS));
    assert_int_equal(t.uj[VD_PART_CPU], 3000000); /* 30 W x 0.1 s */
    put(&t, "class/hwmon/hwmon1/power1_input", "\n");
    assert_false(read_source(&t, 100 * MS));
    assert_non_null(strstr(t.source.last_gap, "Total System Power cannot be read: not a number"));
    put(&t, "class/hwmon/hwmon1/power1_input", "-40000000\n");
    assert_false(read_source(&t, 100 * MS));
    assert_non_null(strstr(t.source.last_gap, "says -40000000, less than nothing"));
    put(&t, "class/hwmon/hwmon1/power1_input", "0\n");
    assert_false(read_source(&t, 100 * MS));
    take_away(&t, "class/hwmon/hwmon1/power1_input");
    assert_false(read_source(&t, 100 * MS));
    assert_non_null(strstr(t.source.last_gap, "No such file"));
    assert_true(t.source.lost_since_ns != 0);
    put(&t, "class/hwmon/hwmon1/power1_input", "40000000\n");
    assert_false(read_source(&t, 100 * MS));
    assert_int_equal(t.source.lost_since_ns, 0);
    assert_true(read_source(&t, 100 * MS));
    assert_int_equal(t.uj[VD_PART_CPU], 4000000);
    teardown(&t);
}

static void sensors_that_may_hold_each_other_must_be_named(void **state)
{
    source_test t;
    make_laptop(&t);
    must_fail(&t, vd_source_hwmon_open, "macsmc_hwmon", VD_ERR_ARG, "macsmc_hwmon/AC Input Power");
    must_fail(&t, vd_source_hwmon_open, "macsmc_hwmon/Total", VD_ERR_NOT_FOUND,
              "macsmc_hwmon/Total System Power");
    must_fail(&t, vd_source_hwmon_open, "", VD_ERR_NOT_FOUND, "there are: macsmc_hwmon/");
    must_fail(&t, vd_source_hwmon_open, "macsmc_hwmon/x@disk", VD_ERR_ARG, "NAME[/LABEL]");
    must_fail(&t, vd_source_hwmon_open, "macsmc_hwmon/x@", VD_ERR_ARG, "NAME[/LABEL]");
    char longer[300];
    memset(longer, 'n', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    must_fail(&t, vd_source_hwmon_open, longer, VD_ERR_ARG, "NAME[/LABEL]");
    put(&t, "class/hwmon/hwmon1/power1_input", "watts\n");
    must_fail(&t, vd_source_hwmon_open, "macsmc_hwmon/Total System Power", VD_ERR_FORMAT,
              "not a number");
    t.tree.denied = "power1_input";
    must_fail(&t, vd_source_hwmon_open, "macsmc_hwmon/Total System Power", VD_ERR_PERM,
              "chmod a+r");
    teardown(&t);
    setup(&t);
    must_fail(&t, vd_source_hwmon_open, "", VD_ERR_NOT_FOUND, "there is none");
    put(&t, "class/hwmon/hwmon1/name", "fam15h_power\n"); /* a guess of its processor, no counter */
    put(&t, "class/hwmon/hwmon1/power1_input", "20000000\n");
    must_fail(&t, vd_source_hwmon_open, "", VD_ERR_NOT_FOUND, "there are: fam15h_power");
    must_open(&t, vd_source_hwmon_open, "fam15h_power");
    assert_int_equal(t.source.parts, 1u << VD_PART_CPU);
    teardown(&t);
}

static void devices_of_a_driver_are_added_where_they_cannot_hold_each_other(void **state)
{
    source_test t;
    setup(&t);
    for (int i = 0; i < 2; i++) { /* two rails, and two graphics cards */
        char path[80];
        snprintf(path, sizeof(path), "class/hwmon/hwmon%d/name", i);
        put(&t, path, "ina219\n");
        snprintf(path, sizeof(path), "class/hwmon/hwmon%d/power1_input", i);
        put(&t, path, "4000000\n");
        snprintf(path, sizeof(path), "class/hwmon/hwmon%d/name", i + 2);
        put(&t, path, "i915\n");
        snprintf(path, sizeof(path), "class/hwmon/hwmon%d/energy1_input", i + 2);
        put(&t, path, "100\n");
    }
    must_fail(&t, vd_source_hwmon_open, "ina219", VD_ERR_ARG, "ina219/* to add them up");
    must_open(&t, vd_source_hwmon_open, "ina219/*");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 8000000);
    close_source(&t);
    must_open(&t, vd_source_hwmon_open, "i915");
    put(&t, "class/hwmon/hwmon2/energy1_input", "103\n");
    put(&t, "class/hwmon/hwmon3/energy1_input", "105\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 8);
    put(&t, "class/hwmon/hwmon3/energy2_input", "105\n"); /* card and package, say */
    close_source(&t);
    must_fail(&t, vd_source_hwmon_open, "i915", VD_ERR_ARG, "several sensors");
    teardown(&t);
}

static void what_it_covers_is_said_by_the_driver_or_by_name(void **state)
{
    source_test t;
    setup(&t);
    put(&t, "class/hwmon/hwmon4/name", "xe\n");
    put(&t, "class/hwmon/hwmon4/energy2_label", "pkg\n");
    put(&t, "class/hwmon/hwmon4/energy2_input", "10\n");
    put(&t, "class/hwmon/hwmon5/name", "ina3221\n");
    put(&t, "class/hwmon/hwmon5/power1_label", "VDD_GPU_SOC\n");
    put(&t, "class/hwmon/hwmon5/power1_input", "0\n");
    must_open(&t, vd_source_hwmon_open, "xe");
    assert_int_equal(t.source.parts, 1u << VD_PART_GPU);
    put(&t, "class/hwmon/hwmon4/energy2_input", "35\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 25);
    close_source(&t);
    must_open(&t, vd_source_hwmon_open, "ina3221/VDD_GPU_SOC@gpu"); /* a rail may rest */
    assert_int_equal(t.source.parts, 1u << VD_PART_GPU);
    put(&t, "class/hwmon/hwmon5/power1_input", "2000000\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 1000000);
    teardown(&t);
}

static void of_a_mean_and_a_moment_the_mean_is_read(void **state)
{
    source_test t;
    setup(&t);
    put(&t, "class/hwmon/hwmon0/name", "power_meter\n"); /* drivers/hwmon/acpi_power_meter.c */
    put(&t, "class/hwmon/hwmon0/power1_input", "1000000\n");
    put(&t, "class/hwmon/hwmon0/power1_average", "300000000\n");
    put(&t, "class/hwmon/hwmon0/power1_average_interval", "5000\n");
    must_open(&t, vd_source_hwmon_open, "power_meter");
    assert_int_equal(t.source.refresh_ns, 5100 * MS);
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 300000000);
    teardown(&t);
}

static void a_sensor_whose_folder_got_another_number_is_found_again(void **state)
{
    source_test t;
    char from[128], to[128];
    make_amd_energy(&t);
    put(&t, "class/hwmon/hwmon9/name", "other\n"); /* has the file, but is another driver's */
    put(&t, "class/hwmon/hwmon9/energy65_input", "1\n");
    must_open(&t, vd_source_hwmon_open, "amd_energy/Esocket0");
    snprintf(from, sizeof(from), "%s/class/hwmon/hwmon3", t.tree.root);
    snprintf(to, sizeof(to), "%s/gone", t.tree.root);
    assert_int_equal(rename(from, to), 0);
    take_away(&t, "gone/energy65_input"); /* a removed device's files do not answer */
    assert_false(read_source(&t, SECOND));
    assert_true(t.source.lost_since_ns != 0);
    put(&t, "gone/energy65_input", "6000\n");
    snprintf(from, sizeof(from), "%s/class/hwmon/hwmon12", t.tree.root);
    assert_int_equal(rename(to, from), 0);
    assert_false(read_source(&t, SECOND)); /* is back */
    assert_int_equal(t.uj[VD_PART_CPU], 1000);
    assert_int_equal(t.source.lost_since_ns, 0);
    put(&t, "class/hwmon/hwmon12/energy65_input", "6001\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 1);

    take_away(&t, "class/hwmon/hwmon12/energy65_input"); /* which of two it became, nobody knows */
    put(&t, "class/hwmon/hwmon20/name", "amd_energy\n");
    put(&t, "class/hwmon/hwmon20/energy65_input", "6002\n");
    put(&t, "class/hwmon/hwmon21/name", "amd_energy\n");
    put(&t, "class/hwmon/hwmon21/energy65_input", "6003\n");
    for (int i = 0; i < 2; i++) {
        assert_false(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 0);
        assert_true(t.source.lost_since_ns != 0);
    }
    teardown(&t);
}

static void the_meter_takes_a_host_sensor_and_refuses_what_overlaps(void **state)
{
    source_test t;
    make_amd_energy(&t); /* no RAPL: auto finds it */
    put(&t, "class/hwmon/hwmon4/name", "ina219\n");
    put(&t, "class/hwmon/hwmon4/power1_input", "9000000\n");
    t.tree.spec = "auto";
    vd_meter *meter = tree_meter(&t.tree);
    assert_string_equal(info_of(meter).method, "hwmon+model"); /* the model has the memory */
    assert_true(info_of(meter).measured);
    put(&t, "class/hwmon/hwmon3/energy65_input", "1005000\n");
    vd_reading r = read_after(&t.tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 1000000);
    assert_false(r.gap);
    vd_meter_close(meter);

    zone_add(&t.tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1000);
    meter = NULL;
    static const char *const both[] = {"rapl,hwmon", "hwmon,rapl", "rapl,hwmon:ina219",
                                       "hwmon:ina219,rapl", "hwmon:ina219,model",
                                       "amdgpu,hwmon:amdgpu", "hwmon:amdgpu,amdgpu"};
    put(&t, "class/drm/card0/device/vendor", "0x1002\n");
    put(&t, "class/drm/card0/device/hwmon/hwmon8/power1_average", "7000000\n");
    put(&t, "class/hwmon/hwmon8/name", "amdgpu\n");
    put(&t, "class/hwmon/hwmon8/power1_average", "7000000\n");
    for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
        vd_err err = {0};
        vd_meter_options options = {.sysfs = t.tree.root,
                                    .spec = both[i],
                                    .now_ns = tree_now,
                                    .cpu_ns = tree_cpu,
                                    .open_file = tree_open,
                                    .ctx = &t.tree};
        assert_int_equal(vd_meter_open(&options, &meter, &err), VD_ERR_ARG);
    }
    t.tree.spec = "rapl,hwmon:ina219@gpu";
    meter = tree_meter(&t.tree);
    r = read_after(&t.tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_GPU], 9000000);
    assert_string_equal(r.method, "rapl+hwmon");
    vd_meter_close(meter);
    teardown(&t);
}

static void opening_without_memory_is_a_status(void **state)
{
    source_test t;
    make_amd_energy(&t);
    fail_each_allocation(&t, vd_source_hwmon_open, "");
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_added_and_cores_are_not),
        cmocka_unit_test(a_named_power_is_integrated_for_the_whole_machine),
        cmocka_unit_test(sensors_that_may_hold_each_other_must_be_named),
        cmocka_unit_test(devices_of_a_driver_are_added_where_they_cannot_hold_each_other),
        cmocka_unit_test(what_it_covers_is_said_by_the_driver_or_by_name),
        cmocka_unit_test(of_a_mean_and_a_moment_the_mean_is_read),
        cmocka_unit_test(a_sensor_whose_folder_got_another_number_is_found_again),
        cmocka_unit_test(the_meter_takes_a_host_sensor_and_refuses_what_overlaps),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
