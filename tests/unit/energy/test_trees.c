/*
 * test_trees.c - the machines of the field as trees, one test each, with sums to the microjoule.
 *
 * Each names the kernel source file that makes the layout, or the published dump it follows. Zone
 * names and nesting are made by rapl_package_register_powercap of drivers/powercap/
 * intel_rapl_common.c, files by drivers/powercap/powercap_sys.c; docs:
 * Documentation/power/powercap/powercap.rst. The tree of a GPU without an energy counter is in
 * test_source_nvml.c. What else can happen to a counter is in test_meter.c.
 */
#include "fake_tree.h"

/* max_energy_range_uj of the dumps below: 2^32 units of 61.035 uJ, 15.3 uJ and 15.258 uJ. */
#define AMD_RANGE UINT64_C(65532610987)

static vd_reading moved(fake_tree *tree, vd_meter *meter)
{
    return read_after(tree, meter, SECOND);
}

/* Ranges and the order of sockets (the last package is the first zone) follow a published listing
 * of a Xeon with four sockets; rapl_cpu_online of drivers/powercap/intel_rapl_msr.c makes the
 * zones as CPUs come up. */
static void intel_server_with_two_sockets_and_two_zones_named_dram(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-1", PACKAGE_RANGE, UINT64_C(226618687799));
    zone_add(&tree, "intel-rapl:0:0", "dram", DRAM_RANGE, UINT64_C(60279115781));
    zone_add(&tree, "intel-rapl:1", "package-0", PACKAGE_RANGE, UINT64_C(181795825861));
    zone_add(&tree, "intel-rapl:1:0", "dram", DRAM_RANGE, UINT64_C(58966008642));
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", UINT64_C(226618687799) + 120000001);
    zone_set(&tree, "intel-rapl:0:0", UINT64_C(60279115781) + 9000002);
    zone_set(&tree, "intel-rapl:1", UINT64_C(181795825861) + 80000003);
    zone_set(&tree, "intel-rapl:1:0", UINT64_C(58966008642) + 7000004);
    vd_reading r = moved(&tree, meter);
    assert_false(r.gap);
    assert_string_equal(r.method, "rapl");
    assert_int_equal(r.uj[VD_PART_CPU], 200000004);
    assert_int_equal(r.uj[VD_PART_DRAM], 16000006);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* Core Ultra 7 265H as codecarbon documents it (docs, "RAPL metrics"): psys 6.66 W, package 3.85 W;
 * psys is a zone of its own beside the package (RAPL_DOMAIN_PLATFORM of intel_rapl_common.c). */
static void intel_laptop_with_psys(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1000);
    zone_add(&tree, "intel-rapl:0:0", "core", PACKAGE_RANGE, 100);
    zone_add(&tree, "intel-rapl:0:1", "uncore", PACKAGE_RANGE, 10);
    zone_add(&tree, "intel-rapl:1", "psys", PACKAGE_RANGE, 5000);
    for (int named = 0; named < 2; named++) {
        tree.spec = named ? "psys" : "rapl";
        vd_meter *meter = tree_meter(&tree);
        zone_set(&tree, "intel-rapl:0", 1000 + 3850000);
        zone_set(&tree, "intel-rapl:0:0", 100 + 900000);
        zone_set(&tree, "intel-rapl:0:1", 10 + 200000);
        zone_set(&tree, "intel-rapl:1", 5000 + 6660000);
        vd_reading r = moved(&tree, meter);
        assert_false(r.gap);
        assert_int_equal(r.uj[VD_PART_CPU], named ? 6660000 : 3850000); /* never 10.51 J */
        assert_int_equal(r.uj[VD_PART_DRAM], 0);
        vd_meter_close(meter);
        zone_set(&tree, "intel-rapl:0", 1000);
        zone_set(&tree, "intel-rapl:1", 5000);
    }
    tree_remove(&tree);
}

