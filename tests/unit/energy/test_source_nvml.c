/* test_source_nvml.c - NVIDIA GPUs, by a library that does as it is told (nvml_stub.c). */
#include "source_test.h"

#include "base/clock.h"
#include "energy/sources/sources.h"

static const char *stub_library(void)
{
    static char path[600];
    ssize_t n = readlink("/proc/self/exe", path, 500);
    assert_true(n > 0);
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    snprintf(slash, 100, "/unit/energy/nvml_stub.so");
    return path;
}

/* Lines of the stub's file: its behaviour from now on. */
static void stub_says(const source_test *t, const char *lines)
{
    put(t, "stub.tmp", lines);
    char from[128], to[128];
    snprintf(from, sizeof(from), "%s/stub.tmp", t->tree.root);
    snprintf(to, sizeof(to), "%s/stub", t->tree.root);
    assert_int_equal(rename(from, to), 0); /* whole at every moment, for threads */
    setenv("VERDANT_NVML_STUB", to, 1);
}

static void setup(source_test *t, const char *lines)
{
    *t = (source_test){0};
    tree_make(&t->tree);
    setenv("VERDANT_NVML_LIBRARY", stub_library(), 1);
    unsetenv("CUDA_VISIBLE_DEVICES");
    unsetenv("CUDA_DEVICE_ORDER");
    stub_says(t, lines);
}

static void teardown(source_test *t)
{
    close_source(t);
    tree_remove(&t->tree);
}

