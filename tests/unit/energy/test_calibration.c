/* test_calibration.c - calibrations as files: read strictly, fitted at once, never in the way. */
#include "fake_tree.h"

#include <math.h>

#include "base/alloc.h"
#include "base/json.h"
#include "energy/power/calibration.h"

static fake_tree home;
static const char *const folder = home.root;
static char file[160];

static int make_folder(void **state)
{
    tree_make(&home);
    snprintf(file, sizeof(file), "%s/c.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    tree_remove(&home);
    return 0;
}

static void put_text(const char *text)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define HEAD "{\"verdant_calibration\": 1, \"cpu_type\": \"Some CPU\", \"covers\": \"package\", "
#define POINTS                                                                                     \
    "\"points\": [{\"load\": 0, \"watts\": 10}, {\"load\": 0.5, \"watts\": 40}, "                  \
    "{\"load\": 1, \"watts\": 60}]"

static void a_file_written_by_hand_is_read(void **state)
{
    put_text(HEAD "\"threads\": 8, " POINTS "}");
    vd_calibration c = {0};
    assert_int_equal(vd_calibration_read(file, &c, NULL), VD_OK);
    assert_string_equal(c.cpu_type, "Some CPU");
    assert_false(c.wall);
    assert_true(c.threads == 8 && c.meter_pct == 5 && c.n == 3);
    assert_true(c.points[1].load == 0.5 && c.points[1].watts == 40 && c.points[1].clock == 0);
    vd_calibration_done(&c);
}

static void what_is_written_reads_back_the_same(void **state)
{
    vd_power_point points[] = {{0, 0, 0.5, 10.25}, {0.25, 1, 0.75, 31.5}, {1, 1, 1.1, 88.125}};
    vd_calibration c = {.cpu_type = "CPU \"with\" \xc3\xa9 / @ 2.40GHz",
                        .meter = "plug",
                        .made_at = "2026-11-28T04:00:00Z",
                        .wall = true,
                        .threads = 24,
                        .base_mhz = 2400,
                        .memory_gb = 16,
                        .meter_pct = 3,
                        .points = points,
                        .n = 3};
    char deep[192];
    snprintf(deep, sizeof(deep), "%s/new/folder/c.json", folder);
    assert_int_equal(vd_calibration_write(&c, deep, NULL), VD_OK);
    vd_calibration back = {0};
    assert_int_equal(vd_calibration_read(deep, &back, NULL), VD_OK);
    assert_string_equal(back.cpu_type, c.cpu_type);
    assert_string_equal(back.meter, c.meter);
    assert_string_equal(back.made_at, c.made_at);
    assert_true(back.wall && back.threads == 24 && back.memory_gb == 16 && back.meter_pct == 3);
    assert_int_equal(back.n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(fabs(back.points[i].load - points[i].load) < 1e-6);
        assert_true(fabs(back.points[i].watts - points[i].watts) < 1e-6);
        assert_true(fabs(back.points[i].clock - points[i].clock) < 1e-3);
    }
    vd_calibration_done(&back);
}

static void a_bad_file_is_refused_with_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "c.json"},
        {"{", "c.json"},
        {"[]", "no object"},
        {"{\"verdant_calibration\": 2}", "verdant_calibration"},
        {"{\"cpu_type\": \"x\"}", "\"verdant_calibration\" is missing"},
        {HEAD "\"threads\": 8, \"watt\": 3, " POINTS "}", "\"watt\" is not known"},
        {HEAD "\"threads\": 0, " POINTS "}", "threads"},
        {HEAD "\"threads\": \"8\", " POINTS "}", "no number"},
        {HEAD "\"threads\": 8}", "points"},
        {HEAD "\"threads\": 8, \"points\": {}}", "points"},
        {HEAD "\"threads\": 8, \"points\": [1, 2, 3]}", "point 1: it is no object"},
        {HEAD "\"threads\": 8, \"points\": [{\"load\": 0, \"watts\": 1}]}", "3 to 1024"},
        {HEAD "\"threads\": 8, \"meter_pct\": 101, " POINTS "}", "meter_pct"},
        {HEAD "\"threads\": 8, \"made_at\": \"a\\nb\", " POINTS "}", "control character"},
        {HEAD "\"threads\": 8, \"points\": [{\"load\": 0, \"watts\": 1}, "
              "{\"load\": 50, \"watts\": 2}, {\"load\": 1, \"watts\": 3}]}",
         "point 2: \"load\" is 50"},
        {HEAD "\"threads\": 8, \"points\": [{\"load\": 0, \"watts\": 1}, "
              "{\"load\": 1, \"watts\": 0}, {\"load\": 1, \"watts\": 3}]}",
         "point 2: \"watts\" is 0"},
        {HEAD "\"threads\": 8, \"points\": [{\"load\": 0, \"watts\": 1}, {\"load\": 1},"
              "{\"load\": 1, \"watts\": 3}]}",
         "point 2: \"watts\" is missing"},
        {HEAD "\"threads\": 8, \"points\": [{\"load\": 0.5, \"watts\": 1}, {\"load\": 0.5, "
              "\"watts\": 1}, {\"load\": 0.6, \"watts\": 3}]}",
         "make no curve"},
        {HEAD "\"threads\": 8, \"points\": [{\"load\": 0, \"watts\": 60}, {\"load\": 0.5, "
              "\"watts\": 40}, {\"load\": 1, \"watts\": 10}]}",
         "fall with the load"},
        {"{\"verdant_calibration\": 1, \"cpu_type\": \"\", \"covers\": \"package\", "
         "\"threads\": 8, " POINTS "}",
         "cpu_type"},
        {"{\"verdant_calibration\": 1, \"cpu_type\": \"x\", \"covers\": \"plug\", "
         "\"threads\": 8, " POINTS "}",
         "package or wall"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_text(cases[i].text);
        vd_calibration c = {.threads = 77};
        vd_err err = {0};
        assert_int_equal(vd_calibration_read(file, &c, &err), VD_ERR_FORMAT);
        if (strstr(err.message, cases[i].says) == NULL)
            fail_msg("case %zu: '%s' does not say '%s'", i, err.message, cases[i].says);
        assert_non_null(strstr(err.message, "c.json"));
        assert_true(c.threads == 77); /* untouched */
    }
    vd_calibration c;
    assert_int_not_equal(vd_calibration_read("/nowhere/c.json", &c, NULL), VD_OK);
    assert_int_not_equal(vd_calibration_read(folder, &c, NULL), VD_OK);
}

