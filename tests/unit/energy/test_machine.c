/* test_machine.c - the model of a machine without a meter. */
#include "fake_tree.h"

#include <math.h>

/* Joules of the processor at a load for a time, by the meter's own curve. */
static double curve_j(const vd_meter_info *info, double load, double seconds)
{
    return seconds * vd_power_watts(&info->power, &(vd_power_point){.load = load});
}

static void the_model_follows_cpu_time_and_memory_and_loses_nothing(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    const vd_machine *m = &info.machine;
    tree.cpu_ns += SECOND / 2;
    vd_reading r = read_after(&tree, meter, SECOND);
    double cpu_j = curve_j(&info, 0.5 / m->n_cpu, 1);
    assert_true(cpu_j > curve_j(&info, 0, 1) && cpu_j < curve_j(&info, 1, 1));
    assert_true(fabs((double)r.uj[VD_PART_CPU] * 1e-6 - cpu_j) < 1e-4);
    double dram_j = (double)m->memory_bytes / 1e9 * 0.392;
    assert_true(fabs((double)r.uj[VD_PART_DRAM] * 1e-6 - dram_j) < 1e-4);

    /* In many short readings nothing is lost to rounding. */
    vd_reading from = r;
    for (int i = 0; i < 1000; i++)
        r = read_after(&tree, meter, SECOND / 1000);
    double joules = (double)(r.uj[VD_PART_CPU] - from.uj[VD_PART_CPU]) * 1e-6;
    assert_true(fabs(joules - curve_j(&info, 0, 1)) < 1e-4);
    assert_true(fabs(joules - (double)info.idle_uw[VD_PART_CPU] * 1e-6) < 1e-4);

    /* CPU time never exceeds what the machine has. */
    from = r;
    tree.cpu_ns += 100000 * SECOND;
    r = read_after(&tree, meter, SECOND);
    assert_true((double)(r.uj[VD_PART_CPU] - from.uj[VD_PART_CPU]) * 1e-6 <
                curve_j(&info, 1, 1) + 1e-3);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void figures_of_the_model_say_how_sure_they_are_in_two_parts(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    tree.cpu_ns += (uint64_t)(info.machine.n_cpu * (double)SECOND);
    vd_reading full = read_after(&tree, meter, SECOND);
    vd_power_estimate e;
    vd_power_predict(&info.power, &(vd_power_point){.load = 1}, &e);
    double cpu = (double)full.uj[VD_PART_CPU], dram = (double)full.uj[VD_PART_DRAM];
    assert_true(fabs(full.common_pct - (e.common_pct * cpu + 50 * dram) / (cpu + dram)) < 1e-6);
    assert_true(fabs(full.independent_pct - e.independent_pct * cpu / (cpu + dram)) < 1e-6);
    assert_true(full.common_pct > 0 && full.independent_pct > 0);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* The tree says a clock of `mhz` on each CPU, or, with 0, nothing. */
static void set_clocks(const fake_tree *tree, int mhz)
{
    for (int cpu = 0; cpu < 1024; cpu++) {
        char path[224];
        snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%d/cpufreq", tree->root, cpu);
        if (cpu == 0 || mhz > 0)
            make_path(path);
        snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq",
                 tree->root, cpu);
        FILE *f = fopen(path, "w");
        if (f == NULL)
            continue;
        fprintf(f, "%d\n", mhz * 1000);
        fclose(f);
    }
}

static void a_lower_clock_is_less_power_at_the_same_load(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    set_clocks(&tree, 2000);
    char path[224];
    snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu0/cpufreq/base_frequency", tree.root);
    FILE *f = fopen(path, "w");
    fputs("2000000\n", f);
    fclose(f);
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_true(info.machine.base_mhz == 2000);
    double joules[2];
    for (int i = 0; i < 2; i++) {
        set_clocks(&tree, i == 0 ? 2000 : 1000);
        vd_reading from = read_after(&tree, meter, SECOND);
        tree.cpu_ns += (uint64_t)(info.machine.n_cpu * (double)SECOND);
        vd_reading to = read_after(&tree, meter, SECOND);
        joules[i] = (double)(to.uj[VD_PART_CPU] - from.uj[VD_PART_CPU]) * 1e-6;
    }
    assert_true(fabs(joules[0] - curve_j(&info, 1, 1)) < 1e-4);
    vd_power_point half = {.load = 1, .clock = 0.5};
    assert_true(fabs(joules[1] - vd_power_watts(&info.power, &half)) < 1e-4);
    assert_true(joules[1] < 0.7 * joules[0]);
    vd_meter_close(meter);
    tree_remove(&tree);
}

static void the_nominal_clock_is_read_from_the_name(void **state)
{
    static const struct {
        const char *name;
        double mhz;
    } cases[] = {{"Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz", 2400},
                 {"Some CPU @ 800 MHz", 800},
                 {"Some CPU @2.5ghz", 2500},
                 {"AMD EPYC 7742 64-Core Processor", 0},
                 {"CPU @ ", 0},
                 {"CPU @ fastGHz", 0},
                 {"CPU @ -2GHz", 0},
                 {"CPU @ 1e9GHz", 0},
                 {"CPU @ nanGHz", 0},
                 {"@", 0},
                 {"", 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(fabs(vd_machine_name_mhz(cases[i].name) - cases[i].mhz) < 1e-9);
}

static void what_the_table_does_not_know_makes_the_base_less_sure(void **state)
{
    vd_machine m = {.n_cpu = 8};
    vd_power_base known, no_cores, no_clock, unknown, twice;
    vd_machine_family("GenuineIntel", 6, 0x55, "Intel(R) Xeon(R) Gold 6248 CPU", &m);
    m.base_mhz = m.family_mhz;
    m.cores_per_chip = m.family_cores;
    vd_machine_power_base(&m, &known);
    assert_true(fabs(known.full_w - 8 * m.full_w) < 1e-9 && known.sd < 1e-9);
    assert_true(fabs(known.idle_w - 8 * m.idle_w) < 1e-9);
    m.n_cpu = 16;
    vd_machine_power_base(&m, &twice);
    assert_true(fabs(twice.full_w - 2 * known.full_w) < 1e-9);

    /* Fewer and faster cores on a chip draw more each. */
    m.n_cpu = 8;
    m.cores_per_chip = m.family_cores / 4;
    m.base_mhz = 1.3 * m.family_mhz;
    vd_power_base small;
    vd_machine_power_base(&m, &small);
    assert_true(small.full_w > 1.5 * known.full_w);

    m.cores_per_chip = 0;
    vd_machine_power_base(&m, &no_cores);
    m.base_mhz = 0;
    vd_machine_power_base(&m, &no_clock);
    vd_machine_family("SomeOne", 1, 1, "", &m);
    vd_machine_power_base(&m, &unknown);
    assert_true(0 < no_cores.sd && no_cores.sd < no_clock.sd && no_clock.sd < unknown.sd);
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
    vd_meter_info info = info_of(meter);
    double joules = curve_j(&info, 1, 0.1);
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
        {"AuthenticAMD", 0x1a, 0x02, "AMD EPYC 9755", "EPYC 5th"},
        {"GenuineIntel", 6, 0x55, "Intel(R) Xeon(R) Platinum 8175M CPU", "Skylake"},
        {"GenuineIntel", 6, 0x55, "Intel(R) Xeon(R) Gold 6248 CPU", "Cascade Lake"},
        {"GenuineIntel", 6, 0x6a, "Intel(R) Xeon(R) Platinum 8375C", "Ice Lake"},
        {"GenuineIntel", 6, 0xa7, "Intel(R) Xeon(R) E-2378 CPU", "Rocket Lake"},
        {"GenuineIntel", 6, 0xaf, "Intel(R) Xeon(R) 6780E", "Sierra Forest"},
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
        cmocka_unit_test(the_model_follows_cpu_time_and_memory_and_loses_nothing),
        cmocka_unit_test(figures_of_the_model_say_how_sure_they_are_in_two_parts),
        cmocka_unit_test(a_lower_clock_is_less_power_at_the_same_load),
        cmocka_unit_test(the_nominal_clock_is_read_from_the_name),
        cmocka_unit_test(what_the_table_does_not_know_makes_the_base_less_sure),
        cmocka_unit_test(quotas_of_cgroups_make_the_machine_smaller),
        cmocka_unit_test(processors_are_told_apart_by_family_and_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