/* "psys-1" is what rapl_init_domains calls the platform zone of a further package. */
static void intel_server_with_a_psys_per_package(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&tree, "intel-rapl:1", "psys", PACKAGE_RANGE, 0);
    zone_add(&tree, "intel-rapl:2", "package-1", PACKAGE_RANGE, 0);
    zone_add(&tree, "intel-rapl:3", "psys-1", PACKAGE_RANGE, 0);
    tree.spec = "rapl";
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(use_of(&info, "intel-rapl:1"), VD_RAPL_WHOLE);
    assert_int_equal(use_of(&info, "intel-rapl:3"), VD_RAPL_WHOLE);
    zone_set(&tree, "intel-rapl:0", 11);
    zone_set(&tree, "intel-rapl:1", 1000);
    zone_set(&tree, "intel-rapl:2", 22);
    zone_set(&tree, "intel-rapl:3", 1000);
    assert_int_equal(moved(&tree, meter).uj[VD_PART_CPU], 33);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* Control type "intel-rapl" of intel_rapl_msr.c beside "intel-rapl-mmio" of drivers/thermal/intel/
 * int340x_thermal/processor_thermal_rapl.c: one register, shown twice. */
static void twins_by_registers_and_by_mapped_memory(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 70000);
    zone_add(&tree, "intel-rapl:0:0", "core", PACKAGE_RANGE, 30000);
    zone_add(&tree, "intel-rapl:0:1", "uncore", PACKAGE_RANGE, 2000);
    zone_add(&tree, "intel-rapl:0:2", "dram", DRAM_RANGE, 4000);
    zone_add(&tree, "intel-rapl-mmio:0", "package-0", PACKAGE_RANGE, 70000);
    zone_add(&tree, "intel-rapl-mmio:0:0", "dram", DRAM_RANGE, 4000);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 70000 + 15000000);
    zone_set(&tree, "intel-rapl-mmio:0", 70000 + 15000061); /* read a moment later */
    zone_set(&tree, "intel-rapl:0:2", 4000 + 900000);
    zone_set(&tree, "intel-rapl-mmio:0:0", 4000 + 900015);
    vd_reading r = moved(&tree, meter);
    assert_int_equal(r.uj[VD_PART_CPU], 15000000);
    assert_int_equal(r.uj[VD_PART_DRAM], 900000);
    assert_false(r.gap);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* Names, ranges and values as in a comment of codecarbon's RAPL reader. rapl_add_package of
 * intel_rapl_common.c makes a zone per die ("package-%d-die-%d"), while the register is one for
 * the socket; "perf/x86/rapl: Fix the energy-pkg event for AMD CPUs" (2024) tells it too. */
static void amd_zen_2_with_mirrored_dies(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0-die-0", AMD_RANGE, UINT64_C(10360237493));
    zone_add(&tree, "intel-rapl:0:0", "core", AMD_RANGE, 5);
    zone_add(&tree, "intel-rapl:1", "package-0-die-1", AMD_RANGE, UINT64_C(10359908363));
    zone_add(&tree, "intel-rapl:1:0", "core", AMD_RANGE, 6);
    tree.spec = "rapl";
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", UINT64_C(10360237493) + 68000000);
    zone_set(&tree, "intel-rapl:1", UINT64_C(10359908363) + 68000000);
    vd_reading r = moved(&tree, meter);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 68000000); /* 68 W, not 136 */
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* One package with `core`, and no counter of the memory: rapl_msr_priv_amd of intel_rapl_msr.c
 * ("powercap: Add AMD Fam17h RAPL support", 2020) has MSR_AMD_PKG_ENERGY_STATUS and
 * MSR_AMD_CORE_ENERGY_STATUS only. */