/* Every prefix and every flipped byte of a good file: an answer, and never more than that. */
static void a_damaged_file_never_does_harm(void **state)
{
    static const char good[] = HEAD "\"threads\": 8, \"base_mhz\": 2000, " POINTS "}";
    char text[sizeof(good)];
    vd_machine machine = {.n_cpu = 4};
    vd_machine_family("", 0, 0, "", &machine);
    for (size_t i = 0; i < 2 * sizeof(good) - 1; i++) {
        memcpy(text, good, sizeof(good));
        if (i < sizeof(good))
            text[i] = '\0';
        else
            text[i - sizeof(good)] ^= (char)(1 + i % 127);
        put_text(text);
        vd_calibration c = {0};
        if (vd_calibration_read(file, &c, NULL) != VD_OK)
            continue;
        vd_power power;
        if (vd_calibration_fit(&c, &machine, &power, NULL) == VD_OK) {
            vd_power_estimate e;
            vd_power_predict(&power, &(vd_power_point){.load = 0.5}, &e);
            assert_true(e.watts > 0 && isfinite(e.watts) && isfinite(e.pct));
        }
        vd_calibration_done(&c);
    }
}

static void a_calibrated_machine_is_surer_and_a_part_of_it_draws_its_part(void **state)
{
    put_text(HEAD "\"threads\": 8, " POINTS "}");
    vd_calibration c = {0};
    assert_int_equal(vd_calibration_read(file, &c, NULL), VD_OK);
    vd_machine machine = {.n_cpu = 8};
    vd_machine_family("", 0, 0, "", &machine);
    vd_power whole, half, virtual_one;
    assert_int_equal(vd_calibration_fit(&c, &machine, &whole, NULL), VD_OK);
    for (size_t i = 0; i < c.n; i++)
        assert_true(fabs(vd_power_watts(&whole, &c.points[i]) / c.points[i].watts - 1) < 0.12);
    machine.n_cpu = 4;
    assert_int_equal(vd_calibration_fit(&c, &machine, &half, NULL), VD_OK);
    assert_true(fabs(vd_power_watts(&whole, &(vd_power_point){.load = 0.7}) /
                         vd_power_watts(&half, &(vd_power_point){.load = 0.7}) -
                     2) < 1e-9);
    machine.virtual_machine = true;
    assert_int_equal(vd_calibration_fit(&c, &machine, &virtual_one, NULL), VD_OK);
    vd_power_estimate sure, unsure, guess;
    vd_power_predict(&half, &(vd_power_point){.load = 1}, &sure);
    vd_power_predict(&virtual_one, &(vd_power_point){.load = 1}, &unsure);
    vd_power_prior prior;
    vd_power_base base;
    vd_power prior_alone;
    vd_power_shipped(&prior);
    vd_machine_power_base(&machine, &base);
    vd_power_guess(&base, &prior, &prior_alone);
    vd_power_predict(&prior_alone, &(vd_power_point){.load = 1}, &guess);
    assert_true(sure.pct < unsure.pct && unsure.pct < guess.pct / 2);
    assert_true(sure.common_pct >= 5); /* its meter's error */
    vd_calibration_done(&c);
}

