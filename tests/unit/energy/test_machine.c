/* test_machine.c - the model of a machine without a meter. */
#include "fake_tree.h"

#include <math.h>

static void the_model_adds_idle_power_memory_and_cpu_time(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    const vd_machine *m = &info.machine;
    tree.cpu_ns += SECOND / 2;
    vd_reading r = read_after(&tree, meter, SECOND);
    double cpu_j = m->n_cpu * m->idle_w + 0.5 * (m->full_w - m->idle_w);
    assert_true(fabs((double)r.uj[VD_PART_CPU] * 1e-6 - cpu_j) < 1e-4);
    double dram_j = (double)m->memory_bytes / 1e9 * 0.392;
    assert_true(fabs((double)r.uj[VD_PART_DRAM] * 1e-6 - dram_j) < 1e-4);

    /* In many short readings nothing is lost to rounding. */
    vd_reading from = r;
    for (int i = 0; i < 1000; i++)
        r = read_after(&tree, meter, SECOND / 1000);
    double watts = (double)(r.uj[VD_PART_CPU] - from.uj[VD_PART_CPU]) * 1e-6;
    assert_true(fabs(watts - m->n_cpu * m->idle_w) < 1e-4);

    /* CPU time never exceeds what the machine has. */
    from = r;
    tree.cpu_ns += 100000 * SECOND;
    r = read_after(&tree, meter, SECOND);
    assert_true((double)(r.uj[VD_PART_CPU] - from.uj[VD_PART_CPU]) * 1e-6 <
                m->n_cpu * m->full_w + 1e-3);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void quotas_of_cgroups_make_the_machine_smaller(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    char path[160];
    snprintf(path, sizeof(path), "%s/fs/cgroup", tree.root);
    make_path(path);
    snprintf(path, sizeof(path), "%s/fs/cgroup/cpu.max", tree.root);
    FILE *f = fopen(path, "w");
    fputs("50000 100000\n", f);
    fclose(f);
    snprintf(path, sizeof(path), "%s/fs/cgroup/memory.max", tree.root);
    f = fopen(path, "w");
    fputs("100000000\n", f);
    fclose(f);
    vd_machine machine;
    vd_machine_find(tree.root, &machine);
    assert_true(machine.n_cpu == 0.5);
    assert_int_equal(machine.memory_bytes, 100000000);

    /* Under half a CPU's quota: 50 ms on two CPUs at once, then the scheduler takes its time. */
    vd_meter *meter = tree_meter(&tree);
    uint64_t before = read_after(&tree, meter, 0).uj[VD_PART_CPU];
    tree.cpu_ns += SECOND / 20;
    read_after(&tree, meter, SECOND / 40);
    vd_reading r = read_after(&tree, meter, SECOND / 10 - SECOND / 40);
    double joules = 0.1 * 0.5 * machine.idle_w + 0.05 * (machine.full_w - machine.idle_w);
    assert_true(fabs((double)(r.uj[VD_PART_CPU] - before) * 1e-6 - joules) < 1e-5);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void processors_are_told_apart_by_family_and_model(void **state)
{
    static const struct {
        const char *vendor;
        int family, model;
        const char *name, *expected;
    } cases[] = {
        {"AuthenticAMD", 0x17, 0x01, "AMD EPYC 7551", "EPYC 1st"},
        {"AuthenticAMD", 0x17, 0x31, "AMD EPYC 7742", "EPYC 2nd"},
        {"AuthenticAMD", 0x19, 0x01, "AMD EPYC 7763", "EPYC 3rd"},
        {"AuthenticAMD", 0x19, 0x11, "AMD EPYC 9654", "EPYC 4th"},
        {"AuthenticAMD", 0x1a, 0x02, "AMD EPYC 9755", "EPYC 4th"},
        {"GenuineIntel", 6, 0x55, "Intel(R) Xeon(R) Platinum 8175M CPU", "Skylake"},
        {"GenuineIntel", 6, 0x55, "Intel(R) Xeon(R) Gold 6248 CPU", "Cascade Lake"},
        {"GenuineIntel", 6, 0x6a, "Intel(R) Xeon(R) Platinum 8375C", "Ice Lake"},
        {"GenuineIntel", 6, 0x8f, "Intel(R) Xeon(R) Platinum 8481C", "Sapphire Rapids"},
        {"0x41", 0, 0, "", "Neoverse"},
        {"GenuineIntel", 6, 0xffff, "", "unknown"},
        {"SomeOne", 1, 1, "", "unknown"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vd_machine machine = {0};
        vd_machine_family(cases[i].vendor, cases[i].family, cases[i].model, cases[i].name,
                          &machine);
        assert_non_null(strstr(machine.family, cases[i].expected));
        assert_true(machine.idle_w > 0 && machine.full_w > machine.idle_w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_adds_idle_power_memory_and_cpu_time),
        cmocka_unit_test(quotas_of_cgroups_make_the_machine_smaller),
        cmocka_unit_test(processors_are_told_apart_by_family_and_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
