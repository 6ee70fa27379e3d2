/*
 * test_perf.c - RAPL by perf events, on a PMU whose counters are pipes. But for the tests of groups
 * it lets no event into one, so that each has a pipe of its own.
 *
 * Layout: arch/x86/events/rapl.c of the kernel (attribute groups of the PMU "power"), and
 * Documentation/ABI/testing/sysfs-bus-event_source-devices-events.
 */
#include "fake_tree.h"

#include <signal.h>

#include "base/alloc.h"

#define SCALE "2.3283064365386962890625e-10\n"
#define JOULE (UINT64_C(1) << 32)
enum { PKG = 2, RAM = 3, PSYS = 5, EVENTS_MAX = 16 };

typedef struct fake_pmu {
    fake_tree tree; /* first: its callbacks get this struct */
    struct {
        uint64_t code;
        int cpu, read_fd, write_fd;
        size_t n_members; /* of the group it leads; 0: it is a member itself */
    } event[EVENTS_MAX];
    size_t n_events;
    bool groups;
    uint64_t first_raw; /* what a counter shows when it is opened */
    int refuse;         /* errno of every opening, 0: none */
    uint64_t refuse_code; /* of this event alone, 0: of all */
    uint32_t type;
} fake_pmu;

/* What a group of `n` members reads next, in as many bytes. */
static void record_write(int fd, const uint64_t *raw, size_t n, size_t bytes)
{
    uint64_t record[1 + EVENTS_MAX] = {n};
    memcpy(record + 1, raw, n * sizeof(*raw));
    assert_int_equal(write(fd, record, bytes), bytes);
}

static void raw_write(int fd, uint64_t raw)
{
    record_write(fd, &raw, 1, 16);
}

/* Lets the newest event into the group of `leader_fd`, all of whose counters begin alike. */
static void join_group(fake_pmu *pmu, int leader_fd)
{
    uint64_t raw[EVENTS_MAX];
    for (size_t i = 0; i < EVENTS_MAX; i++)
        raw[i] = pmu->first_raw;
    for (size_t i = pmu->n_events - 1; i-- > 0;) /* the newest: descriptors are used again */
        if (pmu->event[i].read_fd == leader_fd && pmu->event[i].write_fd >= 0) {
            pmu->event[pmu->n_events - 1].n_members = 0;
            size_t n = ++pmu->event[i].n_members;
            record_write(pmu->event[i].write_fd, raw, n, (1 + n) * 8);
            return;
        }
    fail_msg("descriptor %d leads no group", leader_fd);
}

static int pmu_open(void *ctx, uint32_t type, uint64_t config, int cpu, int group)
{
    fake_pmu *pmu = ctx;
    if (group >= 0 && !pmu->groups) {
        errno = EINVAL;
        return -1;
    }
    if (pmu->refuse != 0 && (pmu->refuse_code == 0 || pmu->refuse_code == config)) {
        errno = pmu->refuse;
        return -1;
    }
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_true(pmu->n_events < EVENTS_MAX);
    pmu->event[pmu->n_events].code = config;
    pmu->event[pmu->n_events].cpu = cpu;
    pmu->event[pmu->n_events].read_fd = ends[0];
    pmu->event[pmu->n_events].n_members = 1;
    pmu->event[pmu->n_events++].write_fd = ends[1];
    pmu->type = type;
    if (group >= 0)
        join_group(pmu, group);
    else
        raw_write(ends[1], pmu->first_raw);
    return ends[0];
}

/* The pipe of an event: the newest, should it have been opened again. */
static int *pipe_of(fake_pmu *pmu, uint64_t code, int cpu)
{
    for (size_t i = pmu->n_events; i-- > 0;)
        if (pmu->event[i].code == code && pmu->event[i].cpu == cpu)
            return &pmu->event[i].write_fd;
    fail_msg("event %d of CPU %d is not open", (int)code, cpu);
    return NULL;
}

/* What the next reading of that counter will be. */
static void show(fake_pmu *pmu, uint64_t code, int cpu, uint64_t raw)
{
    raw_write(*pipe_of(pmu, code, cpu), raw);
}

