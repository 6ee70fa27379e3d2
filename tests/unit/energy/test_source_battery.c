/*
 * test_source_battery.c - batteries of laptops. Files and units as in
 * Documentation/ABI/testing/sysfs-class-power of the kernel (drivers/acpi/battery.c).
 */
#include "source_test.h"

#include "energy/sources/sources.h"

static void set(const source_test *t, const char *battery, const char *file, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "class/power_supply/%s/%s", battery, file);
    put(t, path, text);
}

/* A battery of 20 W, by one of the four ways in which drivers tell it. */
static void make_laptop(source_test *t, const char *battery, const char *way)
{
    set(t, battery, "type", "Battery\n");
    set(t, battery, "status", "Discharging\n");
    set(t, battery, "voltage_now", "12500000\n");
    if (strcmp(way, "power") == 0)
        set(t, battery, "power_now", "20000000\n");
    if (strcmp(way, "current") == 0)
        set(t, battery, "current_now", "-1600000\n"); /* negative with some drivers */
    if (strcmp(way, "energy") == 0)
        set(t, battery, "energy_now", "40000000\n");
    if (strcmp(way, "charge") == 0)
        set(t, battery, "charge_now", "4000000\n");
}

static void setup(source_test *t, const char *way)
{
    *t = (source_test){0};
    tree_make(&t->tree);
    make_laptop(t, "BAT0", way);
    set(t, "AC", "type", "Mains\n");
    set(t, "hidpp_battery_0", "type", "Battery\n"); /* a mouse */
    set(t, "hidpp_battery_0", "scope", "Device\n");
    set(t, "hidpp_battery_0", "status", "Discharging\n");
    set(t, "hidpp_battery_0", "energy_now", "100\n");
}

static void teardown(source_test *t)
{
    close_source(t);
    tree_remove(&t->tree);
}

static void power_is_integrated_while_it_is_discharged(void **state)
{
    static const char *const ways[] = {"power", "current"};
    for (size_t i = 0; i < 2; i++) {
        source_test t;
        setup(&t, ways[i]);
        must_open(&t, vd_source_battery_open, "");
        assert_string_equal(t.source.method, "battery");
        assert_string_equal(t.source.name, "battery: 1");
        assert_int_equal(t.source.parts, VD_SOURCE_WHOLE);
        for (int s = 0; s < 10; s++) {
            assert_true(read_source(&t, SECOND));
            assert_int_equal(t.uj[VD_PART_CPU], 20000000);
        }
        teardown(&t);
    }
}

