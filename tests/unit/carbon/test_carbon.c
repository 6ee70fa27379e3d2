/* test_carbon.c - grams and litres from joules: the formulas of docs/carbon.md, its worked example,
 * and the object of the API. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "carbon/carbon.h"

#define HOUR_NS (UINT64_C(3600) * 1000000000)

static vd_intensity german(void)
{
    const vd_zone *zone = NULL;
    assert_int_equal(vd_zone_find("DE", &zone, NULL), VD_OK);
    return vd_zone_intensity(zone, 1790000000);
}

static vd_carbon_use flat(uint64_t energy_uj, uint64_t machine_ns, const vd_intensity *v)
{
    return (vd_carbon_use){energy_uj, vd_carbon_flat_ug(energy_uj, v), machine_ns};
}

static void near(double got, double wanted, double relative)
{
    if (!(fabs(got - wanted) <= relative * fabs(wanted) + 1e-300))
        fail_msg("%.12g is not %.12g", got, wanted);
}

static void a_kilowatt_hour_weighs_what_the_table_says(void **state)
{
    vd_carbon c;
    vd_intensity v = german();
    vd_carbon_use use = flat(UINT64_C(3600000000000), 0, &v);
    vd_carbon_of(&use, &v, NULL, NULL, &c);
    near(c.operational_g, 344, 1e-12);
    near(c.intensity.g_per_kwh, 344, 1e-12);
    assert_true(c.embodied_g == 0 && c.water_l < 0 && c.pue == 1);
}

/* Two windows of different energy and intensity: a sum of products, never a product of means. */
static void operational_grams_are_a_sum_over_intervals(void **state)
{
    vd_intensity v = german(), day = v, night = v;
    day.g_per_kwh = 100;
    night.g_per_kwh = 500;
    const uint64_t e_day = UINT64_C(3600000000000), e_night = 3 * e_day; /* 1 and 3 kWh */
    vd_carbon_use use = {e_day + e_night,
                         vd_carbon_flat_ug(e_day, &day) + vd_carbon_flat_ug(e_night, &night), 0};
    vd_carbon c;
    vd_carbon_of(&use, &v, NULL, NULL, &c);
    near(c.operational_g, 1600, 1e-12); /* mean x mean would be 4 x 300 = 1200 */
    near(c.intensity.g_per_kwh, 400, 1e-12);
}

static void pue_multiplies_the_energy_once(void **state)
{
    vd_carbon plain, c;
    vd_intensity v = german();
    vd_carbon_use use = flat(UINT64_C(3600000000000), HOUR_NS, &v);
    vd_carbon_of(&use, &v, NULL, NULL, &plain);
    vd_carbon_of(&use, &v, &(vd_site){.pue = 1.25}, NULL, &c);
    near(c.operational_g, 430, 1e-12);
    near(c.energy_kwh, 1.25, 1e-12);
    near(c.intensity.g_per_kwh, 344, 1e-12); /* the grid does not change */
    near(c.embodied_g, plain.embodied_g, 1e-12);
    near(c.pue, 1.25, 0);
}

/* E_IT x (WUE_site + PUE x WUE_grid), with 1.1, 0.5 and 3.1: 0.5 + 3.41 litres. */
static void water_is_that_of_the_site_and_of_the_plants(void **state)
{
    vd_carbon c;
    vd_intensity v = german();
    vd_carbon_use use = flat(UINT64_C(3600000000000), 0, &v);
    vd_carbon_of(&use, &v, &(vd_site){1.1, 0.5, 3.1}, NULL, &c);
    near(c.water_l, 3.91, 1e-12);
    vd_carbon_of(&use, &v, &(vd_site){.pue = 1.1}, NULL, &c);
    assert_true(c.water_l < 0);
    vd_carbon_of(&use, &v, &(vd_site){0, 0.5, 0}, NULL, &c);
    near(c.water_l, 0.5, 1e-12);
}

static void embodied_carbon_follows_sci(void **state)
{
    /* SCI's own example: 1,000 kg over 4 years, one hour: 28 g. */
    vd_hardware hardware = {.server_kg = 1000, .life_years = 4};
    double whole = vd_embodied_g(HOUR_NS, &hardware);
    near(whole, 28.5, 0.003);
    assert_int_equal((int)whole, 28);
    hardware.reserved_share = 0.25;
    near(vd_embodied_g(HOUR_NS, &hardware) * 4, whole, 1e-12);
    near(vd_embodied_g(HOUR_NS, NULL), whole, 1e-12);
}