static void pmu_event(fake_pmu *pmu, const char *name, unsigned code)
{
    char path[128], text[32];
    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s", name);
    snprintf(text, sizeof(text), "event=0x%02x\n", code);
    tree_file(&pmu->tree, path, text);
    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s.scale", name);
    tree_file(&pmu->tree, path, SCALE);
    snprintf(path, sizeof(path), "bus/event_source/devices/power/events/%s.unit", name);
    tree_file(&pmu->tree, path, "Joules\n");
}

static void pmu_cpu(fake_pmu *pmu, int cpu, int package, int die)
{
    char path[128], text[16];
    snprintf(path, sizeof(path), "devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    snprintf(text, sizeof(text), "%d\n", package);
    tree_file(&pmu->tree, path, text);
    snprintf(path, sizeof(path), "devices/system/cpu/cpu%d/topology/die_id", cpu);
    snprintf(text, sizeof(text), "%d\n", die);
    tree_file(&pmu->tree, path, text);
}

/* Two sockets, CPU 0 and CPU 28 speak for them; no powercap. */
static void pmu_make(fake_pmu *pmu)
{
    memset(pmu, 0, sizeof(*pmu));
    tree_make(&pmu->tree);
    tree_file(&pmu->tree, "bus/event_source/devices/power/type", "9\n");
    tree_file(&pmu->tree, "bus/event_source/devices/power/cpumask", "0,28\n");
    pmu_event(pmu, "energy-pkg", PKG);
    pmu_event(pmu, "energy-ram", RAM);
    pmu_event(pmu, "energy-cores", 1);
    pmu_cpu(pmu, 0, 0, 0);
    pmu_cpu(pmu, 28, 1, 0);
}

static void pmu_remove(fake_pmu *pmu)
{
    for (size_t i = 0; i < pmu->n_events; i++)
        close(pmu->event[i].write_fd);
    tree_remove(&pmu->tree);
}

static vd_status pmu_try(fake_pmu *pmu, const char *spec, vd_meter **ret_meter, vd_err *err)
{
    vd_meter_options options = {.sysfs = pmu->tree.root,
                                .spec = spec,
                                .now_ns = tree_now,
                                .cpu_ns = tree_cpu,
                                .open_file = tree_open,
                                .open_perf = pmu_open,
                                .ctx = pmu};
    return vd_meter_open(&options, ret_meter, err);
}

static vd_meter *pmu_meter(fake_pmu *pmu, const char *spec)
{
    vd_meter *meter = NULL;
    vd_err err = {0};
    assert_int_equal(pmu_try(pmu, spec, &meter, &err), VD_OK);
    return meter;
}

static void show_all(fake_pmu *pmu, uint64_t raw)
{
    for (size_t i = 0; i < pmu->n_events; i++)
        raw_write(pmu->event[i].write_fd, raw);
}

static void two_sockets_add_packages_and_memory_in_microjoules(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    pmu.first_raw = 12345;
    vd_meter *meter = pmu_meter(&pmu, "auto");
    vd_meter_info info = info_of(meter);
    assert_string_equal(info.source[0].name, "rapl by perf events");
    assert_string_equal(info.method, "rapl");
    assert_int_equal(info.n_zones, 4);
    assert_int_equal(pmu.type, 9);
    assert_int_equal(use_of(&info, "power:energy-pkg:28"), VD_RAPL_READ);
    assert_string_equal(info.zone[1].name, "package-1");
    show(&pmu, PKG, 0, 12345 + 3 * JOULE);
    show(&pmu, PKG, 28, 12345 + JOULE / 2);
    show(&pmu, RAM, 0, 12345 + JOULE / 4);
    show(&pmu, RAM, 28, 12345 + JOULE / 8);
    vd_reading r = read_after(&pmu.tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 3500000);
    assert_int_equal(r.uj[VD_PART_DRAM], 375000);
    assert_true(r.uncertainty_pct == 5);
    vd_meter_close(meter);
    pmu_remove(&pmu);
}

static void fractions_of_a_microjoule_are_never_lost(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    tree_file(&pmu.tree, "bus/event_source/devices/power/cpumask", "0\n");
    vd_meter *meter = pmu_meter(&pmu, "rapl-perf");
    uint64_t raw = 0;
    vd_reading r = {0};
    for (int i = 0; i < 1000; i++) { /* 1,433 counts are a third of a microjoule */
        raw += 1433;
        show_all(&pmu, raw);
        r = read_after(&pmu.tree, meter, SECOND);
    }
    assert_int_equal(r.uj[VD_PART_CPU], raw * 1000000 >> 32); /* 333 */
    assert_int_equal(r.uj[VD_PART_CPU], 333);
    vd_meter_close(meter);
    pmu_remove(&pmu);
}

static void a_count_past_64_bits_goes_on_and_one_that_goes_back_is_a_gap(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    tree_file(&pmu.tree, "bus/event_source/devices/power/cpumask", "0\n");
    pmu.first_raw = UINT64_MAX - JOULE + 1;
    vd_meter *meter = pmu_meter(&pmu, "rapl-perf");
    show_all(&pmu, JOULE);
    vd_reading r = read_after(&pmu.tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 2000000);
    show_all(&pmu, 0);
    r = read_after(&pmu.tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 2000000);
    show_all(&pmu, 3 * JOULE);
    r = read_after(&pmu.tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 5000000);
    vd_meter_close(meter);
    pmu_remove(&pmu);
}

static void a_reading_that_fails_is_a_gap_and_the_event_is_opened_anew(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    vd_meter *meter = pmu_meter(&pmu, "auto");
    show_all(&pmu, JOULE);
    assert_false(read_after(&pmu.tree, meter, SECOND).gap);
    show(&pmu, PKG, 0, 2 * JOULE);
    uint64_t raw = 2 * JOULE;
    record_write(*pipe_of(&pmu, PKG, 28), &raw, 1, 11); /* a short read */
    show(&pmu, RAM, 0, 2 * JOULE);
    show(&pmu, RAM, 28, 2 * JOULE);
    vd_reading r = read_after(&pmu.tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 3000000);
    assert_non_null(strstr(info_of(meter).last_gap, "power:energy-pkg:28"));
    show_all(&pmu, 3 * JOULE); /* nothing was lost, but when was it used? */
    r = read_after(&pmu.tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 6000000);
    show_all(&pmu, 4 * JOULE);
    assert_false(read_after(&pmu.tree, meter, SECOND).gap);

    close(*pipe_of(&pmu, PKG, 28)); /* the end of the file: the event is in error */
    *pipe_of(&pmu, PKG, 28) = -1;
    show(&pmu, PKG, 0, 5 * JOULE);
    show(&pmu, RAM, 0, 5 * JOULE);
    show(&pmu, RAM, 28, 5 * JOULE);
    r = read_after(&pmu.tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 9000000);
    for (int i = 6; i < 8; i++) { /* opened again, and back */
        show(&pmu, PKG, 0, (uint64_t)i * JOULE);
        show(&pmu, RAM, 0, (uint64_t)i * JOULE);
        show(&pmu, RAM, 28, (uint64_t)i * JOULE);
        if (i == 7)
            show(&pmu, PKG, 28, JOULE / 2);
        r = read_after(&pmu.tree, meter, SECOND);
        assert_true(r.gap);
    }
    assert_int_equal(r.uj[VD_PART_CPU], 11500000);
    show(&pmu, PKG, 0, 8 * JOULE);
    show(&pmu, PKG, 28, JOULE);
    show(&pmu, RAM, 0, 8 * JOULE);
    show(&pmu, RAM, 28, 8 * JOULE);
    r = read_after(&pmu.tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 13000000);
    vd_meter_close(meter);
    pmu_remove(&pmu);
}

/* What the package and the memory of that CPU show at the next reading. */
static void show_group(fake_pmu *pmu, int cpu, uint64_t package, uint64_t memory)
{
    uint64_t raw[] = {package, memory};
    record_write(*pipe_of(pmu, PKG, cpu), raw, 2, sizeof(raw) + 8);
}

static void one_reading_takes_all_counters_of_a_package(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    pmu.groups = true;
    pmu.first_raw = 777;
    vd_meter *meter = pmu_meter(&pmu, "auto");
    assert_int_equal(pmu.n_events, 4);
    for (int round = 1; round < 4; round++) {
        uint64_t raw = 777 + (uint64_t)round * JOULE;
        show_group(&pmu, 0, raw, raw);
        show_group(&pmu, 28, raw, 777 + (uint64_t)round * JOULE / 4);
        vd_reading r = read_after(&pmu.tree, meter, SECOND);
        assert_false(r.gap);
        assert_int_equal(r.uj[VD_PART_CPU], round * 2000000);
        assert_int_equal(r.uj[VD_PART_DRAM], round * 1250000);
    }
    char one; /* it asked each leader once, and no member by itself */
    for (size_t i = 0; i < pmu.n_events; i++) {
        assert_int_equal(pmu.event[i].n_members, pmu.event[i].code == PKG ? 2 : 0);
        assert_int_equal(read(pmu.event[i].read_fd, &one, 1), -1);
    }
    vd_meter_close(meter);
    pmu_remove(&pmu);
}

static void a_group_that_is_lost_is_opened_again_whole(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    pmu.groups = true;
    vd_meter *meter = pmu_meter(&pmu, "auto");
    show_group(&pmu, 0, JOULE, JOULE);
    close(*pipe_of(&pmu, PKG, 28)); /* in error, and its opening fails at first */
    *pipe_of(&pmu, PKG, 28) = -1;
    vd_reading r = read_after(&pmu.tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 1000000);
    pmu.refuse = ENODEV;
    pmu.refuse_code = RAM;
    show_group(&pmu, 0, 2 * JOULE, 2 * JOULE);
    assert_true(read_after(&pmu.tree, meter, SECOND).gap);
    pmu.refuse = 0;
    show_group(&pmu, 0, 3 * JOULE, 3 * JOULE);
    assert_true(read_after(&pmu.tree, meter, SECOND).gap); /* counts from here */
    show_group(&pmu, 0, 4 * JOULE, 4 * JOULE);
    show_group(&pmu, 28, JOULE, JOULE);
    assert_true(read_after(&pmu.tree, meter, SECOND).gap); /* is back */
    show_group(&pmu, 0, 5 * JOULE, 5 * JOULE);
    show_group(&pmu, 28, 3 * JOULE, 2 * JOULE);
    r = read_after(&pmu.tree, meter, SECOND);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 8000000);
    assert_int_equal(r.uj[VD_PART_DRAM], 7000000);
    vd_meter_close(meter);
    for (size_t i = 0; i < pmu.n_events; i++) /* all are closed: nobody is left at the other end */
        if (pmu.event[i].write_fd >= 0)
            assert_int_equal(write(pmu.event[i].write_fd, "x", 1), -1);
    pmu_remove(&pmu);
}