static void counters_of_two_gpus_are_added_up(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 300000 0\nGPU-bb H100 90 300000 0\n");
    must_open(&t, vd_source_nvml_open, "");
    assert_string_equal(t.source.method, "nvml");
    assert_string_equal(t.source.name, "nvml: 2 GPUs");
    assert_int_equal(t.source.parts, 1u << VD_PART_GPU);
    assert_int_equal(t.source.refresh_ns, 200 * MS);
    stub_says(&t, "0 1\nGPU-aa H100 5400 300000 0\nGPU-bb H100 93 300000 0\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 403000);
    assert_int_equal(t.uj[VD_PART_CPU] + t.uj[VD_PART_DRAM], 0);
    teardown(&t);
}

static void a_value_that_repeats_is_not_refreshed_yet_and_no_zero(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\n");
    must_open(&t, vd_source_nvml_open, "");
    assert_true(read_source(&t, 30 * MS)); /* no gap, and nothing invented */
    assert_int_equal(t.uj[VD_PART_GPU], 0);
    assert_true(read_source(&t, 60 * MS));
    stub_says(&t, "0 1\nGPU-aa H100 5070 1 0\n"); /* 70 J in 100 ms: all three intervals */
    assert_true(read_source(&t, 10 * MS));
    assert_int_equal(t.uj[VD_PART_GPU], 70000);

    for (int i = 0; i < 10; i++)
        assert_true(read_source(&t, SECOND));
    assert_false(read_source(&t, SECOND)); /* a GPU always draws something */
    assert_non_null(strstr(t.source.last_gap, "GPU 0 has stood still"));
    assert_int_equal(t.source.lost_since_ns, t.tree.now_ns);
    stub_says(&t, "0 1\nGPU-aa H100 6000 1 0\n");
    assert_false(read_source(&t, SECOND)); /* counted, but used when? */
    assert_int_equal(t.uj[VD_PART_GPU], 930000);
    assert_int_equal(t.source.lost_since_ns, 0);
    stub_says(&t, "0 1\nGPU-aa H100 6100 1 0\n");
    assert_true(read_source(&t, SECOND));
    teardown(&t);
}

static void a_gpu_without_an_energy_counter_is_integrated_over_its_power(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa P40 -3 50000 0\n"); /* NVML_ERROR_NOT_SUPPORTED: before Volta */
    must_open(&t, vd_source_nvml_open, "");
    assert_string_equal(t.source.method, "nvml-power");
    assert_string_equal(t.source.name, "nvml: 1 GPU, 1 by power");
    /* A ramp from 50 W to 250 W in one second, 20 samples: the trapezoids are exact. */
    uint64_t sum = 0;
    for (int i = 1; i <= 20; i++) {
        char line[80];
        snprintf(line, sizeof(line), "0 1\nGPU-aa P40 -3 %d 0\n", 50000 + i * 10000);
        stub_says(&t, line);
        assert_true(read_source(&t, 50 * MS));
        sum += t.uj[VD_PART_GPU];
    }
    assert_int_equal(sum, 150000000); /* (50 + 250) / 2 W x 1 s */
    assert_true(read_source(&t, SECOND / 2));
    assert_int_equal(t.uj[VD_PART_GPU], 125000000);
    /* A sine of 100 W around 200 W: its integral over whole periods is 200 W. */
    static const int watts[] = {200, 300, 200, 100};
    sum = 0;
    for (int i = 0; i < 400; i++) {
        char line[80];
        snprintf(line, sizeof(line), "0 1\nGPU-aa P40 -3 %d000 0\n", watts[i % 4]);
        stub_says(&t, line);
        assert_true(read_source(&t, 50 * MS));
        sum += t.uj[VD_PART_GPU];
    }
    assert_true(sum > 3990000000 && sum < 4010000000);
    teardown(&t);
}

static void no_microjoule_is_lost_between_many_small_steps(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa P40 -3 333 0\n"); /* 0.333 W */
    must_open(&t, vd_source_nvml_open, "");
    uint64_t sum = 0;
    for (int i = 0; i < 3000; i++) { /* 333 nJ each */
        assert_true(read_source(&t, 1000));
        sum += t.uj[VD_PART_GPU];
    }
    assert_int_equal(sum, 999);
    teardown(&t);
}

static void power_that_cannot_be_read_is_a_gap_and_no_zero(void **state)
{
    static const char *const bad[] = {"0", "-15", "-4", "-999", "9000000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        source_test t;
        char line[80];
        setup(&t, "0 1\nGPU-aa P40 -3 100000 0\n");
        must_open(&t, vd_source_nvml_open, "");
        snprintf(line, sizeof(line), "0 1\nGPU-aa P40 -3 %s 0\n", bad[i]);
        stub_says(&t, line);
        assert_false(read_source(&t, 50 * MS));
        assert_int_equal(t.uj[VD_PART_GPU], 0);
        assert_int_equal(t.source.lost_since_ns, t.tree.now_ns);
        stub_says(&t, "0 1\nGPU-aa P40 -3 100000 0\n");
        assert_false(read_source(&t, 50 * MS)); /* what lay between is not known */
        assert_int_equal(t.uj[VD_PART_GPU], 0);
        assert_int_equal(t.source.lost_since_ns, 0);
        assert_true(read_source(&t, 50 * MS));
        assert_int_equal(t.uj[VD_PART_GPU], 5000000);
        assert_false(read_source(&t, 3 * SECOND)); /* too long a step of the trapezoid */
        assert_non_null(strstr(t.source.last_gap, "was not read for 3.0 s"));
        teardown(&t);
    }
}

static void a_lost_gpu_comes_back_with_what_it_used(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\nGPU-bb H100 100 1 0\n");
    must_open(&t, vd_source_nvml_open, "");
    stub_says(&t, "0 1\nGPU-aa H100 5100 1 0\nGPU-bb H100 -15 1 0\n");
    assert_false(read_source(&t, SECOND));
    uint64_t lost_ns = t.tree.now_ns;
    assert_int_equal(t.uj[VD_PART_GPU], 100000); /* of the other */
    assert_non_null(strstr(t.source.last_gap, "GPU 1 cannot be read: GPU is lost"));
    assert_int_equal(t.source.lost_since_ns, lost_ns);
    stub_says(&t, "0 1\nGPU-aa H100 5200 1 0\nGPU-bb H100 -15 1 0\n");
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.source.lost_since_ns, lost_ns);
    stub_says(&t, "0 1\nGPU-aa H100 5300 1 0\nGPU-bb H100 400 1 0\n");
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 100000 + 300000);
    assert_int_equal(t.source.lost_since_ns, 0);
    teardown(&t);
}