/* docs/carbon.md, "A worked example": the figures that stand there. */
static void the_worked_example_of_the_page_is_right(void **state)
{
    vd_intensity v = german();
    const vd_hardware hardware = {.server_kg = 1600, .life_years = 4, .reserved_share = 2.0 / 112};
    vd_carbon_use use = flat(7200000, 1500000000, &v); /* 7.2 J, 1.5 s of the machine */
    vd_carbon c;
    vd_carbon_of(&use, &v, &(vd_site){1.2, 0.3, 3.1}, &hardware, &c);
    near(c.operational_g * 1e3, 0.8256, 1e-9);
    near(c.embodied_g * 1e3, 0.339515, 1e-5);
    near(c.water_l * 1e3, 0.00804, 1e-9);
    json_t *value = vd_carbon_json(&c, 150);
    const json_t *sci = json_object_get(value, "sci");
    near(json_real_value(json_object_get(sci, "sci_mg_per_token")), 0.00776743, 1e-5);
    near(json_real_value(json_object_get(sci, "g_per_request")), 0.00116512, 1e-5);
    json_decref(value);
}

static void a_sum_of_different_kinds_says_so(void **state)
{
    vd_carbon sum = {0}, average, marginal;
    vd_intensity v = german(), m = v;
    m.kind = "marginal";
    m.g_per_kwh = 700;
    m.stale = true;
    vd_carbon_use a = flat(UINT64_C(3600000000000), HOUR_NS, &v);
    vd_carbon_use b = flat(UINT64_C(3600000000000), HOUR_NS, &m);
    vd_carbon_of(&a, &v, NULL, NULL, &average);
    vd_carbon_of(&b, &m, NULL, NULL, &marginal);
    vd_carbon_add(&sum, &average);
    vd_carbon_add(&sum, &average);
    assert_false(sum.intensity.mixed);
    near(sum.operational_g, 688, 1e-12);
    near(sum.embodied_g, 2 * average.embodied_g, 1e-12);
    near(sum.intensity.g_per_kwh, 344, 1e-12);
    vd_carbon_add(&sum, &marginal);
    assert_true(sum.intensity.mixed && sum.intensity.stale && sum.intensity.estimated);
    near(sum.operational_g, 1388, 1e-12);
    near(sum.intensity.g_per_kwh, 1388.0 / 3, 1e-12);
    vd_carbon_add(&sum, &marginal);
    assert_true(sum.intensity.mixed); /* once mixed, always */
    json_t *value = vd_carbon_json(&sum, 0);
    assert_true(json_is_true(json_object_get(value, "mixed")));
    json_decref(value);
}

static void the_json_object_has_the_keys_of_the_contract(void **state)
{
    static const char *const keys[] = {
        "operational_g", "embodied_g", "intensity_g_per_kwh", "kind",     "scope",     "basis",
        "boundary",      "zone",       "source",              "version",  "valid_at",  "estimated",
        "stale",         "pue"};
    vd_carbon c;
    vd_intensity v = german();
    vd_carbon_use use = flat(1840000, 1000000000, &v);
    vd_carbon_of(&use, &v, NULL, NULL, &c);
    json_t *value = vd_carbon_json(&c, 0);
    assert_int_equal(json_object_size(value), sizeof(keys) / sizeof(keys[0]));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_non_null(json_object_get(value, keys[i]));
    near(json_real_value(json_object_get(value, "operational_g")), 0.000175822, 1e-5);
    assert_string_equal(json_string_value(json_object_get(value, "valid_at")), "2024");
    assert_true(json_is_true(json_object_get(value, "estimated"))); /* 2024 stands in for 2026 */
    json_decref(value);

    c.water_l = 0.25;
    c.intensity.valid_from_s = 1710000000;
    c.intensity.valid_to_s = 1710003600;
    value = vd_carbon_json(&c, 10);
    near(json_real_value(json_object_get(value, "water_l")), 0.25, 0);
    assert_string_equal(json_string_value(json_object_get(value, "valid_at")),
                        "2024-03-09T16:00:00Z");
    assert_non_null(json_object_get(json_object_get(value, "sci"), "functional_unit"));
    json_decref(value);

    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k < 90; k++) {
        vd_alloc_fail_at(k);
        json_decref(vd_carbon_json(&c, 10));
        vd_alloc_fail_at(k);
        json_decref(vd_intensity_json(&v));
        vd_alloc_fail_at(0);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
}