static void the_memory_of_a_whole_machine_is_taken_off(void **state)
{
    static const char head[] =
        "{\"verdant_calibration\": 1, \"cpu_type\": \"x\", \"covers\": \"wall\", \"threads\": 8, ";
    char text[512];
    snprintf(text, sizeof(text), "%s\"memory_gb\": 10, %s}", head, POINTS);
    put_text(text);
    vd_calibration c = {0};
    vd_machine machine = {.n_cpu = 8};
    vd_machine_family("", 0, 0, "", &machine);
    assert_int_equal(vd_calibration_read(file, &c, NULL), VD_OK);
    vd_power power;
    assert_int_equal(vd_calibration_fit(&c, &machine, &power, NULL), VD_OK);
    double full = vd_power_watts(&power, &(vd_power_point){.load = 1});
    assert_true(fabs(full / (60 - 3.92) - 1) < 0.12);
    vd_calibration_done(&c);

    snprintf(text, sizeof(text), "%s\"memory_gb\": 100, %s}", head, POINTS);
    put_text(text);
    vd_err err = {0};
    assert_int_equal(vd_calibration_read(file, &c, NULL), VD_OK);
    assert_int_equal(vd_calibration_fit(&c, &machine, &power, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "100 GB of memory"));
    vd_calibration_done(&c);
}

static void the_meter_takes_the_calibration_of_its_processor_and_says_so(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    setenv("VERDANT_HOME", folder, 1);
    unsetenv("VERDANT_CALIBRATION");
    vd_meter *meter = tree_meter(&tree);
    vd_meter_info info = info_of(meter);
    assert_false(info.calibrated);
    assert_string_equal(info.calibration, "");
    double by_prior = vd_power_watts(&info.power, &(vd_power_point){.load = 1});
    vd_meter_close(meter);

    double watts = 10 * by_prior;
    vd_power_point points[] = {
        {.load = 0, .watts = watts / 5}, {.load = 0.5, .watts = watts * 0.7}, {1, 1, 0, watts}};
    vd_calibration c = {.threads = info.machine.n_cpu, .meter_pct = 3, .points = points, .n = 3};
    snprintf(c.cpu_type, sizeof(c.cpu_type), "%.90s", info.machine.cpu);
    char *path = NULL;
    assert_int_equal(vd_calibration_path(c.cpu_type, &path, NULL), VD_OK);
    assert_null(strchr(strrchr(path, '/'), ' '));
    assert_int_equal(vd_calibration_write(&c, path, NULL), VD_OK);
    meter = tree_meter(&tree);
    info = info_of(meter);
    assert_true(info.calibrated);
    assert_non_null(strstr(info.calibration, path));
    assert_true(fabs(vd_power_watts(&info.power, &(vd_power_point){.load = 1}) / watts - 1) < 0.1);
    tree.cpu_ns += (uint64_t)(info.machine.n_cpu * (double)SECOND);
    vd_reading r = read_after(&tree, meter, SECOND);
    assert_true(fabs((double)r.uj[VD_PART_CPU] * 1e-6 / watts - 1) < 0.1);
    vd_meter_close(meter);

    /* One that is broken is said, and the prior serves. */
    FILE *f = fopen(path, "w");
    fputs("{\"verdant_calibration\": 1", f);
    fclose(f);
    meter = tree_meter(&tree);
    info = info_of(meter);
    assert_false(info.calibrated);
    assert_non_null(strstr(info.calibration, "no calibration: "));
    assert_true(fabs(vd_power_watts(&info.power, &(vd_power_point){.load = 1}) - by_prior) < 1e-9);
    vd_meter_close(meter);

    /* "none" looks at no file; a file named by the environment serves whatever type it is of. */
    setenv("VERDANT_CALIBRATION", "none", 1);
    meter = tree_meter(&tree);
    assert_string_equal(info_of(meter).calibration, "");
    vd_meter_close(meter);
    put_text(HEAD "\"threads\": 8, " POINTS "}");
    setenv("VERDANT_CALIBRATION", file, 1);
    meter = tree_meter(&tree);
    assert_true(info_of(meter).calibrated);
    vd_meter_close(meter);
    setenv("VERDANT_CALIBRATION", "/nowhere.json", 1);
    meter = tree_meter(&tree);
    info = info_of(meter);
    assert_false(info.calibrated);
    assert_non_null(strstr(info.calibration, "/nowhere.json"));
    vd_meter_close(meter);
    unsetenv("VERDANT_CALIBRATION");
    vd_free(path);
    tree_remove(&tree);
}