static void amd_zen_4_has_no_counter_of_the_memory(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", AMD_RANGE, UINT64_C(64930873566));
    zone_add(&tree, "intel-rapl:0:0", "core", AMD_RANGE, UINT64_C(31041919121));
    tree.spec = "rapl";
    vd_meter *meter = tree_meter(&tree);
    /* 700 J later the counter has wrapped: a quarter of Intel's range. */
    zone_set(&tree, "intel-rapl:0", UINT64_C(64930873566) + 700000000 - AMD_RANGE);
    vd_reading r = moved(&tree, meter);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 700000000);
    assert_int_equal(r.uj[VD_PART_DRAM], 0);
    assert_true(r.uncertainty_pct == 15); /* and it says so */
    vd_meter_close(meter);

    tree.spec = "auto"; /* where the model may fill in, the memory is modelled */
    meter = tree_meter(&tree);
    r = moved(&tree, meter);
    assert_string_equal(r.method, "rapl+model");
    assert_true(r.uj[VD_PART_DRAM] > 0);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* 65.5 kJ at 1.09 kW: the AMD range above under a full server's socket, read at 100 Hz and then
 * once in ten seconds. */
static void a_zone_that_wraps_every_minute(void **state)
{
    static const uint64_t steps[] = {SECOND / 100, 10 * SECOND};
    for (size_t k = 0; k < 2; k++) {
        fake_tree tree;
        tree_make(&tree);
        uint64_t uj = 12345, uw = AMD_RANGE / 60, sum = 0;
        zone_add(&tree, "intel-rapl:0", "package-0", AMD_RANGE, uj);
        tree.spec = "rapl";
        vd_meter *meter = tree_meter(&tree);
        size_t n_wraps = 0;
        for (uint64_t at = 0; at < 200 * SECOND; at += steps[k]) {
            uint64_t used = uw / 100 * (steps[k] / (SECOND / 100));
            sum += used;
            n_wraps += uj + used >= AMD_RANGE;
            uj = (uj + used) % AMD_RANGE;
            zone_set(&tree, "intel-rapl:0", uj);
            vd_reading r = read_after(&tree, meter, steps[k]);
            assert_false(r.gap);
            assert_int_equal(r.uj[VD_PART_CPU], sum);
        }
        assert_int_equal(n_wraps, 3);
        vd_meter_close(meter);
        tree_remove(&tree);
    }
}