static void dies_of_amd_share_a_counter_and_those_of_intel_do_not(void **state)
{
    static const struct {
        const char *modalias;
        uint64_t uj;
        vd_rapl_use second;
    } cases[] = {
        {"cpu:type:x86,ven0002fam0017mod0031:feature:,0000\n", 1000000, VD_RAPL_TWIN},
        {"cpu:type:x86,ven0009fam0018mod0001:feature:,0000\n", 1000000, VD_RAPL_TWIN},
        {"cpu:type:x86,ven0000fam0006mod0055:feature:,0000\n", 2000000, VD_RAPL_READ},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_pmu pmu;
        pmu_make(&pmu);
        pmu_cpu(&pmu, 28, 0, 1);
        tree_file(&pmu.tree, "devices/system/cpu/modalias", cases[i].modalias);
        vd_meter *meter = pmu_meter(&pmu, "rapl-perf");
        vd_meter_info info = info_of(meter);
        assert_string_equal(info.zone[0].name, "package-0-die-0");
        assert_int_equal(use_of(&info, "power:energy-pkg:28"), cases[i].second);
        show_all(&pmu, JOULE);
        assert_int_equal(read_after(&pmu.tree, meter, SECOND).uj[VD_PART_CPU], cases[i].uj);
        vd_meter_close(meter);
        pmu_remove(&pmu);
    }
}

