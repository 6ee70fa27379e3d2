/* test_sources.c - what the sources make of answers: units, tags, order, and everything wrong. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "carbon/calendar.h"
#include "carbon/sources.h"

#define NOW_S INT64_C(1772372700) /* 2026-03-01T13:45:00Z */

static int64_t at(const char *text)
{
    int64_t s = -1;
    assert_true(vd_time_parse(text, strlen(text), &s));
    return s;
}

static vd_provider *open_provider(const char *name, const char *zone, const char *kind,
                                  const char *scope)
{
    vd_provider *p = NULL;
    vd_err err = {0};
    setenv("VERDANT_ELECTRICITYMAPS_TOKEN", "hush", 1);
    setenv("VERDANT_WATTTIME_USER", "somebody", 1);
    setenv("VERDANT_WATTTIME_PASSWORD", "hush", 1);
    const vd_provider_options o = {.name = name, .zone = zone, .kind = kind, .scope = scope};
    if (vd_provider_open(&o, &p, &err) != VD_OK)
        fail_msg("%s", err.message);
    return p;
}

static vd_status read_text(vd_provider *p, const char *text, vd_series *out, vd_err *err)
{
    json_t *answer = NULL;
    vd_status st = VD_OK;
    *out = (vd_series){0};
    assert_int_equal(vd_json_parse(text, strlen(text), &answer, err), VD_OK);
    if (strcmp(vd_provider_name(p), "electricitymaps") == 0)
        st = vd_electricitymaps_read(p, answer, NOW_S, out, err);
    else if (strcmp(vd_provider_name(p), "watttime") == 0)
        st = vd_watttime_read(p, answer, strstr(text, "\"forecast\"") != NULL, NOW_S, out, err);
    else
        st = vd_uk_read(p, answer, NOW_S, out, err);
    json_decref(answer);
    return st;
}

static vd_series good(vd_provider *p, const char *text)
{
    vd_series out;
    vd_err err = {0};
    if (read_text(p, text, &out, &err) != VD_OK)
        fail_msg("%s", err.message);
    return out;
}

static void bad(vd_provider *p, const char *text, const char *said)
{
    vd_series out;
    vd_err err = {0};
    vd_status st = read_text(p, text, &out, &err);
    vd_series_done(&out);
    if (st == VD_OK || strstr(err.message, said) == NULL)
        fail_msg("%s: status %d, '%s' does not say '%s'", text, st, err.message, said);
    assert_null(strstr(err.message, "hush"));
}

/* ---- Electricity Maps ------------------------------------------------------------------------*/

static void electricity_maps_latest_is_read(void **state)
{
    vd_provider *p = open_provider("electricitymaps", "DE", NULL, NULL);
    vd_series s = good(p, "{\"zone\":\"DE\",\"carbonIntensity\":302,\"datetime\":"
                          "\"2026-03-01T13:00:00.000Z\",\"updatedAt\":\"2026-03-01T13:12:04.000Z\","
                          "\"emissionFactorType\":\"lifecycle\",\"isEstimated\":true,"
                          "\"estimationMethod\":\"TIME_SLICER_AVERAGE\"}");
    assert_int_equal(s.n, 1);
    const vd_intensity *v = &s.value[0];
    assert_true(v->g_per_kwh == 302 && v->estimated);
    assert_string_equal(v->kind, "average");
    assert_string_equal(v->scope, "lifecycle");
    assert_string_equal(v->boundary, "consumption");
    assert_string_equal(v->zone, "DE");
    assert_string_equal(v->version, "2026-03-01T13:12:04.000Z");
    assert_int_equal(v->valid_from_s, at("2026-03-01T13:00:00Z"));
    assert_int_equal(v->valid_to_s, at("2026-03-01T14:00:00Z"));
    vd_series_done(&s);
    vd_provider_close(p);
}

