/* test_csv.c - times, units, and the table of a CSV file: what is read, and what is refused. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "carbon/calendar.h"
#include "carbon/sources.h"
#include "carbon/unit.h"

#define NOW_S INT64_C(1772372700) /* 2026-03-01T13:45:00Z */

static int64_t at(const char *text)
{
    int64_t s = -1;
    assert_true(vd_time_parse(text, strlen(text), &s));
    return s;
}

static vd_provider *open_csv(void)
{
    vd_provider *p = NULL;
    const vd_provider_options o = {.name = "csv", .zone = "DE", .file = "a.csv"};
    assert_int_equal(vd_provider_open(&o, &p, NULL), VD_OK);
    return p;
}

static vd_series good(vd_provider *p, const char *text)
{
    vd_series out = {0};
    vd_err err = {0};
    if (vd_csv_read(p, "a.csv", text, strlen(text), &out, &err) != VD_OK)
        fail_msg("%s", err.message);
    return out;
}

static void bad(vd_provider *p, const char *text, const char *said)
{
    vd_series out = {0};
    vd_err err = {0};
    vd_status st = vd_csv_read(p, "a.csv", text, strlen(text), &out, &err);
    vd_series_done(&out);
    if (st == VD_OK || strstr(err.message, said) == NULL)
        fail_msg("%s: status %d, '%s' does not say '%s'", text, st, err.message, said);
}

/* ---- time ------------------------------------------------------------------------------------*/