static void a_reloaded_driver_begins_anew_and_adds_no_phantom(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\nGPU-bb H100 777 1 0\n");
    must_open(&t, vd_source_nvml_open, "1");
    assert_string_equal(t.source.name, "nvml: 1 GPU");
    stub_says(&t, "9 1\n"); /* NVML_ERROR_DRIVER_NOT_LOADED */
    for (int i = 0; i < 12; i++)
        assert_false(read_source(&t, SECOND));
    /* Back with another order of GPUs: it is known by its UUID. */
    stub_says(&t, "0 2\nGPU-bb H100 30 1 0\nGPU-aa H100 20 1 0\n");
    bool seen = false;
    for (int i = 0; i < 6 && !seen; i++) {
        seen = read_source(&t, SECOND);
        assert_int_equal(t.uj[VD_PART_GPU], 0);
    }
    assert_true(seen);
    assert_int_equal(t.source.lost_since_ns, 0);
    stub_says(&t, "0 2\nGPU-bb H100 55 1 0\nGPU-aa H100 90 1 0\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 25000);
    teardown(&t);
}

static void counters_that_jump_or_go_back_are_gaps(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\n");
    must_open(&t, vd_source_nvml_open, "");
    stub_says(&t, "0 1\nGPU-aa H100 99000000 1 0\n"); /* 99 kW */
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 0);
    assert_non_null(strstr(t.source.last_gap, "more than 3000 W"));
    assert_int_equal(t.source.lost_since_ns, 0); /* it can be read */
    stub_says(&t, "0 1\nGPU-aa H100 10 1 0\n");
    assert_false(read_source(&t, SECOND));
    assert_non_null(strstr(t.source.last_gap, "it was reset"));
    stub_says(&t, "0 1\nGPU-aa H100 13 1 0\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 3000);
    teardown(&t);
}

static void what_cannot_be_measured_is_an_error_with_a_reason(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\nGPU-bb K20 -3 -3 0\n");
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_UNSUPPORTED, "GPU 1 shows neither");
    must_fail(&t, vd_source_nvml_open, "7", VD_ERR_ARG, "no GPU \"7\"");
    must_fail(&t, vd_source_nvml_open, "0+x", VD_ERR_ARG, "no GPU \"x\"");
    must_fail(&t, vd_source_nvml_open, "-1", VD_ERR_ARG, "no GPU");
    stub_says(&t, "0 1\nGPU-aa H100 -4 1 0\n");
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_PERM, "may not be read");
    stub_says(&t, "0 1\nGPU-aa H100 -15 1 0\n");
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_IO, "GPU is lost");
    stub_says(&t, "0 1\n");
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_NOT_FOUND, "no GPU");
    stub_says(&t, "9 1\n");
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_NOT_FOUND, "cannot be used");
    stub_says(&t, "4 1\n");
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_PERM, "cannot be used");
    stub_says(&t, "18 1\n");
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_IO, "cannot be used");
    setenv("VERDANT_NVML_LIBRARY", "/nonexistent/libnvidia-ml.so.1", 1);
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_NOT_FOUND, "no NVIDIA driver");
    setenv("VERDANT_NVML_LIBRARY", "libc.so.6", 1);
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_IO, "has no nvmlInit_v2");
    teardown(&t);
}