static void electricity_maps_lists_skip_nulls(void **state)
{
    vd_provider *p = open_provider("electricitymaps", "DE", NULL, "direct");
    static const char *const keys[] = {"history", "data"};
    for (size_t i = 0; i < 2; i++) {
        char text[900];
        snprintf(text, sizeof(text),
                 "{\"zone\":\"DE\",\"temporalGranularity\":\"15_minutes\",\"%s\":["
                 "{\"datetime\":\"2026-03-01T10:00:00Z\",\"carbonIntensity\":300,"
                 "\"isEstimated\":false,\"emissionFactorType\":\"direct\"},"
                 "{\"datetime\":\"2026-03-01T10:15:00Z\",\"carbonIntensity\":null},"
                 "{\"datetime\":\"2026-03-01T10:30:00Z\",\"carbonIntensity\":290}]}", keys[i]);
        vd_series s = good(p, text);
        assert_int_equal(s.n, 2);
        assert_false(s.value[0].estimated);
        assert_true(s.value[1].estimated); /* nothing said that it is not */
        assert_int_equal(s.value[0].valid_to_s - s.value[0].valid_from_s, 900);
        assert_string_equal(s.value[0].scope, "direct");
        vd_series_done(&s);
    }
    vd_series none = good(p, "{\"zone\":\"DE\",\"history\":[]}");
    assert_int_equal(none.n, 0);
    vd_provider_close(p);
}

static void electricity_maps_is_not_believed(void **state)
{
#define EM(zone, value, time, type)                                                                \
    "{\"zone\":\"" zone "\",\"carbonIntensity\":" value ",\"datetime\":\"" time                    \
    "\",\"emissionFactorType\":\"" type "\"}"
    vd_provider *p = open_provider("electricitymaps", "DE", NULL, NULL);
    bad(p, EM("FR", "300", "2026-03-01T13:00:00Z", "lifecycle"), "another zone");
    bad(p, EM("DE", "300", "2026-03-01T13:00:00Z", "direct"), "another emissionFactorType");
    bad(p, EM("DE", "300", "2026-03-01T15:00:00Z", "lifecycle"), "in the future");
    bad(p, EM("DE", "300", "2026-03-01T13:00:00", "lifecycle"), "no time");
    bad(p, EM("DE", "300000", "2026-03-01T13:00:00Z", "lifecycle"), "another unit?");
    bad(p, EM("DE", "0.3", "2026-03-01T13:00:00Z", "lifecycle"), "not kg/kWh");
    bad(p, EM("DE", "-1", "2026-03-01T13:00:00Z", "lifecycle"), "another unit?");
    bad(p, EM("DE", "\"300\"", "2026-03-01T13:00:00Z", "lifecycle"), "no number");
    bad(p, EM("DE", "null", "2026-03-01T13:00:00Z", "lifecycle"), "no value for DE");
    bad(p, "{}", "names no zone");
    bad(p, "{\"zone\":7,\"history\":{}}", "no list");
    bad(p, "{\"zone\":\"DE\",\"history\":[7]}", "no object");
    vd_provider_close(p);
}

/* ---- WattTime --------------------------------------------------------------------------------*/

#define WT(data, region, signal, units)                                                            \
    "{\"data\":[" data "],\"meta\":{\"region\":\"" region "\",\"signal_type\":\"" signal           \
    "\",\"units\":\"" units "\",\"data_point_period_seconds\":300,"                                \
    "\"model\":{\"date\":\"2026-01-01\"}}}"

static void watttime_pounds_become_grams(void **state)
{
    vd_provider *p = open_provider("watttime", "CAISO_NORTH", NULL, NULL);
    vd_series s = good(p, WT("{\"point_time\":\"2026-03-01T13:30:00+00:00\",\"value\":1000},"
                             "{\"point_time\":\"2026-03-01T13:35:00+00:00\",\"value\":null},"
                             "{\"point_time\":\"2026-03-01T13:40:00+00:00\",\"value\":0}",
                             "CAISO_NORTH", "co2_moer", "lbs_co2_per_mwh"));
    assert_int_equal(s.n, 2);
    /* 1,000 lb = 453.59237 kg over 1,000 kWh. Not 1,000 g, not 2,204 g. */
    assert_true(fabs(s.value[0].g_per_kwh - 453.59237) < 1e-9);
    assert_true(s.value[1].g_per_kwh == 0);
    assert_false(s.value[0].estimated);
    assert_string_equal(s.value[0].kind, "marginal");
    assert_string_equal(s.value[0].scope, "direct");
    assert_string_equal(s.value[0].version, "2026-01-01");
    assert_int_equal(s.value[0].valid_to_s - s.value[0].valid_from_s, 300);
    vd_series_done(&s);
    vd_provider_close(p);

    p = open_provider("watttime", "DE", "average", NULL);
    s = good(p, WT("{\"point_time\":\"2026-03-02T13:30:00Z\",\"value\":500,\"forecast\":1}", "DE",
                   "co2_aoer", "lbs_co2_per_mwh"));
    assert_true(s.value[0].estimated);
    assert_string_equal(s.value[0].kind, "average");
    vd_series_done(&s);
    vd_provider_close(p);
}

