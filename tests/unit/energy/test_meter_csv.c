/* test_meter_csv.c - times as meters write them, short memory, and the join's arithmetic. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "energy/power/load_csv.h"
#include "energy/power/meter_csv.h"

static void times_of_all_kinds_are_seconds_since_1970(void **state)
{
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    static const struct {
        const char *text;
        double s; /* < 0: no time */
        bool local;
    } cases[] = {
        {"1790000000", 1790000000, false},
        {"1790000000.25", 1790000000.25, false},
        {"1790000000250", 1790000000.25, false},
        {"1790000000250000", 1790000000.25, false},
        {"1790000000250000000", 1790000000.25, false},
        {"2026-11-28T04:05:06Z", 1795838706, false},
        {"2026-11-28 04:05:06.5Z", 1795838706.5, false},
        {"2026-11-28t04:05Z", 1795838700, false},
        {"2026-11-28T05:05:06+01:00", 1795838706, false},
        {"2026-11-28T05:05:06+0100", 1795838706, false},
        {"2026-11-28T05:05:06 +01", 1795838706, false},
        {"2026-11-27T22:35:06-05:30", 1795838706, false},
        {"2026-11-28T04:05:06 UTC", 1795838706, false},
        {"2026-11-28 05:05:06", 1795838706, true}, /* winter there */
        {"2026-07-01 02:00:00", 1782864000, true}, /* summer */
        {"", -1, false},
        {"0", -1, false},
        {"-5", -1, false},
        {"nan", -1, false},
        {"1e300", -1, false},
        {"28.11.2026 05:05", -1, false},
        {"2026-13-01T00:00Z", -1, false},
        {"2026-11-28T24:61:00Z", -1, false},
        {"2026-11-28T04:05:06+25:00", -1, false},
        {"2026-11-28T04:05:06+01:00x", -1, false},
        {"2026-11-28T04:05:xZ", -1, false},
        {"2026-11-28", -1, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double s = -1;
        bool local = false;
        bool is = vd_recording_time(cases[i].text, &s, &local);
        if (is != (cases[i].s >= 0) || (is && fabs(s - cases[i].s) > 1e-3) ||
            (is && local != cases[i].local))
            fail_msg("'%s' gives %d %.3f %d", cases[i].text, is, s, local);
    }
    unsetenv("TZ");
    tzset();
}

static const char meter_text[] = "time,power\n1790000000,50\n1790000001,51\n1790000002,52\n",
                  loads_text[] = "load,watts\n0,10\n50,20\n100,30\n";

static vd_status read_both(vd_sheet *sheet, vd_recording *recording, vd_err *err)
{
    char *text = vd_strdup(meter_text);
    if (text == NULL)
        return VD_ERR_NOMEM;
    vd_status st = vd_sheet_parse(text, strlen(text), "m.csv", sheet, err);
    return st == VD_OK ? vd_recording_take(sheet, &(vd_recording_options){0}, recording, err) : st;
}

static void short_memory_is_a_status_and_leaks_nothing(void **state)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        vd_sheet sheet = {0};
        vd_recording recording = {0};
        vd_alloc_fail_at(k);
        vd_status st = read_both(&sheet, &recording, NULL);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        assert_int_equal(recording.n, st == VD_OK ? 3 : 0);
        vd_recording_done(&recording);
        vd_sheet_done(&sheet);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK) {
            assert_true(k > 4);
            break;
        }
    }
}

static void a_table_of_loads_reads_back_what_was_put(void **state)
{
    vd_load_step step[3] = {
        {.begin_s = 1790000000, .end_s = 1790000010, .at = {.load = 0, .clock = 0.5}},
        {.begin_s = 1790000010,
         .end_s = 1790000020.5,
         .at = {.load = 0.3, .spread = 0.5, .clock = 1}},
        {.begin_s = 1790000021, .end_s = 1790000030, .at = {.load = 1, .spread = 1, .clock = 1.1}}};
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    vd_load_csv_put(f, step, 3, 2000);
    fclose(f);
    char *owned = vd_strdup(text);
    free(text);
    vd_sheet sheet = {0};
    vd_load_step back[3];
    size_t n = 0;
    assert_int_equal(vd_sheet_parse(owned, size, "l.csv", &sheet, NULL), VD_OK);
    assert_int_equal(vd_load_csv_take(&sheet,
                                      &(vd_load_csv_options){.times = true, .base_mhz = 2000}, back,
                                      3, &n, NULL),
                     VD_OK);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(fabs(back[i].begin_s - step[i].begin_s) < 1e-3);
        assert_true(fabs(back[i].end_s - step[i].end_s) < 1e-3);
        assert_true(fabs(back[i].at.load - step[i].at.load) < 1e-6);
        assert_true(fabs(back[i].at.spread - step[i].at.spread) < 1e-6);
        assert_true(fabs(back[i].at.clock - step[i].at.clock) < 1e-3);
    }
    vd_sheet_done(&sheet);

    /* More rows than there is room for are refused, and percent is seen by the values. */
    vd_err err = {0};
    owned = vd_strdup(loads_text);
    assert_int_equal(vd_sheet_parse(owned, strlen(owned), "l.csv", &sheet, NULL), VD_OK);
    vd_load_csv_options watts = {.watts = true};
    assert_int_equal(vd_load_csv_take(&sheet, &watts, back, 2, &n, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "1 to 2"));
    assert_int_equal(vd_load_csv_take(&sheet, &watts, back, 3, &n, &err), VD_OK);
    assert_true(back[1].at.load == 0.5 && back[1].at.watts == 20);
    vd_sheet_done(&sheet);
}