static void the_gpus_of_this_process_are_counted(void **state)
{
    static const struct {
        const char *visible, *order, *spec, *models[2], *name;
    } cases[] = {
        {"1", NULL, "", {"H100", "H100"}, "nvml: 1 GPU"},
        {"0,1", NULL, "", {"H100", "H100"}, "nvml: 2 GPUs"},
        {"1,1", NULL, "", {"H100", "H100"}, "nvml: 1 GPU"},
        {"1,-1,0", NULL, "", {"H100", "H100"}, "nvml: 1 GPU"}, /* CUDA stops at the unknown */
        {"GPU-b", NULL, "", {"H100", "P40"}, "nvml: 1 GPU"},
        {"MIG-x", NULL, "", {"H100", "H100"}, "nvml: 1 GPU"}, /* the whole board */
        {"1", NULL, "", {"H100", "P40"}, "nvml: 2 GPUs"},     /* CUDA's order is not known */
        {"1", "PCI_BUS_ID", "", {"H100", "P40"}, "nvml: 1 GPU"},
        {"", NULL, "0", {"H100", "H100"}, "nvml: 1 GPU"}, /* the configuration goes first */
        {"", NULL, "0+GPU-b", {"H100", "H100"}, "nvml: 2 GPUs"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        source_test t;
        char lines[160];
        snprintf(lines, sizeof(lines), "0 1\nGPU-aa %s 5 1 0\nGPU-bb %s 5 1 0\n",
                 cases[i].models[0], cases[i].models[1]);
        setup(&t, lines);
        setenv("CUDA_VISIBLE_DEVICES", cases[i].visible, 1);
        if (cases[i].order != NULL)
            setenv("CUDA_DEVICE_ORDER", cases[i].order, 1);
        must_open(&t, vd_source_nvml_open, cases[i].spec);
        assert_string_equal(t.source.name, cases[i].name);
        teardown(&t);
    }
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5 1 0\nGPU-ab H100 5 1 0\n");
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_NOT_FOUND, "hides every GPU");
    setenv("CUDA_VISIBLE_DEVICES", "GPU-a", 1); /* the beginning of two names */
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_NOT_FOUND, "hides every GPU");
    teardown(&t);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static bool read_now(source_test *t)
{
    memset(t->uj, 0, sizeof(t->uj));
    return t->source.ops->read(&t->source, vd_now_ns(), t->uj);
}

static void a_slow_driver_holds_up_neither_readings_nor_the_end(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\n");
    vd_source_env env = env_of(&t, "");
    env.sample_in_read = false;
    env.now_ns = vd_now_ns();
    vd_err err = {0};
    assert_int_equal(vd_source_nvml_open(&env, &t.source, &err), VD_OK);
    stub_says(&t, "0 1\nGPU-aa H100 5123 1 0\n");
    uint64_t sum = 0, until_ns = vd_now_ns() + 20 * SECOND;
    while (sum == 0 && vd_now_ns() < until_ns) {
        sleep_ms(10);
        read_now(&t);
        sum += t.uj[VD_PART_GPU];
    }
    assert_int_equal(sum, 123000);

    stub_says(&t, "0 1\nGPU-aa H100 5123 1 3000\n"); /* a call now takes three seconds */
    bool seen = true;
    uint64_t longest_ns = 0;
    until_ns = vd_now_ns() + 20 * SECOND;
    while (seen && vd_now_ns() < until_ns) {
        sleep_ms(10);
        uint64_t begun_ns = vd_now_ns();
        seen = read_now(&t);
        longest_ns = vd_now_ns() - begun_ns > longest_ns ? vd_now_ns() - begun_ns : longest_ns;
    }
    assert_false(seen);
    assert_true(longest_ns < 1500 * MS); /* half of what the call takes */
    assert_non_null(strstr(t.source.last_gap, "no answer"));
    assert_true(t.source.lost_since_ns != 0);
    teardown(&t);
}

static void closing_wakes_the_thread(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\n");
    vd_source_env env = env_of(&t, "");
    env.sample_in_read = false;
    env.now_ns = vd_now_ns();
    vd_err err = {0};
    for (int i = 0; i < 50; i++) {
        assert_int_equal(vd_source_nvml_open(&env, &t.source, &err), VD_OK);
        close_source(&t);
    }
    assert_int_equal(vd_alloc_stats_get().n_live, 0);
    teardown(&t);
}