static void watttime_is_not_believed(void **state)
{
#define ONE(time, value) "{\"point_time\":\"" time "\",\"value\":" value "}"
#define GOOD_TIME "2026-03-01T13:30:00Z"
    vd_provider *p = open_provider("watttime", "CAISO_NORTH", NULL, NULL);
    bad(p, WT(ONE(GOOD_TIME, "900"), "PJM_DC", "co2_moer", "lbs_co2_per_mwh"), "another region");
    bad(p, WT(ONE(GOOD_TIME, "900"), "CAISO_NORTH", "co2_aoer", "lbs_co2_per_mwh"),
        "another signal_type");
    bad(p, WT(ONE(GOOD_TIME, "900"), "CAISO_NORTH", "co2_moer", "kg_co2_per_mwh"), "units");
    bad(p, WT(ONE(GOOD_TIME, "900000"), "CAISO_NORTH", "co2_moer", "lbs_co2_per_mwh"),
        "another unit?");
    bad(p, WT(ONE("2026-03-01T16:00:00Z", "9"), "CAISO_NORTH", "co2_moer", "lbs_co2_per_mwh"),
        "in the future");
    bad(p, WT(ONE("yesterday", "900"), "CAISO_NORTH", "co2_moer", "lbs_co2_per_mwh"), "no time");
    bad(p, WT(ONE(GOOD_TIME, "\"9\""), "CAISO_NORTH", "co2_moer", "lbs_co2_per_mwh"), "no number");
    bad(p, WT("7", "CAISO_NORTH", "co2_moer", "lbs_co2_per_mwh"), "no time");
    bad(p, "{\"data\":[]}", "'meta' is missing");
    bad(p, "{}", "'meta' is missing");
    vd_provider_close(p);
}

/* ---- Great Britain ---------------------------------------------------------------------------*/

static void the_uks_actual_value_replaces_its_forecast(void **state)
{
    vd_provider *p = open_provider("uk", "GB", NULL, NULL);
    vd_series s = good(p, "{\"data\":[{\"from\":\"2026-03-01T13:00Z\",\"to\":\"2026-03-01T13:30Z\","
                          "\"intensity\":{\"forecast\":266,\"actual\":263,\"index\":\"moderate\"}},"
                          "{\"from\":\"2026-03-01T13:30Z\",\"to\":\"2026-03-01T14:00Z\","
                          "\"intensity\":{\"forecast\":250,\"actual\":null,\"index\":\"low\"}},"
                          "{\"from\":\"2026-03-01T14:00Z\",\"to\":\"2026-03-01T14:30Z\","
                          "\"intensity\":{\"forecast\":null,\"actual\":null,\"index\":\"low\"}}]}");
    assert_int_equal(s.n, 2);
    assert_true(s.value[0].g_per_kwh == 263 && !s.value[0].estimated);
    assert_true(s.value[1].g_per_kwh == 250 && s.value[1].estimated);
    assert_string_equal(s.value[0].scope, "direct");

    /* The half-hour closes: the final value takes the forecast's place, and no later forecast
     * takes it back. */
    vd_intensity closed = s.value[1], late = s.value[1];
    closed.g_per_kwh = 244;
    closed.estimated = false;
    late.g_per_kwh = 251;
    assert_int_equal(vd_series_add(&s, &closed, NULL), VD_OK);
    assert_int_equal(vd_series_add(&s, &late, NULL), VD_OK);
    vd_series_tidy(&s);
    assert_int_equal(s.n, 2);
    assert_true(s.value[1].g_per_kwh == 244 && !s.value[1].estimated);
    vd_series_done(&s);
    vd_provider_close(p);
}

static void regions_of_the_uk_stay_estimated(void **state)
{
    static const char *const answers[] = {
        "{\"data\":{\"regionid\":13,\"shortname\":\"London\",\"data\":[{\"from\":"
        "\"2026-03-01T13:00Z\",\"to\":\"2026-03-01T13:30Z\",\"intensity\":{\"forecast\":120}}]}}",
        "{\"data\":[{\"regionid\":13,\"data\":[{\"from\":\"2026-03-01T13:00Z\",\"to\":"
        "\"2026-03-01T13:30Z\",\"intensity\":{\"forecast\":121,\"actual\":120}}]}]}"};
    vd_provider *p = open_provider("uk", "13", NULL, NULL);
    for (size_t i = 0; i < 2; i++) {
        vd_series s = good(p, answers[i]);
        assert_true(s.n == 1 && s.value[0].g_per_kwh == 120 && s.value[0].estimated);
        assert_string_equal(s.value[0].zone, "13");
        vd_series_done(&s);
    }
    bad(p, "{\"data\":{\"regionid\":12,\"data\":[]}}", "another region");
    bad(p, "{\"data\":[]}", "another region");
    vd_provider_close(p);
}

