/* test_remedy.c - what is advised where counters cannot be read. */
#include "fake_tree.h"

#include "energy/remedy.h"

static size_t remedies_of(fake_tree *tree, vd_remedy remedies[VD_REMEDIES_MAX])
{
    vd_meter *meter = tree_meter(tree);
    vd_meter_info info = info_of(meter);
    vd_meter_close(meter);
    return vd_remedies_find(&info, remedies);
}

static void counters_that_are_read_need_none(void **state)
{
    fake_tree tree;
    vd_remedy remedies[VD_REMEDIES_MAX];
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
    assert_int_equal(remedies_of(&tree, remedies), 0);
    tree_remove(&tree);
}

static void denied_counters_name_the_files_to_open(void **state)
{
    fake_tree tree;
    vd_remedy remedies[VD_REMEDIES_MAX];
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
    tree.denied = "energy_uj";
    assert_int_equal(remedies_of(&tree, remedies), 4);
    char expected[160];
    snprintf(expected, sizeof(expected), "sudo chmod a+r %s/class/powercap/*/energy_uj", tree.root);
    assert_string_equal(remedies[0].command, expected);
    assert_non_null(strstr(remedies[1].command, "/sys%p/energy_uj"));
    assert_non_null(strstr(remedies[1].command, "udevadm trigger"));
    assert_non_null(strstr(remedies[2].command, "verdant-meterd --group"));
    assert_non_null(strstr(remedies[3].command, "setcap cap_dac_read_search"));
    tree_file(&tree, "bus/event_source/devices/power/type", "9\n");
    assert_int_equal(remedies_of(&tree, remedies), 4);
    assert_non_null(strstr(remedies[3].command, "setcap cap_perfmon"));
    tree_remove(&tree);
}

static void a_masked_tree_gets_the_mounts_of_a_container(void **state)
{
    fake_tree tree;
    vd_remedy remedies[VD_REMEDIES_MAX];
    char path[128];
    tree_make(&tree);
    snprintf(path, sizeof(path), "%s/class/powercap/intel-rapl", tree.root);
    make_path(path);
    assert_int_equal(remedies_of(&tree, remedies), 2);
    assert_non_null(strstr(remedies[0].command, "VERDANT_SYSFS=/host"));
    /* The links of class/powercap lead to ../../devices: both lie under the same root. */
    assert_non_null(strstr(remedies[0].command, ":/host/class/powercap:ro"));
    assert_non_null(strstr(remedies[0].command, ":/host/devices/virtual/powercap:ro"));
    tree_remove(&tree);
}

static void without_a_tree_it_depends_on_whether_the_machine_is_virtual(void **state)
{
    vd_meter_info info = {.why = VD_ERR_NOT_FOUND, .powercap = "/nonexistent"};
    vd_remedy remedies[VD_REMEDIES_MAX];
    assert_int_equal(vd_remedies_find(&info, remedies), 1);
    assert_string_equal(remedies[0].command, "sudo modprobe intel_rapl_msr");
    info.machine.virtual_machine = true;
    assert_int_equal(vd_remedies_find(&info, remedies), 1);
    assert_string_equal(remedies[0].command, "");
    assert_non_null(strstr(remedies[0].what, "host"));
}

static void broken_counters_are_to_be_looked_at(void **state)
{
    fake_tree tree;
    vd_remedy remedies[VD_REMEDIES_MAX];
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
    zone_file(&tree, "intel-rapl:0", "energy_uj", "none\n");
    assert_int_equal(remedies_of(&tree, remedies), 1);
    assert_non_null(strstr(remedies[0].command, "grep"));
    tree_remove(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_that_are_read_need_none),
        cmocka_unit_test(denied_counters_name_the_files_to_open),
        cmocka_unit_test(a_masked_tree_gets_the_mounts_of_a_container),
        cmocka_unit_test(without_a_tree_it_depends_on_whether_the_machine_is_virtual),
        cmocka_unit_test(broken_counters_are_to_be_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