static void a_gpu_that_is_switched_off_draws_nothing_and_is_not_woken(void **state)
{
    static const char status[] = "bus/pci/devices/0000:3c:00.0/power/runtime_status";
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\nGPU-bb H100 100 1 0\n");
    put(&t, status, "active\n");
    must_open(&t, vd_source_nvml_open, "1");
    put(&t, status, "suspended\n");
    stub_says(&t, "0 1\nGPU-aa H100 5000 1 0\nGPU-bb H100 -999 1 0\n"); /* if it were asked */
    for (int i = 0; i < 20; i++) {
        assert_true(read_source(&t, SECOND));
        assert_int_equal(t.uj[VD_PART_GPU], 0);
    }
    put(&t, status, "active\n");
    stub_says(&t, "0 1\nGPU-aa H100 5000 1 0\nGPU-bb H100 103 1 0\n");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_GPU], 3000);
    teardown(&t);
}

static void the_meter_adds_the_gpu_to_the_host(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\n");
    zone_add(&t.tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1000);
    zone_add(&t.tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 70);
    vd_meter *meter = tree_meter(&t.tree);
    zone_set(&t.tree, "intel-rapl:0", 51000);
    zone_set(&t.tree, "intel-rapl:0:0", 75);
    stub_says(&t, "0 1\nGPU-aa H100 5300 1 0\n");
    vd_reading r = read_after(&t.tree, meter, SECOND);
    assert_string_equal(r.method, "rapl+nvml");
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 50000);
    assert_int_equal(r.uj[VD_PART_DRAM], 5);
    assert_int_equal(r.uj[VD_PART_GPU], 300000);
    assert_int_equal(info_of(meter).refresh_ns, 200 * MS);
    stub_says(&t, "0 1\nGPU-aa H100 -15 1 0\n");
    r = read_after(&t.tree, meter, SECOND);
    assert_true(r.gap);
    assert_non_null(strstr(info_of(meter).last_gap, "GPU is lost"));
    vd_meter_close(meter);

    unsetenv("VERDANT_NVML_LIBRARY"); /* another machine's /sys has not this machine's GPUs */
    must_fail(&t, vd_source_nvml_open, "", VD_ERR_NOT_FOUND, "no library of NVIDIA's");
    teardown(&t);
}

static void opening_without_memory_is_a_status(void **state)
{
    source_test t;
    setup(&t, "0 1\nGPU-aa H100 5000 1 0\n");
    fail_each_allocation(&t, vd_source_nvml_open, "");
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_of_two_gpus_are_added_up),
        cmocka_unit_test(a_value_that_repeats_is_not_refreshed_yet_and_no_zero),
        cmocka_unit_test(a_gpu_without_an_energy_counter_is_integrated_over_its_power),
        cmocka_unit_test(no_microjoule_is_lost_between_many_small_steps),
        cmocka_unit_test(power_that_cannot_be_read_is_a_gap_and_no_zero),
        cmocka_unit_test(a_lost_gpu_comes_back_with_what_it_used),
        cmocka_unit_test(a_reloaded_driver_begins_anew_and_adds_no_phantom),
        cmocka_unit_test(counters_that_jump_or_go_back_are_gaps),
        cmocka_unit_test(what_cannot_be_measured_is_an_error_with_a_reason),
        cmocka_unit_test(the_gpus_of_this_process_are_counted),
        cmocka_unit_test(a_slow_driver_holds_up_neither_readings_nor_the_end),
        cmocka_unit_test(closing_wakes_the_thread),
        cmocka_unit_test(a_gpu_that_is_switched_off_draws_nothing_and_is_not_woken),
        cmocka_unit_test(the_meter_adds_the_gpu_to_the_host),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