static void the_uk_is_not_believed(void **state)
{
#define GB(from, to, intensity)                                                                    \
    "{\"data\":[{\"from\":\"" from "\",\"to\":\"" to "\",\"intensity\":" intensity "}]}"
#define FROM "2026-03-01T13:00Z"
#define TO "2026-03-01T13:30Z"
    vd_provider *p = open_provider("uk", "GB", NULL, NULL);
    bad(p, GB(TO, FROM, "{\"forecast\":9}"), "ends before it begins");
    bad(p, GB(FROM, "2026-03-01T15:30Z", "{\"forecast\":9}"), "more than an hour");
    bad(p, GB("2026-04-01T13:00Z", "2026-04-01T13:30Z", "{\"forecast\":9}"), "in the future");
    bad(p, GB(FROM, TO, "7"), "'intensity' is missing");
    bad(p, GB(FROM, TO, "{\"forecast\":\"9\"}"), "no number");
    bad(p, GB(FROM, TO, "{\"forecast\":9,\"actual\":\"8\"}"), "no number");
    bad(p, GB(FROM, TO, "{\"forecast\":0.2}"), "not kg/kWh");
    bad(p, GB(FROM, TO, "{\"forecast\":90000}"), "another unit?");
    bad(p, GB("now", TO, "{\"forecast\":9}"), "no time");
    bad(p, "{\"data\":7}", "no list");
    bad(p, "{\"error\":{\"code\":\"400 Bad Request\"}}", "no list");
    vd_provider_close(p);
}

/* ---- all of them -----------------------------------------------------------------------------*/

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void wrong_words_are_said(void **state)
{
    static const struct {
        vd_provider_options o;
        const char *said;
    } cases[] = {
        {{.name = "oracle"}, "there are table, csv, electricitymaps, watttime, uk"},
        {{.name = "electricitymaps"}, "needs a zone"},
        {{.name = "electricitymaps", .zone = "DE&x=1"}, "letters, digits"},
        {{.name = "electricitymaps", .zone = "DE", .scope = "both"}, "lifecycle or direct"},
        {{.name = "electricitymaps", .zone = "DE", .url = "ftp://x"}, "http://HOST"},
        {{.name = "electricitymaps", .zone = "DE", .url = "https://me:hush@x"}, "no password"},
        {{.name = "watttime", .zone = "DE", .kind = "both"}, "marginal or average"},
        {{.name = "uk", .zone = "18"}, "regions 1 to 17"},
        {{.name = "uk", .zone = "FR"}, "regions 1 to 17"},
        {{.name = "uk", .kind = "marginal"}, "are average; carbon.kind says 'marginal'"},
        {{.name = "uk", .scope = "lifecycle"}, "are direct; carbon.scope says 'lifecycle'"},
        {{.name = "uk", .file = "f"}, "carbon.file is for the provider csv"},
        {{.name = "table", .zone = "DE", .unit = "g/kWh"}, "carbon.unit is for the provider csv"},
        {{.name = "table", .zone = "US-CA", .scope = "lifecycle"}, "for US-CA are direct"},
        {{.name = "csv"}, "needs a file"},
        {{.name = "csv", .file = "f", .unit = "kg/h"}, "carbon.unit"},
        {{.name = "table", .zone = "Germny"}, "DE (Germany)"},
        {{.name = "table", .zone = "aws:eu-west-9"}, "aws:eu-west-1"},
    };
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        vd_provider *p = NULL;
        vd_err err = {0};
        if (vd_provider_open(&cases[i].o, &p, &err) == VD_OK ||
            strstr(err.message, cases[i].said) == NULL || strstr(err.message, "hush") != NULL)
            fail_msg("%zu: %s", i, err.message);
    }
}