static void what_cannot_be_written_leaves_nothing(void **state)
{
    vd_power_point points[] = {{0, 0, 0, 10}, {0.5, 0, 0, 30}, {1, 0, 0, 50}};
    vd_calibration c = {.cpu_type = "x", .threads = 4, .points = points, .n = 3};
    vd_err err = {0};
    put_text("kept");
    char under[192];
    snprintf(under, sizeof(under), "%s/deeper/c.json", file); /* c.json is no folder */
    assert_int_not_equal(vd_calibration_write(&c, under, &err), VD_OK);
    assert_true(err.message[0] != '\0');
    assert_int_equal(vd_calibration_write(&c, "/dev/full", &err), VD_ERR_IO);
    /* What would be refused when it is read is not written. */
    points[2].watts = 1e30;
    assert_int_equal(vd_calibration_write(&c, file, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "point 3: \"watts\" is 1e+30"));
    points[2].watts = 50;
    static const char *const names[] = {"", "a\tb", "\xff\xfe"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(c.cpu_type, sizeof(c.cpu_type), "%s", names[i]);
        assert_int_equal(vd_calibration_write(&c, file, &err), VD_ERR_FORMAT);
    }
    snprintf(c.cpu_type, sizeof(c.cpu_type), "x");
    points[2].load = 0.1; /* no curve */
    points[1].load = 0.05;
    assert_int_equal(vd_calibration_write(&c, file, &err), VD_ERR_FORMAT);
    char text[16] = "";
    FILE *f = fopen(file, "r");
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    assert_string_equal(text, "kept");
}

static void short_memory_is_a_status_and_leaks_nothing(void **state)
{
    static const char good[] = HEAD "\"threads\": 8, " POINTS "}";
    vd_machine machine = {.n_cpu = 4};
    vd_machine_family("", 0, 0, "", &machine);
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        vd_calibration c = {0};
        vd_power power;
        vd_alloc_fail_at(k);
        vd_status st = vd_calibration_parse(good, sizeof(good) - 1, &c, NULL);
        if (st == VD_OK)
            st = vd_calibration_fit(&c, &machine, &power, NULL);
        vd_alloc_fail_at(0);
        vd_calibration_done(&c);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK) {
            assert_true(k > 10);
            break;
        }
        assert_int_equal(st, VD_ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_written_by_hand_is_read),
        cmocka_unit_test(what_is_written_reads_back_the_same),
        cmocka_unit_test(a_bad_file_is_refused_with_what_is_wrong),
        cmocka_unit_test(a_damaged_file_never_does_harm),
        cmocka_unit_test(a_calibrated_machine_is_surer_and_a_part_of_it_draws_its_part),
        cmocka_unit_test(the_memory_of_a_whole_machine_is_taken_off),
        cmocka_unit_test(the_meter_takes_the_calibration_of_its_processor_and_says_so),
        cmocka_unit_test(what_cannot_be_written_leaves_nothing),
        cmocka_unit_test(short_memory_is_a_status_and_leaks_nothing),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
