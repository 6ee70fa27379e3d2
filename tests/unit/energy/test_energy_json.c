/* test_energy_json.c - the object of the API. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "energy/energy_json.h"

static const vd_energy example = {.total_uj = 1840000,
                                  .active_uj = 1520000,
                                  .idle_share_uj = 320000,
                                  .prefill_uj = 410000,
                                  .decode_uj = 1110000,
                                  .cpu_uj = 1600000,
                                  .dram_uj = 240000,
                                  .method = "rapl",
                                  .uncertainty_pct = 5.385,
                                  .common_pct = 5,
                                  .independent_pct = 2,
                                  .settled = true};

static void the_object_has_the_keys_of_the_contract_and_short_numbers(void **state)
{
    json_t *value = vd_energy_json(&example, json_pack("{s:s}", "zone", "DE"));
    char *text = vd_json_text(value);
    assert_string_equal(text, "{\"total_j\":1.84,\"active_j\":1.52,\"idle_share_j\":0.32,"
                              "\"prefill_j\":0.41,\"decode_j\":1.11,"
                              "\"components_j\":{\"cpu\":1.6,\"dram\":0.24,\"gpu\":0.0},"
                              "\"method\":\"rapl\",\"uncertainty_pct\":5.4,"
                              "\"uncertainty\":{\"common_pct\":5.0,\"independent_pct\":2.0},"
                              "\"carbon\":{\"zone\":\"DE\"}}");
    vd_free(text);
    json_decref(value);
}

static void what_is_unsettled_or_incomplete_says_so_and_nothing_else_does(void **state)
{
    vd_energy energy = example;
    energy.settled = false;
    energy.incomplete = true;
    json_t *value = vd_energy_json(&energy, NULL);
    assert_true(json_is_false(json_object_get(value, "settled")));
    assert_true(json_is_true(json_object_get(value, "incomplete")));
    assert_null(json_object_get(value, "carbon"));
    json_decref(value);
    value = vd_energy_json(&example, NULL);
    assert_null(json_object_get(value, "settled"));
    assert_null(json_object_get(value, "incomplete"));
    json_decref(value);
}

static void microjoules_read_back_exactly(void **state)
{
    for (uint64_t uj = 1; uj < (UINT64_C(1) << 45); uj = uj * 3 + 1) {
        vd_energy energy = example;
        energy.total_uj = uj;
        json_t *value = vd_energy_json(&energy, NULL), *back = NULL;
        char *text = vd_json_text(value);
        assert_int_equal(vd_json_parse(text, strlen(text), &back, NULL), VD_OK);
        double joules = json_real_value(json_object_get(back, "total_j"));
        assert_true((uint64_t)(joules * 1e6 + 0.5) == uj);
        vd_free(text);
        json_decref(value);
        json_decref(back);
    }
}

static void short_memory_gives_null_and_leaks_nothing(void **state)
{
    vd_alloc_stats before = vd_alloc_stats_get();
    for (uint64_t k = 1; k < 200; k++) {
        json_t *carbon = json_pack("{s:s}", "zone", "DE");
        vd_alloc_fail_at(k);
        json_t *value = vd_energy_json(&example, carbon);
        vd_alloc_fail_at(0);
        json_decref(value);
        assert_int_equal(vd_alloc_stats_get().n_live, before.n_live);
    }
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_object_has_the_keys_of_the_contract_and_short_numbers),
        cmocka_unit_test(what_is_unsettled_or_incomplete_says_so_and_nothing_else_does),
        cmocka_unit_test(microjoules_read_back_exactly),
        cmocka_unit_test(short_memory_gives_null_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