static void keys_come_from_the_environment_or_a_file(void **state)
{
    vd_provider *p = NULL;
    vd_err err = {0};
    unsetenv("VERDANT_ELECTRICITYMAPS_TOKEN");
    vd_provider_options o = {.name = "electricitymaps", .zone = "DE"};
    assert_int_equal(vd_provider_open(&o, &p, &err), VD_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "VERDANT_ELECTRICITYMAPS_TOKEN"));
    char path[] = "/tmp/verdant-key-XXXXXX";
    int fd = mkstemp(path);
    close(fd);
    o.token_file = path;
    write_file(path, "hush-hush\n");
    assert_int_equal(vd_provider_open(&o, &p, &err), VD_OK);
    assert_string_equal(p->secret, "hush-hush");
    vd_provider_close(p);
    write_file(path, "hush\r\nX-Evil: 1\n"); /* no second header line by way of the key */
    assert_int_equal(vd_provider_open(&o, &p, &err), VD_ERR_FORMAT);
    assert_null(strstr(err.message, "hush"));
    o.name = "watttime";
    write_file(path, "somebody:hush\n");
    assert_int_equal(vd_provider_open(&o, &p, &err), VD_OK);
    vd_provider_close(p);
    write_file(path, "hush\n");
    assert_int_equal(vd_provider_open(&o, &p, &err), VD_ERR_FORMAT);
    assert_null(strstr(err.message, "hush"));
    unlink(path);
}

static void a_key_stays_on_this_machine_or_is_encrypted(void **state)
{
    static const char *const far[] = {"http://127.0.0.1.example.org", "http://127.example.org",
                                      "http://192.0.2.1", "http://localhost.example.org"};
    setenv("VERDANT_ELECTRICITYMAPS_TOKEN", "hush-hush", 1);
    for (size_t i = 0; i < VD_COUNT(far); i++) {
        const vd_provider_options o = {.name = "electricitymaps", .zone = "DE", .url = far[i]};
        vd_provider *p = NULL;
        vd_intensity *values = NULL;
        size_t n = 0;
        vd_err err = {0};
        assert_int_equal(vd_provider_open(&o, &p, &err), VD_OK);
        assert_int_equal(vd_provider_latest(p, NULL, &values, &n, NULL, &err), VD_ERR_ARG);
        assert_non_null(strstr(err.message, "would travel unencrypted"));
        vd_provider_close(p);
    }
    unsetenv("VERDANT_ELECTRICITYMAPS_TOKEN");
}

static void the_table_has_no_final_values(void **state)
{
    vd_provider *p = NULL;
    vd_intensity *values = NULL;
    size_t n = 7;
    const vd_provider_options o = {.zone = "DE"};
    assert_int_equal(vd_provider_open(&o, &p, NULL), VD_OK);
    assert_int_equal(vd_carbon_history(p, NOW_S, NOW_S + 86400, VD_HISTORY_FINAL, NULL, &values, &n,
                                       NULL), VD_OK);
    assert_int_equal(n, 0);
    vd_free(values);
    assert_int_equal(vd_carbon_history(p, NOW_S, NOW_S + 86400, VD_HISTORY_ALL, NULL, &values, &n,
                                       NULL), VD_OK);
    assert_true(n == 1 && values[0].g_per_kwh == 344 && values[0].estimated);
    vd_free(values);
    assert_int_equal(vd_carbon_history(p, 10, 9, VD_HISTORY_ALL, NULL, &values, &n, NULL),
                     VD_ERR_ARG);
    assert_int_equal(vd_carbon_history(p, 0, 401 * 86400, VD_HISTORY_ALL, NULL, &values, &n, NULL),
                     VD_ERR_ARG);
    vd_provider_close(p);
}

/* Values of any order and overlap come out sorted, one per beginning, none reaching into the next;
 * and the one for a moment is found as a walk would find it. */
static void a_series_is_tidy_and_searched_right(void **state)
{
    uint64_t random = 42;
    for (int round = 0; round < 300; round++) {
        vd_series s = {0};
        vd_intensity value = vd_zone_intensity(vd_zone_list(&(size_t){0}), 0), found;
        for (int i = 0; i < round % 40; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            value.valid_from_s = (int64_t)(random >> 33) % 50 * 60;
            value.valid_to_s = value.valid_from_s + 60 + (int64_t)(random >> 40) % 300;
            value.estimated = random >> 63;
            value.g_per_kwh = i;
            assert_int_equal(vd_series_add(&s, &value, NULL), VD_OK);
        }
        vd_series_tidy(&s);
        for (size_t i = 0; i + 1 < s.n; i++) {
            assert_true(s.value[i].valid_from_s < s.value[i + 1].valid_from_s);
            assert_true(s.value[i].valid_to_s <= s.value[i + 1].valid_from_s);
        }
        for (int64_t t = -10; t < 3600; t += 17) {
            size_t walked = s.n;
            for (size_t i = 0; i < s.n && s.value[i].valid_from_s <= t; i++)
                walked = i;
            assert_int_equal(vd_series_find(&s, t), walked);
            assert_int_equal(vd_intensity_at(s.value, s.n, t, false, &found), walked < s.n);
            if (walked < s.n && t < s.value[walked].valid_to_s)
                assert_true(found.g_per_kwh == s.value[walked].g_per_kwh && !found.stale);
        }
        vd_series_done(&s);
    }
}