/* The watts of each step are those of its own last three quarters, whatever the clocks say. */
static void steps_get_the_mean_of_their_rows(void **state)
{
    enum { STEPS = 6, SECONDS = 20 };
    static const double loads[STEPS] = {0, 0.2, 0.6, 1, 0.4, 0};
    vd_load_step step[STEPS];
    double time_s[STEPS * SECONDS], watts[STEPS * SECONDS];
    vd_recording r = {.time_s = time_s, .watts = watts, .n = STEPS * SECONDS, .period_s = 1};
    for (int i = 0; i < STEPS; i++) {
        step[i] = (vd_load_step){.begin_s = 1000 + i * SECONDS,
                                 .end_s = 1000 + (i + 1) * SECONDS,
                                 .at = {.load = loads[i]}};
        for (int k = 0; k < SECONDS; k++) {
            time_s[i * SECONDS + k] = 1000 + 33.5 + i * SECONDS + k; /* 33.5 s ahead of ours */
            /* The first quarter differs. */
            watts[i * SECONDS + k] = k < 5 ? 60 : 50 + 40 * loads[i];
        }
    }
    vd_power_prior prior;
    vd_power guess;
    vd_power_shipped(&prior);
    vd_power_guess(&(vd_power_base){.full_w = 100, .idle_w = 50}, &prior, &guess);
    vd_load_joined joined;
    assert_int_equal(vd_load_join(&r, &guess, step, STEPS, &joined, NULL), VD_OK);
    assert_int_equal(joined.n_steps, STEPS);
    if (!(fabs(joined.offset_s - 33.5) <= 1 && joined.correlation > 0.9))
        fail_msg("offset %g s, correlation %g", joined.offset_s, joined.correlation);
    for (int i = 0; i < STEPS; i++)
        assert_true(fabs(step[i].at.watts - (50 + 40 * loads[i])) < 1.5);
    vd_err err = {0};
    assert_int_equal(vd_load_join(&r, &guess, step, 0, &joined, &err), VD_ERR_ARG);
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k <= 2; k++) {
        vd_alloc_fail_at(k);
        assert_int_equal(vd_load_join(&r, &guess, step, STEPS, &joined, &err), VD_ERR_NOMEM);
        vd_alloc_fail_at(0);
    }
    assert_int_equal(vd_alloc_stats_get().n_live, live);
}

/* A day of five rows a second, whose clock is seven hours off: what a try of an offset costs does
 * not grow with the rows, or this would take an hour. */
static void a_long_recording_in_another_time_zone_is_found_soon(void **state)
{
    enum { STEPS = 24, STEP_S = 3600, PER_S = 5, ROWS = STEPS * STEP_S * PER_S };
    vd_load_step step[STEPS];
    double *time_s = calloc(ROWS, sizeof(*time_s)), *watts = calloc(ROWS, sizeof(*watts));
    vd_recording r = {.time_s = time_s, .watts = watts, .n = ROWS, .period_s = 1.0 / PER_S};
    for (int i = 0; i < STEPS; i++)
        step[i] = (vd_load_step){.begin_s = 1e9 + i * STEP_S,
                                 .end_s = 1e9 + (i + 1) * STEP_S,
                                 .at = {.load = i * i * 7 % 11 / 10.0}};
    for (int k = 0; k < ROWS; k++) {
        time_s[k] = 1e9 + 7 * 3600 + (double)k / PER_S;
        watts[k] = 50 + 40 * step[k / (STEP_S * PER_S)].at.load;
    }
    vd_power_prior prior;
    vd_power guess;
    vd_power_shipped(&prior);
    vd_power_guess(&(vd_power_base){.full_w = 100, .idle_w = 50}, &prior, &guess);
    vd_load_joined joined;
    assert_int_equal(vd_load_join(&r, &guess, step, STEPS, &joined, NULL), VD_OK);
    assert_true(fabs(joined.offset_s - 7 * 3600) <= STEP_S / 4 + 1 && joined.n_steps == STEPS);
    for (int i = 0; i < STEPS; i++)
        assert_true(fabs(step[i].at.watts - (50 + 40 * step[i].at.load)) < 0.1);
    free(time_s);
    free(watts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_of_all_kinds_are_seconds_since_1970),
        cmocka_unit_test(short_memory_is_a_status_and_leaks_nothing),
        cmocka_unit_test(a_table_of_loads_reads_back_what_was_put),
        cmocka_unit_test(steps_get_the_mean_of_their_rows),
        cmocka_unit_test(a_long_recording_in_another_time_zone_is_found_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
