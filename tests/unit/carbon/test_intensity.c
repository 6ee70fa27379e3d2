/* test_intensity.c - the table of grids, and grams from joules. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

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

static void a_value_of_the_table_carries_its_tags(void **state)
{
    const int64_t in_2024 = 1710000000, in_2026 = 1790000000;
    vd_intensity v = vd_zone_intensity(find("DE"), in_2024);
    assert_true(v.g_per_kwh == 344 && !v.estimated && !v.stale && !v.mixed);
    assert_string_equal(v.kind, "average");
    assert_string_equal(v.scope, "lifecycle");
    assert_string_equal(v.basis, "location");
    assert_string_equal(v.boundary, "production");
    assert_string_equal(v.zone, "DE");
    assert_string_equal(v.version, "2024");
    assert_int_equal(v.valid_from_s, 1704067200); /* 2024-01-01 */
    assert_int_equal(v.valid_to_s, 1735689600);
    assert_true(vd_zone_intensity(find("DE"), in_2026).estimated);
    vd_intensity other = v;
    other.g_per_kwh = 1;
    other.estimated = true;
    assert_true(vd_intensity_alike(&v, &other)); /* another figure of the same kind */
    const char **const tags[] = {&other.kind, &other.scope, &other.basis, &other.boundary,
                                 &other.source};
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        const char *kept = *tags[i];
        *tags[i] = "else";
        assert_false(vd_intensity_alike(&v, &other));
        *tags[i] = kept;
    }
    other.zone[0] = 'X';
    assert_false(vd_intensity_alike(&v, &other));
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_and_names_find_a_zone_in_any_case),
        cmocka_unit_test(figures_stand_where_the_publishers_have_them),
        cmocka_unit_test(an_unknown_zone_lists_near_ones),
        cmocka_unit_test(every_row_is_whole_plausible_and_unique),
        cmocka_unit_test(a_value_of_the_table_carries_its_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