static void a_value_past_its_time_is_estimated_then_stale(void **state)
{
    vd_intensity one = vd_zone_intensity(vd_zone_list(&(size_t){0}), 0), v;
    one.valid_from_s = 10000;
    one.valid_to_s = 10300; /* five minutes */
    one.estimated = false;
    assert_false(vd_intensity_at(&one, 1, 9999, false, &v));
    assert_true(vd_intensity_at(&one, 1, 10299, true, &v) && !v.estimated && !v.stale);
    assert_true(vd_intensity_at(&one, 1, 10300, false, &v) && v.estimated && !v.stale);
    assert_true(vd_intensity_at(&one, 1, 10300, true, &v) && v.estimated && v.stale);
    assert_true(vd_intensity_at(&one, 1, 10600, false, &v) && v.stale);
}

/* Each source is opened, reads an answer and is closed, with every allocation failing once. */
static void short_memory_is_a_status(void **state)
{
    static const struct {
        const char *name, *zone, *text;
    } cases[] = {
        {"electricitymaps", "DE",
         "{\"zone\":\"DE\",\"history\":[{\"datetime\":\"2026-03-01T10:00:00Z\","
         "\"carbonIntensity\":300}]}"},
        {"watttime", "CAISO_NORTH", WT("{\"point_time\":\"2026-03-01T13:30:00Z\",\"value\":9}",
                                       "CAISO_NORTH", "co2_moer", "lbs_co2_per_mwh")},
        {"uk", "GB", GB(FROM, TO, "{\"forecast\":9}")},
    };
    vd_provider_close(open_provider("uk", "GB", NULL, NULL)); /* sets the environment */
    uint64_t live = vd_alloc_stats_get().n_live;
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        const vd_provider_options o = {.name = cases[i].name, .zone = cases[i].zone};
        json_t *answer = NULL;
        bool whole = false;
        assert_int_equal(vd_json_parse(cases[i].text, strlen(cases[i].text), &answer, NULL), VD_OK);
        for (uint64_t k = 1; k < 40 && !whole; k++) {
            vd_provider *p = NULL;
            vd_series s = {0};
            vd_alloc_fail_at(k);
            vd_status st = vd_provider_open(&o, &p, NULL);
            if (st == VD_OK && i == 0)
                st = vd_electricitymaps_read(p, answer, NOW_S, &s, NULL);
            else if (st == VD_OK && i == 1)
                st = vd_watttime_read(p, answer, false, NOW_S, &s, NULL);
            else if (st == VD_OK)
                st = vd_uk_read(p, answer, NOW_S, &s, NULL);
            vd_alloc_fail_at(0);
            assert_true(st == VD_OK || st == VD_ERR_NOMEM);
            whole = st == VD_OK;
            vd_series_done(&s);
            vd_provider_close(p);
        }
        assert_true(whole);
        json_decref(answer);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(electricity_maps_latest_is_read),
        cmocka_unit_test(electricity_maps_lists_skip_nulls),
        cmocka_unit_test(electricity_maps_is_not_believed),
        cmocka_unit_test(watttime_pounds_become_grams),
        cmocka_unit_test(watttime_is_not_believed),
        cmocka_unit_test(the_uks_actual_value_replaces_its_forecast),
        cmocka_unit_test(regions_of_the_uk_stay_estimated),
        cmocka_unit_test(the_uk_is_not_believed),
        cmocka_unit_test(short_memory_is_a_status),
        cmocka_unit_test(wrong_words_are_said),
        cmocka_unit_test(keys_come_from_the_environment_or_a_file),
        cmocka_unit_test(a_key_stays_on_this_machine_or_is_encrypted),
        cmocka_unit_test(the_table_has_no_final_values),
        cmocka_unit_test(a_series_is_tidy_and_searched_right),
        cmocka_unit_test(a_value_past_its_time_is_estimated_then_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
