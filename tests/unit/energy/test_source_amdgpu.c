/*
 * test_source_amdgpu.c - AMD GPUs by the files of their driver: drivers/gpu/drm/amd/pm/amdgpu_pm.c
 * of the kernel; the head of gpu_metrics as in drivers/gpu/drm/amd/include/kgd_pp_interface.h.
 */
#include "source_test.h"

#include "energy/sources/sources.h"

static void add_card(const source_test *t, const char *card, const char *vendor,
                     const char *power_file, const char *value)
{
    char path[200];
    snprintf(path, sizeof(path), "class/drm/%s/device/vendor", card);
    put(t, path, vendor);
    snprintf(path, sizeof(path), "class/drm/%s/device/hwmon/hwmon7/name", card);
    put(t, path, "amdgpu\n");
    snprintf(path, sizeof(path), "class/drm/%s/device/hwmon/hwmon7/%s", card, power_file);
    put(t, path, value);
}

static void set_metrics(const source_test *t, const char *card, char format)
{
    char path[200];
    const char head[] = {96, 1, format, 3, 0}; /* size, format, content; NUL ends it for put */
    snprintf(path, sizeof(path), "class/drm/%s/device/gpu_metrics", card);
    put(t, path, head);
}

/* A desktop: two boards, the graphics of the processor, a board of another make, outputs. */
static void make_desktop(source_test *t)
{
    *t = (source_test){0};
    tree_make(&t->tree);
    add_card(t, "card0", "0x1002\n", "power1_average", "100000000\n");
    set_metrics(t, "card0", 1);
    add_card(t, "card1", "0x1002\n", "power1_input", "50000000\n");
    set_metrics(t, "card1", 1);
    add_card(t, "card2", "0x1002\n", "power1_input", "15000000\n");
    set_metrics(t, "card2", 2);
    add_card(t, "card3", "0x8086\n", "power1_input", "77000000\n");
    add_card(t, "card0-DP-1", "0x1002\n", "power1_input", "88000000\n");
}

static void teardown(source_test *t)
{
    close_source(t);
    tree_remove(&t->tree);
}

static void the_power_of_boards_is_integrated_and_that_of_processors_is_not(void **state)
{
    source_test t;
    make_desktop(&t);
    must_open(&t, vd_source_amdgpu_open, "");
    assert_string_equal(t.source.name, "amdgpu: 2 GPUs");
    assert_string_equal(t.source.method, "amdgpu");
    assert_int_equal(t.source.parts, 1u << VD_PART_GPU);
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 150000000);
    put(&t, "class/drm/card0/device/hwmon/hwmon7/power1_average", "300000000\n");
    assert_true(read_source(&t, 50 * MS));
    assert_int_equal(t.uj[VD_PART_GPU], (200000000 + 50000000) / 20);
    put(&t, "class/drm/card0/device/hwmon/hwmon7/power1_average", "0\n");
    assert_false(read_source(&t, 50 * MS));
    assert_int_equal(t.uj[VD_PART_GPU], 2500000); /* of the other */
    assert_non_null(strstr(t.source.last_gap, "amdgpu card0 says 0 W"));
    teardown(&t);
}

static void an_energy_counter_goes_before_power(void **state)
{
    source_test t;
    make_desktop(&t);
    put(&t, "class/drm/card1/device/hwmon/hwmon7/energy1_input", "1000\n");
    must_open(&t, vd_source_amdgpu_open, "card1");
    put(&t, "class/drm/card1/device/hwmon/hwmon7/energy1_input", "70001000\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 70000000);
    put(&t, "class/drm/card1/device/hwmon/hwmon7/energy1_input", "12\n");
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 0);
    teardown(&t);
}

static void a_board_that_is_pulled_is_a_gap(void **state)
{
    source_test t;
    make_desktop(&t);
    must_open(&t, vd_source_amdgpu_open, "card0");
    take_away(&t, "class/drm/card0/device/hwmon/hwmon7/power1_average");
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.source.lost_since_ns, t.tree.now_ns);
    put(&t, "class/drm/card0/device/hwmon/hwmon7/power1_average", "100000000\n");
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.source.lost_since_ns, 0);
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 100000000);
    teardown(&t);
}

static void a_board_that_is_switched_off_draws_nothing_and_is_not_woken(void **state)
{
    source_test t;
    make_desktop(&t);
    put(&t, "class/drm/card0/device/power/runtime_status", "active\n");
    must_open(&t, vd_source_amdgpu_open, "card0");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 100000000);
    put(&t, "class/drm/card0/device/power/runtime_status", "suspended\n");
    put(&t, "class/drm/card0/device/hwmon/hwmon7/power1_average", "would wake it\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 50000000); /* from 100 W to nothing */
    for (int i = 0; i < 20; i++) {
        assert_true(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_GPU], 0);
    }
    put(&t, "class/drm/card0/device/power/runtime_status", "active\n");
    put(&t, "class/drm/card0/device/hwmon/hwmon7/power1_average", "100000000\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 50000000);
    teardown(&t);
}

static void what_cannot_be_measured_is_an_error(void **state)
{
    source_test t;
    make_desktop(&t);
    must_fail(&t, vd_source_amdgpu_open, "card2", VD_ERR_NOT_FOUND, "no AMD GPU called card2");
    must_fail(&t, vd_source_amdgpu_open, "card0+card9", VD_ERR_NOT_FOUND, "only 1");
    must_fail(&t, vd_source_amdgpu_open, "card", VD_ERR_NOT_FOUND, "no AMD GPU");
    must_fail(&t, vd_source_amdgpu_open, "+", VD_ERR_NOT_FOUND, "no AMD GPU");
    t.tree.denied = "power1_average";
    must_fail(&t, vd_source_amdgpu_open, "", VD_ERR_PERM, "chmod a+r");
    t.tree.denied = NULL;
    add_card(&t, "card4", "0x1002\n", "fan1_input", "900\n");
    must_fail(&t, vd_source_amdgpu_open, "", VD_ERR_UNSUPPORTED, "card4 shows neither");
    must_open(&t, vd_source_amdgpu_open, "card1+card0");
    teardown(&t);
    t = (source_test){0};
    tree_make(&t.tree);
    must_fail(&t, vd_source_amdgpu_open, "", VD_ERR_NOT_FOUND, "no graphics driver");
    teardown(&t);
}

static void opening_without_memory_is_a_status(void **state)
{
    source_test t;
    make_desktop(&t);
    fail_each_allocation(&t, vd_source_amdgpu_open, "");
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_power_of_boards_is_integrated_and_that_of_processors_is_not),
        cmocka_unit_test(an_energy_counter_goes_before_power),
        cmocka_unit_test(a_board_that_is_pulled_is_a_gap),
        cmocka_unit_test(a_board_that_is_switched_off_draws_nothing_and_is_not_woken),
        cmocka_unit_test(what_cannot_be_measured_is_an_error),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