static void psys_by_perf_is_read_once_and_alone(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    pmu_event(&pmu, "energy-psys", PSYS);
    vd_meter *meter = pmu_meter(&pmu, "psys");
    assert_int_equal(pmu.n_events, 1);
    show(&pmu, PSYS, 0, 7 * JOULE);
    vd_reading r = read_after(&pmu.tree, meter, SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 7000000);
    assert_int_equal(r.uj[VD_PART_DRAM], 0);
    assert_string_equal(r.method, "psys");
    vd_meter_close(meter);
    pmu_remove(&pmu);
}

static void perf_and_powercap_are_held_against_each_other(void **state)
{
    fake_pmu pmu;
    vd_meter *meter;
    pmu_make(&pmu);
    zone_add(&pmu.tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
    zone_add(&pmu.tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 1);
    zone_add(&pmu.tree, "intel-rapl:1", "package-1", PACKAGE_RANGE, 1);
    zone_add(&pmu.tree, "intel-rapl:1:0", "dram", DRAM_RANGE, 1);
    meter = pmu_meter(&pmu, "auto"); /* they agree */
    assert_string_equal(info_of(meter).source[0].name, "rapl by perf events");
    assert_string_equal(info_of(meter).why_text, "");
    vd_meter_close(meter);

    pmu.tree.denied = "energy_uj"; /* powercap for root alone, perf events for us too */
    meter = pmu_meter(&pmu, "auto");
    assert_string_equal(info_of(meter).source[0].name, "rapl by perf events");
    assert_int_equal(info_of(meter).why, VD_OK);
    vd_meter_close(meter);

    pmu.refuse = EINVAL; /* perf events without memory, powercap with */
    pmu.refuse_code = RAM;
    pmu.tree.denied = NULL;
    meter = pmu_meter(&pmu, "auto");
    assert_string_equal(info_of(meter).source[0].name, "rapl by powercap");
    vd_meter_close(meter);
    tree_file(&pmu.tree, "bus/event_source/devices/power/events/energy-ram", "");
    meter = pmu_meter(&pmu, "auto");
    assert_string_equal(info_of(meter).source[0].name, "rapl by powercap");
    assert_non_null(strstr(info_of(meter).why_text, "other domains"));
    vd_meter_close(meter);
    pmu.tree.denied = "energy_uj"; /* no choice, but it is said */
    meter = pmu_meter(&pmu, "auto");
    assert_string_equal(info_of(meter).source[0].name, "rapl by perf events");
    assert_non_null(strstr(info_of(meter).why_text, "2 packages and 0 dram domains"));
    vd_meter_close(meter);
    pmu_remove(&pmu);
}

static void perf_events_that_are_not_allowed_leave_powercap_or_say_what_to_do(void **state)
{
    static const int refusals[] = {EACCES, EPERM};
    for (size_t i = 0; i < 2; i++) {
        fake_pmu pmu;
        vd_meter *meter;
        vd_err err = {0};
        pmu_make(&pmu);
        pmu.refuse = refusals[i];
        assert_int_equal(pmu_try(&pmu, "rapl-perf", &meter, &err), VD_ERR_PERM);
        assert_non_null(strstr(err.message, "CAP_PERFMON"));
        assert_int_equal(pmu_try(&pmu, "rapl", &meter, &err), VD_ERR_PERM);
        zone_add(&pmu.tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
        meter = pmu_meter(&pmu, "rapl");
        assert_string_equal(info_of(meter).source[0].name, "rapl by powercap");
        vd_meter_close(meter);
        pmu.tree.denied = "energy_uj";
        meter = pmu_meter(&pmu, "auto");
        vd_meter_info info = info_of(meter);
        assert_string_equal(info.method, "model");
        assert_int_equal(info.why, VD_ERR_PERM);
        assert_non_null(strstr(info.why_text, "root only"));
        assert_non_null(strstr(info.why_text, "perf_event_paranoid"));
        vd_meter_close(meter);
        pmu_remove(&pmu);
    }
}

static void malformed_files_of_the_pmu_are_no_meter(void **state)
{
    static const struct {
        const char *file, *text;
    } cases[] = {
        {"type", ""}, {"type", "nine\n"}, {"type", "99999999999\n"}, {"cpumask", ""},
        {"cpumask", "a\n"}, {"cpumask", "0-\n"}, {"cpumask", "3-1\n"}, {"cpumask", "0;1\n"},
        {"cpumask", "0-4096\n"}, {"cpumask", "-1\n"}, {"events/energy-pkg", "event=2\n"},
        {"events/energy-pkg", "event=0x\n"}, {"events/energy-pkg", "event=0x2,umask=1\n"},
        {"events/energy-pkg.unit", "Watts\n"}, {"events/energy-pkg.scale", "0\n"},
        {"events/energy-pkg.scale", "-1\n"}, {"events/energy-pkg.scale", "nan\n"},
        {"events/energy-pkg.scale", "1e3\n"}, {"events/energy-pkg.scale", "1e-10x\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_pmu pmu;
        vd_meter *meter = NULL;
        vd_err err = {0};
        char path[128];
        pmu_make(&pmu);
        snprintf(path, sizeof(path), "bus/event_source/devices/power/%s", cases[i].file);
        tree_file(&pmu.tree, path, cases[i].text);
        assert_int_equal(pmu_try(&pmu, "rapl-perf", &meter, &err), VD_ERR_FORMAT);
        assert_null(meter);
        zone_add(&pmu.tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
        meter = pmu_meter(&pmu, "rapl");
        assert_string_equal(info_of(meter).source[0].name, "rapl by powercap");
        vd_meter_close(meter);
        pmu_remove(&pmu);
    }
}

static void short_memory_at_any_moment_leaves_nothing_behind(void **state)
{
    fake_pmu pmu;
    pmu_make(&pmu);
    zone_add(&pmu.tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k < 20; k++) {
        vd_meter *meter = NULL;
        vd_err err = {0};
        for (size_t i = 0; i < pmu.n_events; i++)
            close(pmu.event[i].write_fd);
        pmu.n_events = 0;
        vd_alloc_fail_at(k);
        if (pmu_try(&pmu, "auto", &meter, &err) == VD_OK)
            vd_meter_close(meter);
        vd_alloc_fail_at(0);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    pmu_remove(&pmu);
}

/* The system call itself: a software event stands in for the PMU, one "joule" a second and CPU. */
static void the_kernel_s_own_counters_are_read_where_it_allows_them(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    tree_file(&tree, "bus/event_source/devices/power/type", "1\n"); /* PERF_TYPE_SOFTWARE */
    tree_file(&tree, "bus/event_source/devices/power/cpumask", "0\n");
    tree_file(&tree, "bus/event_source/devices/power/events/energy-pkg", "event=0x00\n");
    tree_file(&tree, "bus/event_source/devices/power/events/energy-pkg.scale", "1e-9\n");
    tree_file(&tree, "bus/event_source/devices/power/events/energy-pkg.unit", "Joules\n");
    tree_file(&tree, "bus/event_source/devices/power/events/energy-ram", "event=0x01\n");
    tree_file(&tree, "bus/event_source/devices/power/events/energy-ram.scale", "1e-9\n");
    tree_file(&tree, "bus/event_source/devices/power/events/energy-ram.unit", "Joules\n");
    vd_meter_options options = {.sysfs = tree.root, .spec = "rapl-perf"};
    vd_meter *meter = NULL;
    vd_err err = {0};
    vd_status st = vd_meter_open(&options, &meter, &err);
    if (st != VD_OK) {
        tree_remove(&tree);
        print_message("skipped: %s\n", err.message);
        skip();
    }
    vd_reading from, to;
    vd_meter_read(meter, &from);
    usleep(20000);
    vd_meter_read(meter, &to);
    double seconds = (double)(to.at_ns - from.at_ns) * 1e-9;
    double joules = (double)(to.uj[VD_PART_CPU] - from.uj[VD_PART_CPU]) * 1e-6;
    assert_true(joules > seconds * 0.5 && joules < seconds * 2);
    assert_false(to.gap);
    assert_int_equal(info_of(meter).n_zones, 2);
    vd_meter_close(meter);
    tree_remove(&tree);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sockets_add_packages_and_memory_in_microjoules),
        cmocka_unit_test(fractions_of_a_microjoule_are_never_lost),
        cmocka_unit_test(a_count_past_64_bits_goes_on_and_one_that_goes_back_is_a_gap),
        cmocka_unit_test(a_reading_that_fails_is_a_gap_and_the_event_is_opened_anew),
        cmocka_unit_test(one_reading_takes_all_counters_of_a_package),
        cmocka_unit_test(a_group_that_is_lost_is_opened_again_whole),
        cmocka_unit_test(dies_of_amd_share_a_counter_and_those_of_intel_do_not),
        cmocka_unit_test(psys_by_perf_is_read_once_and_alone),
        cmocka_unit_test(perf_and_powercap_are_held_against_each_other),
        cmocka_unit_test(perf_events_that_are_not_allowed_leave_powercap_or_say_what_to_do),
        cmocka_unit_test(malformed_files_of_the_pmu_are_no_meter),
        cmocka_unit_test(short_memory_at_any_moment_leaves_nothing_behind),
        cmocka_unit_test(the_kernel_s_own_counters_are_read_where_it_allows_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