static void times_are_moments(void **state)
{
    assert_int_equal(at("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(at("2026-03-01T13:45Z"), NOW_S);
    assert_int_equal(at("2026-03-01T14:45:00+01:00"), NOW_S);
    assert_int_equal(at("2026-03-01T14:45:00+01"), NOW_S);
    assert_int_equal(at("2026-03-01 08:45:00.250-0500"), NOW_S);
    assert_int_equal(at("2026-03-01 13:45:00 +0000"), NOW_S);
    assert_int_equal(at("2024-02-29T00:00:00Z"), 1709164800);
    assert_int_equal(at("2000-02-29T23:59:60Z"), 951868799);
    assert_int_equal(vd_year_begin_s(2024), 1704067200);
    static const char *const wrong[] = {
        "2026-03-01T13:45:00",  "2026-03-01",           "13:45Z",           "2023-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00Z", "2026-03-32T00:00:00Z",
        "2026-03-01T24:00:00Z", "2026-03-01T13:60:00Z", "2026-03-01T13:45:00Zx", "",
        "2026-03-01T13:45:00.Z", "2026-03-01T13:45:00+", "2026-03-01T13:45:00+01:",
        "1969-12-31T23:59Z", "2026-3-1T13:45:00Z", "+026-03-01T13:45:00Z"};
    for (size_t i = 0; i < VD_COUNT(wrong); i++) {
        int64_t s = 77;
        if (vd_time_parse(wrong[i], strlen(wrong[i]), &s) || s != 77)
            fail_msg("'%s' was read", wrong[i]);
    }
    char text[VD_TIME_TEXT];
    for (int64_t s = 0; s < INT64_C(8000000000); s += 7654321) { /* there and back, to 2223 */
        vd_time_text(s, text);
        assert_int_equal(at(text), s);
    }
    vd_time_text(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    vd_time_text(INT64_MIN, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
}

/* ---- units -----------------------------------------------------------------------------------*/

static void units_are_known_by_their_spellings(void **state)
{
    static const struct {
        const char *text;
        double factor;
    } cases[] = {
        {"g/kWh", 1}, {"gCO2eq/kWh", 1}, {"gCO\xe2\x82\x82" "eq/kWh (LCA)", 1},
        {"carbon_intensity_g_per_kwh", 1}, {"intensity [g CO2 / kWh]", 1}, {"kg/MWh", 1},
        {"kgCO2e/kWh", 1000}, {"kg_co2_per_mwh", 1}, {"lb/MWh", 0.45359237},
        {"lbs_co2_per_mwh", 0.45359237}, {"MOER lbs CO2 per MWh", 0.45359237},
        {"g/MWh", 0.001}, {"tCO2/MWh", 1000}, {"t/GWh", 1}, {"lb/kWh", 453.59237},
        {"kg/h", -1}, {"gCO2eq/hour", -1}, {"kgCO2 per h", -1},
        {"value", 0}, {"", 0}, {"kwh", 0}, {"carbon_intensity", 0}, {"mog/kwh", 0}, {"g/kwhx", 0}};
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        double factor = vd_unit_factor(cases[i].text, strlen(cases[i].text));
        if (fabs(factor - cases[i].factor) > 1e-9)
            fail_msg("'%s' is %g", cases[i].text, factor);
    }
}

/* ---- CSV -------------------------------------------------------------------------------------*/

#define HEAD "datetime,carbon_intensity_g_per_kwh\n"

static void a_table_is_read(void **state)
{
    vd_provider *p = open_csv();
    vd_series s = good(p, "\xef\xbb\xbf# a comment\r\nzone;Datetime (UTC);\"Carbon intensity "
                          "gCO\xe2\x82\x82" "eq/kWh\";estimated\r\n\r\n"
                          "DE;2026-03-01T10:00:00Z;300.5;false\r\n"
                          "DE;\"2026-03-01 12:00:00+01:00\";290;true\r\n");
    assert_int_equal(s.n, 2);
    assert_true(s.value[0].g_per_kwh == 300.5 && !s.value[0].estimated);
    assert_true(s.value[1].g_per_kwh == 290 && s.value[1].estimated);
    assert_int_equal(s.value[0].valid_to_s, s.value[1].valid_from_s);
    assert_int_equal(s.value[1].valid_to_s - s.value[1].valid_from_s, 3600);
    assert_string_equal(vd_provider_note(p), "");
    vd_series_done(&s);
    s = good(p, "time\tkg/MWh\n2026-03-01T10:00:00Z\t300");
    assert_true(s.value[0].g_per_kwh == 300);
    vd_series_done(&s);
    s = good(p, "updated,from,to,g/kWh\nx,2026-03-01T10:00:00Z,y,7\n");
    assert_int_equal(s.value[0].valid_from_s, at("2026-03-01T10:00:00Z"));
    vd_series_done(&s);
    s = good(p, "point_time,MOER lbs_co2_per_mwh\n2026-03-01T10:00:00Z,1000\n");
    assert_true(fabs(s.value[0].g_per_kwh - 453.59237) < 1e-9);
    vd_series_done(&s);
    vd_provider_close(p);
}

/* The columns of Electricity Maps' downloads: two scopes, and UTC said in the header. */
static void a_download_of_electricity_maps_is_read(void **state)
{
    static const char text[] =
        "Datetime (UTC),Country,Zone id,Carbon intensity gCO\xe2\x82\x82" "eq/kWh (direct),Carbon "
        "intensity gCO\xe2\x82\x82" "eq/kWh (Life cycle),Data estimated\n"
        "2024-01-01 00:00:00,Germany,DE,250.5,300.5,false\n"
        "2024-01-01 01:00:00,Germany,DE,1,2,true\n";
    vd_provider *p = open_csv();
    vd_series s = good(p, text);
    assert_int_equal(s.value[0].valid_from_s, at("2024-01-01T00:00:00Z"));
    assert_true(s.value[0].g_per_kwh == 300.5 && s.value[1].estimated);
    vd_series_done(&s);
    p->tags.scope = "direct";
    s = good(p, text);
    assert_true(s.value[0].g_per_kwh == 250.5);
    vd_series_done(&s);
    bad(p, "time,g/kWh (life cycle)\n2024-01-01T00:00:00Z,7\n", "a.csv:1: 'g/kWh (life cycle)' is "
        "lifecycle, and carbon.scope says direct");
    vd_provider_close(p);
}

static void a_gap_is_no_value_and_said(void **state)
{
    vd_provider *p = open_csv();
    vd_series s = good(p, HEAD "2026-03-01T00:00:00Z,1\n2026-03-01T01:00:00Z,2\n"
                               "2026-03-01T05:00:00Z,3\n2026-03-01T06:00:00Z,4\n");
    assert_int_equal(s.value[1].valid_to_s, at("2026-03-01T02:00:00Z"));
    assert_non_null(strstr(vd_provider_note(p), "3 h from 2026-03-01T02:00:00Z"));
    vd_series_done(&s);
    /* Half-hours that become quarters are no gap. */
    s = good(p, HEAD "2026-03-01T00:00:00Z,1\n2026-03-01T00:30:00Z,2\n2026-03-01T01:00:00Z,3\n"
                     "2026-03-01T01:15:00Z,4\n2026-03-01T01:30:00Z,5\n2026-03-01T01:45:00Z,6\n");
    assert_int_equal(s.value[0].valid_to_s, s.value[1].valid_from_s);
    assert_string_equal(vd_provider_note(p), "");
    vd_series_done(&s);
    vd_provider_close(p);
}

static void doubts_about_a_table_are_errors_with_a_line(void **state)
{
#define ROW "2026-03-01T00:00:00Z,"
    vd_provider *p = open_csv();
    bad(p, "", "no row with a value");
    bad(p, HEAD, "no row with a value");
    bad(p, ROW "7\n", "a.csv:1: a header is missing");
    bad(p, "a,b\n", "a.csv:1: no column is called datetime");
    bad(p, "datetime,b\n", "a.csv:1: no column is called intensity");
    bad(p, "datetime,intensity\n" ROW "7\n", "a.csv:1: the unit of 'intensity' is not said");
    bad(p, "datetime,emissions kg/h\n" ROW "7\n", "a.csv:1: 'emissions kg/h' is no intensity");
    bad(p, HEAD ROW "7\n" ROW "8\n", "a.csv:3: the time '2026-03-01T00:00:00Z' stands");
    bad(p, HEAD ROW "7\n2026-02-28T23:00:00Z,8\n", "a.csv:3: '2026-02-28T23:00:00Z' is earlier");
    bad(p, HEAD "2026-03-01T00:00:00,7\n", "a.csv:2: '2026-03-01T00:00:00' is no time with a zone");
    bad(p, HEAD ROW "NaN\n", "a.csv:2: 'NaN' is no number");
    bad(p, HEAD ROW "inf\n", "a.csv:2: 'inf' is no number");
    bad(p, HEAD ROW "1e999\n", "a.csv:2: '1e999' is too large");
    bad(p, HEAD ROW "\n", "a.csv:2: the value is missing");
    bad(p, HEAD ROW "-7\n", "a.csv:2: -7 is negative");
    bad(p, HEAD ROW "0x10\n", "a.csv:2: '0x10' is no number");
    bad(p, HEAD ROW "344000\n", "a.csv:2: 344000 would be 344000 g/kWh");
    bad(p, HEAD ROW "7,8\n", "a.csv:2: 3 columns where the header has 2");
    bad(p, "time,g/kWh,estimated\n" ROW "7,perhaps\n", "a.csv:2: 'estimated' is 'perhaps'");
    p->factor = 1000; /* carbon.unit: kg/kWh */
    bad(p, HEAD ROW "7\n", "a.csv:1: the header says another unit than carbon.unit");
    vd_series s = good(p, "datetime,intensity\n" ROW "0.344\n");
    assert_true(fabs(s.value[0].g_per_kwh - 344) < 1e-9);
    vd_series_done(&s);
    vd_provider_close(p);
}

static void a_table_that_is_too_long_says_where(void **state)
{
    vd_provider *p = open_csv();
    size_t room = (size_t)(VD_SERIES_MAX + 1) * 24 + sizeof(HEAD);
    char *text = malloc(room);
    assert_non_null(text);
    size_t n = (size_t)snprintf(text, room, "%s", HEAD);
    for (int i = 0; i <= VD_SERIES_MAX; i++) {
        char at[VD_TIME_TEXT];
        vd_time_text(NOW_S + INT64_C(60) * i, at);
        n += (size_t)snprintf(text + n, room - n, "%s,1\n", at);
    }
    bad(p, text, "a.csv:200002: more than 200000 values");
    free(text);
    vd_provider_close(p);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_rewritten_file_is_read_again(void **state)
{
    char path[] = "/tmp/verdant-csv-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(path, HEAD "2020-01-01T00:00:00Z,300\n");
    vd_provider *p = NULL;
    vd_err err = {0};
    const vd_provider_options o = {.name = "csv", .file = path};
    assert_int_equal(vd_provider_open(&o, &p, &err), VD_OK);
    vd_intensity *values = NULL;
    vd_retry retry;
    size_t n = 0;
    assert_int_equal(vd_provider_latest(p, NULL, &values, &n, &retry, &err), VD_OK);
    assert_true(n == 1 && values[0].g_per_kwh == 300);
    vd_free(values);
    write_file(path, HEAD "2020-01-01T00:00:00Z,300\n2020-01-01T01:00:00Z,301\n");
    assert_int_equal(vd_provider_latest(p, NULL, &values, &n, &retry, &err), VD_OK);
    assert_true(n == 2 && values[1].g_per_kwh == 301);
    vd_free(values);
    write_file(path, HEAD "half a li");
    assert_int_equal(vd_provider_latest(p, NULL, &values, &n, &retry, &err), VD_ERR_FORMAT);
    assert_false(retry.hopeless); /* it may be whole again the next time */
    unlink(path);
    assert_true(vd_provider_latest(p, NULL, &values, &n, &retry, &err) != VD_OK);
    assert_false(retry.hopeless);
    write_file(path, HEAD "2090-01-01T00:00:00Z,300\n");
    assert_int_equal(vd_provider_latest(p, NULL, &values, &n, &retry, &err), VD_ERR_NOT_FOUND);
    assert_false(retry.hopeless);
    unlink(path);
    assert_true(vd_carbon_history(p, 0, 100, VD_HISTORY_ALL, NULL, &values, &n, &err) != VD_OK);
    vd_provider_close(p);
}

static void a_pipe_is_refused_and_not_waited_for(void **state)
{
    char folder[] = "/tmp/verdant-csv-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    vd_provider *p = NULL;
    vd_intensity *values = NULL;
    size_t n = 0;
    vd_err err = {0};
    const vd_provider_options o = {.name = "csv", .file = path};
    assert_int_equal(vd_provider_open(&o, &p, &err), VD_OK);
    alarm(10); /* nobody will ever write into it */
    assert_int_equal(vd_provider_latest(p, NULL, &values, &n, NULL, &err), VD_ERR_ARG);
    alarm(0);
    assert_non_null(strstr(err.message, "is not a regular file"));
    vd_provider_close(p);
    unlink(path);
    rmdir(folder);
}

static void short_memory_is_a_status(void **state)
{
    static const char text[] = HEAD "2026-03-01T00:00:00Z,1\n2026-03-01T01:00:00Z,2\n";
    vd_provider *p = open_csv();
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k < 6; k++) {
        vd_series s = {0};
        vd_alloc_fail_at(k);
        vd_status st = vd_csv_read(p, "a.csv", text, sizeof(text) - 1, &s, NULL);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        vd_series_done(&s);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    vd_provider_close(p);
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_moments),
        cmocka_unit_test(units_are_known_by_their_spellings),
        cmocka_unit_test(a_table_is_read),
        cmocka_unit_test(a_download_of_electricity_maps_is_read),
        cmocka_unit_test(a_gap_is_no_value_and_said),
        cmocka_unit_test(doubts_about_a_table_are_errors_with_a_line),
        cmocka_unit_test(a_table_that_is_too_long_says_where),
        cmocka_unit_test(a_rewritten_file_is_read_again),
        cmocka_unit_test(a_pipe_is_refused_and_not_waited_for),
        cmocka_unit_test(short_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