/* energy_uj has mode 0400 since "powercap: restrict energy meter to root access" (Linux 5.10). */
static void counters_for_root_alone_are_eacces(void **state)
{
    fake_tree tree;
    make_server(&tree);
    tree.denied = "energy_uj";
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.why, VD_ERR_PERM);
    vd_reading r = moved(&tree, meter);
    assert_string_equal(r.method, "model"); /* a model, said as one, and no zero */
    assert_int_equal(r.uj[VD_PART_CPU], info.idle_uw[VD_PART_CPU]);
    assert_false(info.measured);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* Docker and containerd mask /sys/devices/virtual/powercap with an empty folder (MaskedPaths of
 * moby's oci/defaults.go): the links of class/powercap then lead nowhere. */
static void masked_by_a_container(void **state)
{
    fake_tree tree;
    char folder[128], link[192];
    tree_make(&tree);
    snprintf(folder, sizeof(folder), "%s/devices/virtual/powercap", tree.root);
    make_path(folder);
    snprintf(folder, sizeof(folder), "%s/class/powercap", tree.root);
    make_path(folder);
    static const char *const names[] = {"intel-rapl", "intel-rapl:0", "intel-rapl:0:0"};
    for (size_t i = 0; i < 3; i++) {
        char target[128];
        snprintf(link, sizeof(link), "%s/class/powercap/%s", tree.root, names[i]);
        snprintf(target, sizeof(target), "../../devices/virtual/powercap/intel-rapl/%s", names[i]);
        assert_int_equal(symlink(target, link), 0);
    }
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.why, VD_ERR_NOT_FOUND);
    assert_non_null(strstr(info.why_text, "container"));
    assert_int_equal(info.n_zones, 0);
    assert_int_equal(moved(&tree, meter).uj[VD_PART_CPU], info.idle_uw[VD_PART_CPU]);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* intel_rapl_common.c finds no RAPL in a guest and registers nothing, so there is no class. */
static void a_virtual_machine_with_nothing(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_int_equal(info.why, VD_ERR_NOT_FOUND);
    assert_non_null(strstr(info.why_text, "virtual machine"));
    vd_reading r = moved(&tree, meter);
    assert_string_equal(r.method, "model");
    assert_int_equal(r.uj[VD_PART_CPU], info.idle_uw[VD_PART_CPU]);
    assert_int_equal(r.uj[VD_PART_DRAM], info.idle_uw[VD_PART_DRAM]);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* rapl_cpu_down_prep of intel_rapl_msr.c takes a package's zones away with its last CPU. An open
 * descriptor then says ENODEV; here the files go, which is told apart by their link count. */
static void a_zone_that_disappears(void **state)
{
    fake_tree tree;
    make_server(&tree);
    tree.spec = "rapl";
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 1000 + 500);
    zone_set(&tree, "intel-rapl:1", 2000 + 300);
    assert_int_equal(moved(&tree, meter).uj[VD_PART_CPU], 800);
    zone_delete(&tree, "intel-rapl:1");
    zone_delete(&tree, "intel-rapl:1:1");
    zone_set(&tree, "intel-rapl:0", 1000 + 600);
    vd_reading r = moved(&tree, meter);
    assert_true(r.gap); /* unattributed, and the meter has what it could see */
    assert_int_equal(r.uj[VD_PART_CPU], 900);
    zone_set(&tree, "intel-rapl:1", 2000 + 300 + 4000); /* back: nothing of it is lost */
    zone_set(&tree, "intel-rapl:1:1", 80 + 5);
    r = moved(&tree, meter);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 4900);
    assert_int_equal(r.uj[VD_PART_DRAM], 5);
    zone_set(&tree, "intel-rapl:0", 1000 + 601);
    zone_set(&tree, "intel-rapl:1", 2000 + 300 + 4001);
    r = moved(&tree, meter);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 4902);
    assert_int_equal(info_of(meter).n_gaps, 2);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* A reset of the register (a suspended machine, a guest that was moved): rapl_read_data_raw of
 * intel_rapl_common.c shows what it reads, and a wrap would be 262 kJ in a second. */
static void a_counter_that_goes_back_without_a_wrap(void **state)
{
    fake_tree tree;
    make_server(&tree);
    vd_meter *meter = tree_meter(&tree);
    zone_set(&tree, "intel-rapl:0", 90000000);
    assert_int_equal(moved(&tree, meter).uj[VD_PART_CPU], 90000000 - 1000);
    zone_set(&tree, "intel-rapl:0", 7);
    zone_set(&tree, "intel-rapl:1", 2000 + 40);
    vd_reading r = moved(&tree, meter);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 90000000 - 1000 + 40);
    assert_non_null(strstr(info_of(meter).last_gap, "intel-rapl:0"));
    zone_set(&tree, "intel-rapl:0", 7 + 1234);
    r = moved(&tree, meter);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 90000000 - 1000 + 40 + 1234);
    vd_meter_close(meter);
    tree_remove(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intel_server_with_two_sockets_and_two_zones_named_dram),
        cmocka_unit_test(intel_laptop_with_psys),
        cmocka_unit_test(intel_server_with_a_psys_per_package),
        cmocka_unit_test(twins_by_registers_and_by_mapped_memory),
        cmocka_unit_test(amd_zen_2_with_mirrored_dies),
        cmocka_unit_test(amd_zen_4_has_no_counter_of_the_memory),
        cmocka_unit_test(a_zone_that_wraps_every_minute),
        cmocka_unit_test(counters_for_root_alone_are_eacces),
        cmocka_unit_test(masked_by_a_container),
        cmocka_unit_test(a_virtual_machine_with_nothing),
        cmocka_unit_test(a_zone_that_disappears),
        cmocka_unit_test(a_counter_that_goes_back_without_a_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