/* ---- hardware --------------------------------------------------------------------------------*/

static void a_virtual_machine_is_a_part_of_a_server(void **state)
{
    vd_hardware_facts facts = {.cpu = "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
                               .virtual_machine = true,
                               .n_cpu = 2,
                               .memory_bytes = UINT64_C(8000000000)};
    vd_hardware h = vd_hardware_guess(&facts);
    near(h.reserved_share, 2.0 / 112, 1e-12);
    near(h.server_kg, 1000 + (448 - 16) * 533.0 / 384, 1e-12);
    /* What it is charged with: its part of the base, and its own memory. */
    near(h.server_kg * h.reserved_share, 1000.0 / 56 + (8 - 16.0 / 56) * 533 / 384, 1e-9);
    facts.cpu = "AMD EPYC"; /* hides its name: 64 threads */
    near(vd_hardware_guess(&facts).reserved_share, 2.0 / 64, 1e-12);
    facts.n_cpu = 96; /* more than one socket has */
    h = vd_hardware_guess(&facts);
    near(h.reserved_share, 0.75, 1e-12);
    near(h.server_kg, 1100, 1e-12);
    facts.reserved_share = 0.5; /* who knows it better: the server's memory follows */
    h = vd_hardware_guess(&facts);
    near(h.reserved_share, 0.5, 0);
    facts.memory_bytes = UINT64_C(100000000000);
    near(vd_hardware_guess(&facts).server_kg, 1100 + (200 - 16) * 533.0 / 384, 1e-12);
    facts.virtual_machine = false; /* counters and power are the whole machine's */
    facts.n_sockets = 2;
    facts.reserved_share = 0;
    facts.memory_bytes = UINT64_C(400000000000);
    h = vd_hardware_guess(&facts);
    assert_true(h.reserved_share == 1);
    near(h.server_kg, 1100 + 384 * 533.0 / 384, 1e-12); /* 1,633: CCF's server of that size */
}

static void parts_weigh_what_their_sources_say(void **state)
{
    size_t n;
    const vd_part_kg *part = vd_part_list(&n);
    for (size_t i = 0; i < n; i++) {
        assert_true(part[i].kg > 0 && strlen(part[i].source) > 10);
        near(vd_part_weight_kg(part[i].part), part[i].kg, 0);
    }
    near(vd_part_weight_kg("H100"), 164, 0);
    near(vd_part_weight_kg("dram-gb") * 384, 533, 1e-12);
    assert_true(vd_part_weight_kg("voodoo") == 0);
    vd_hardware h = vd_hardware_guess(
        &(vd_hardware_facts){.n_ssd = 2, .n_gpu = 8, .gpu = "h100", .n_sockets = 1});
    near(h.server_kg, 1000 + 200 + 8 * 164, 1e-12);
    /* A GPU is handed through whole, however small the machine around it. */
    vd_hardware_facts small = {.virtual_machine = true, .n_cpu = 16};
    double without = vd_hardware_guess(&small).server_kg * vd_hardware_guess(&small).reserved_share;
    small.n_gpu = 1;
    h = vd_hardware_guess(&small);
    near(h.server_kg * h.reserved_share - without, 150, 1e-9);
    assert_int_equal(vd_socket_threads("AMD EPYC 7763 64-Core Processor"), 128);
    assert_int_equal(vd_socket_threads(NULL), 0);
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kilowatt_hour_weighs_what_the_table_says),
        cmocka_unit_test(operational_grams_are_a_sum_over_intervals),
        cmocka_unit_test(pue_multiplies_the_energy_once),
        cmocka_unit_test(water_is_that_of_the_site_and_of_the_plants),
        cmocka_unit_test(embodied_carbon_follows_sci),
        cmocka_unit_test(the_worked_example_of_the_page_is_right),
        cmocka_unit_test(a_sum_of_different_kinds_says_so),
        cmocka_unit_test(the_json_object_has_the_keys_of_the_contract),
        cmocka_unit_test(a_virtual_machine_is_a_part_of_a_server),
        cmocka_unit_test(parts_weigh_what_their_sources_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
