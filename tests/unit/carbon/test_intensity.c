/* test_intensity.c - the table of grids, and grams from joules. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "carbon/intensity.h"

static const vd_zone *find(const char *code)
{
    const vd_zone *zone = NULL;
    vd_err err = {0};
    assert_int_equal(vd_zone_find(code, &zone, &err), VD_OK);
    return zone;
}

static void codes_and_names_find_a_zone_in_any_case(void **state)
{
    assert_string_equal(find("DE")->code, "DE");
    assert_string_equal(find("de")->code, "DE");
    assert_string_equal(find("Germany")->code, "DE");
    assert_string_equal(find("us_ca")->code, "US-CA");
    assert_string_equal(find("UK")->code, "GB");
    assert_string_equal(find("us-cal-ciso")->code, "US-CAL-CISO");
    assert_string_equal(find(NULL)->code, "WORLD");
    assert_string_equal(find("")->code, "WORLD");
    assert_string_equal(find("world")->code, "WORLD");
}

static void figures_stand_where_the_publishers_have_them(void **state)
{
    assert_true(find("DE")->g_per_kwh == 344 && find("DE")->year == 2024);
    assert_true(find("FR")->g_per_kwh == 44);
    assert_true(find("CN")->g_per_kwh == 560);
    assert_true(find("IN")->g_per_kwh == 708);
    assert_true(find("WORLD")->g_per_kwh == 473);
    assert_true(find("US-CA")->g_per_kwh == 179); /* 394.769 lb/MWh */
    assert_string_equal(find("US-CA")->scope, "direct");
    assert_string_equal(find("DE")->scope, "lifecycle");
}

static void an_unknown_zone_lists_near_ones(void **state)
{
    static const struct {
        const char *asked, *near;
    } cases[] = {{"Germny", "DE (Germany)"},      {"DE-BY", "DE (Germany)"},
                 {"Korea", "KR (South Korea)"},   {"FX", "FR (France)"},
                 {"US-XX", "US (United States)"}, {"Californa", "US-CA (California)"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const vd_zone *zone = NULL;
        vd_err err = {0};
        assert_int_equal(vd_zone_find(cases[i].asked, &zone, &err), VD_ERR_NOT_FOUND);
        assert_null(zone);
        if (strstr(err.message, cases[i].near) == NULL)
            fail_msg("%s", err.message);
    }
    char longest[4096];
    memset(longest, '\xff', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    const vd_zone *zone = NULL;
    vd_err err = {0};
    assert_int_equal(vd_zone_find(longest, &zone, &err), VD_ERR_NOT_FOUND);
    assert_true(strlen(err.message) < 400);
    assert_int_equal(vd_zone_find("nowhere at all", &zone, NULL), VD_ERR_NOT_FOUND);
}

static void every_row_is_whole_plausible_and_unique(void **state)
{
    size_t n;
    const vd_zone *zone = vd_zone_list(&n);
    assert_true(n >= 200);
    for (size_t i = 0; i < n; i++) {
        assert_true(zone[i].g_per_kwh >= 0 && zone[i].g_per_kwh < 1500);
        assert_true(zone[i].year >= 2021 && zone[i].year <= 2025);
        assert_true(strspn(zone[i].code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == strlen(zone[i].code));
        assert_true(strlen(zone[i].name) > 1 && strlen(zone[i].source) > 10);
        assert_true(strcmp(zone[i].scope, "lifecycle") == 0 ||
                    strcmp(zone[i].scope, "direct") == 0);
        assert_ptr_equal(find(zone[i].code), &zone[i]);
    }
}

static void a_kilowatt_hour_weighs_what_the_table_says(void **state)
{
    vd_carbon c;
    vd_carbon_of(UINT64_C(3600000000000), 0, find("DE"), NULL, &c);
    assert_true(fabs(c.operational_g - 344) < 1e-9);
    assert_true(c.embodied_g == 0);
    assert_string_equal(c.kind, "average");
    assert_string_equal(c.basis, "location");
    assert_string_equal(c.valid_at, "2024");
}

static void embodied_carbon_follows_sci(void **state)
{
    /* SCI's own example: 1,000 kg over 4 years, one hour: 28 g. */
    vd_carbon c;
    vd_hardware hardware = {.server_kg = 1000, .life_years = 4};
    vd_carbon_of(0, UINT64_C(3600) * 1000000000, find("DE"), &hardware, &c);
    assert_true(fabs(c.embodied_g - 28.5) < 0.1);
    hardware.reserved_share = 0.25;
    vd_carbon quarter;
    vd_carbon_of(0, UINT64_C(3600) * 1000000000, find("DE"), &hardware, &quarter);
    assert_true(fabs(quarter.embodied_g * 4 - c.embodied_g) < 1e-9);
    /* Cloud Carbon Footprint's server with two sockets and 400 GB. */
    assert_true(fabs(vd_embodied_server_kg(2, UINT64_C(400000000000)) - 1633) < 0.5);
    assert_true(vd_embodied_server_kg(1, UINT64_C(8000000000)) == 1000);
}

static void the_json_object_has_the_keys_of_the_contract(void **state)
{
    vd_carbon c;
    vd_carbon_of(1840000, 1000000000, find("DE"), NULL, &c);
    json_t *value = vd_carbon_json(&c);
    static const char *const keys[] = {"operational_g", "embodied_g", "intensity_g_per_kwh",
                                       "kind",          "scope",      "basis",
                                       "zone",          "source",     "valid_at"};
    assert_int_equal(json_object_size(value), sizeof(keys) / sizeof(keys[0]));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_non_null(json_object_get(value, keys[i]));
    assert_true(fabs(json_real_value(json_object_get(value, "operational_g")) - 0.000175822) <
                1e-9);
    json_decref(value);

    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k < 60; k++) {
        vd_alloc_fail_at(k);
        json_decref(vd_carbon_json(&c));
        vd_alloc_fail_at(0);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_and_names_find_a_zone_in_any_case),
        cmocka_unit_test(figures_stand_where_the_publishers_have_them),
        cmocka_unit_test(an_unknown_zone_lists_near_ones),
        cmocka_unit_test(every_row_is_whole_plausible_and_unique),
        cmocka_unit_test(a_kilowatt_hour_weighs_what_the_table_says),
        cmocka_unit_test(embodied_carbon_follows_sci),
        cmocka_unit_test(the_json_object_has_the_keys_of_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