static void without_power_the_level_counts(void **state)
{
    source_test t;
    setup(&t, "energy");
    must_open(&t, vd_source_battery_open, "BAT0");
    assert_string_equal(t.source.name, "battery: 1, by its level");
    set(&t, "BAT0", "energy_now", "39990000\n"); /* 10 mWh are 36 J */
    assert_true(read_source(&t, 2 * SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 36000000);
    assert_true(read_source(&t, 2 * SECOND)); /* not renewed yet: no zero, no gap */
    set(&t, "BAT0", "energy_now", "39980000\n");
    assert_true(read_source(&t, 2 * SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 36000000);
    set(&t, "BAT0", "energy_now", "39989000\n"); /* the gauge corrects itself */
    read_source(&t, 2 * SECOND);
    assert_int_equal(t.uj[VD_PART_CPU], 0);
    set(&t, "BAT0", "energy_now", "39988000\n");
    assert_true(read_source(&t, 2 * SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 3600000);
    teardown(&t);

    setup(&t, "charge");
    must_open(&t, vd_source_battery_open, "");
    set(&t, "BAT0", "charge_now", "3999000\n"); /* 1 mAh at 12.5 V are 45 J */
    assert_true(read_source(&t, 2 * SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 45000000);
    set(&t, "BAT0", "voltage_now", "12000000\n"); /* its sag is no energy */
    assert_true(read_source(&t, 2 * SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 0);
    teardown(&t);
}

static void on_mains_power_nothing_is_known(void **state)
{
    static const char *const others[] = {"Charging\n", "Full\n", "Not charging\n", "Unknown\n", ""};
    static const char *const ways[] = {"power", "energy", "charge"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        for (size_t w = 0; w < 3; w++) {
            source_test t;
            setup(&t, ways[w]);
            must_open(&t, vd_source_battery_open, "");
            assert_true(read_source(&t, SECOND));
            set(&t, "BAT0", "status", others[i]);
            assert_false(read_source(&t, SECOND));
            assert_int_equal(t.uj[VD_PART_CPU], 0);
            uint64_t lost_ns = t.tree.now_ns;
            assert_int_equal(t.source.lost_since_ns, lost_ns);
            assert_non_null(strstr(t.source.last_gap, "unplug"));
            if (w == 1)
                set(&t, "BAT0", "energy_now", "39999000\n"); /* it drained itself */
            assert_false(read_source(&t, SECOND));
            assert_int_equal(t.source.lost_since_ns, lost_ns);
            set(&t, "BAT0", "status", "Discharging\n");
            assert_false(read_source(&t, SECOND));
            assert_int_equal(t.uj[VD_PART_CPU], 0); /* what lay between is another direction */
            assert_int_equal(t.source.lost_since_ns, 0);
            assert_true(read_source(&t, SECOND));
            assert_int_equal(t.uj[VD_PART_CPU], w == 0 ? 20000000 : 0);
            teardown(&t);
        }
}

static void beside_a_charger_a_battery_sees_only_a_part(void **state)
{
    static const char *const types[] = {"Mains\n", "USB\n", "USB_C\n", "Wireless\n"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        source_test t;
        setup(&t, "power");
        set(&t, "AC", "type", types[i]);
        set(&t, "AC", "online", "0\n");
        must_open(&t, vd_source_battery_open, "");
        assert_true(read_source(&t, SECOND));
        set(&t, "AC", "online", "1\n"); /* weak: the battery is discharged all the same */
        assert_false(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 0);
        assert_int_equal(t.source.lost_since_ns, t.tree.now_ns);
        assert_non_null(strstr(t.source.last_gap, "charger"));
        set(&t, "AC", "online", "0\n");
        assert_false(read_source(&t, SECOND));
        assert_true(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 20000000);
        teardown(&t);
    }
}

static void opening_on_mains_power_begins_with_a_gap(void **state)
{
    source_test t;
    setup(&t, "power");
    set(&t, "BAT0", "status", "Charging\n");
    must_open(&t, vd_source_battery_open, "");
    assert_int_equal(t.source.lost_since_ns, t.tree.now_ns);
    assert_non_null(strstr(t.source.last_gap, "Charging"));
    assert_false(read_source(&t, SECOND));
    set(&t, "BAT0", "status", "Discharging\n");
    assert_false(read_source(&t, SECOND));
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 20000000);
    teardown(&t);
}

static void of_two_batteries_one_may_wait(void **state)
{
    source_test t;
    setup(&t, "power");
    make_laptop(&t, "BAT1", "power");
    set(&t, "BAT1", "status", "Not charging\n");
    set(&t, "BAT1", "power_now", "0\n");
    must_open(&t, vd_source_battery_open, "");
    assert_string_equal(t.source.name, "battery: 2");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 20000000);
    set(&t, "BAT0", "status", "Unknown\n"); /* empty: the other takes over */
    set(&t, "BAT1", "status", "Discharging\n");
    set(&t, "BAT1", "power_now", "20000000\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 20000000);
    set(&t, "BAT0", "status", "Charging\n"); /* from the other: its loss is not seen */
    assert_false(read_source(&t, SECOND));
    teardown(&t);
}

static void a_gauge_that_is_broken_or_gone_is_a_gap(void **state)
{
    static const char *const bad[] = {"0\n", "twenty\n", "900000000\n"};
    for (size_t i = 0; i < 3; i++) {
        source_test t;
        setup(&t, "power");
        must_open(&t, vd_source_battery_open, "");
        set(&t, "BAT0", "power_now", bad[i]);
        assert_false(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_CPU], 0);
        take_away(&t, "class/power_supply/BAT0/power_now");
        assert_false(read_source(&t, SECOND));
        teardown(&t);
    }
}

static void a_machine_without_a_battery_says_so(void **state)
{
    source_test t;
    setup(&t, "power");
    must_fail(&t, vd_source_battery_open, "BAT7", VD_ERR_NOT_FOUND, "no battery BAT7");
    take_away(&t, "class/power_supply/BAT0/power_now");
    must_fail(&t, vd_source_battery_open, "", VD_ERR_UNSUPPORTED, "neither power nor energy");
    take_away(&t, "class/power_supply/BAT0/type");
    must_fail(&t, vd_source_battery_open, "", VD_ERR_NOT_FOUND, "no battery");
    teardown(&t);
}

static void opening_without_memory_is_a_status(void **state)
{
    source_test t;
    setup(&t, "charge");
    fail_each_allocation(&t, vd_source_battery_open, "");
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_is_integrated_while_it_is_discharged),
        cmocka_unit_test(without_power_the_level_counts),
        cmocka_unit_test(on_mains_power_nothing_is_known),
        cmocka_unit_test(beside_a_charger_a_battery_sees_only_a_part),
        cmocka_unit_test(opening_on_mains_power_begins_with_a_gap),
        cmocka_unit_test(of_two_batteries_one_may_wait),
        cmocka_unit_test(a_gauge_that_is_broken_or_gone_is_a_gap),
        cmocka_unit_test(a_machine_without_a_battery_says_so),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
