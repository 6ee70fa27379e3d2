/* test_record.c - a run record out and in again, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "report/record.h"

static const char good[] =
    "{\"schema\":\"verdant.run/1\",\"kind\":\"bench\",\"label\":\"a\",\"series\":\"s\","
    "\"model\":{\"name\":\"m\",\"bytes\":5},\"machine\":{\"cpu\":\"c\"},"
    "\"meter\":{\"method\":\"rapl\",\"common_pct\":5,\"independent_pct\":0},"
    "\"samples\":[{\"pair\":0,\"order\":1,"
    "\"prefill\":{\"seconds\":0.5,\"joules\":4,\"tokens\":8},"
    "\"decode\":{\"seconds\":0.25,\"joules\":2,\"tokens\":4,\"cpu_j\":2}}]}";

static vd_status parse(const char *text, vd_run *run, vd_err *err)
{
    json_t *json = NULL;
    vd_status st = vd_json_parse(text, strlen(text), &json, err);
    if (st == VD_OK)
        st = vd_run_parse(json, run, err);
    json_decref(json);
    return st;
}

static void a_record_is_read_field_by_field(void **state)
{
    vd_run run;
    assert_int_equal(parse(good, &run, NULL), VD_OK);
    assert_string_equal(run.model.name, "m");
    assert_int_equal(run.model.bytes, 5);
    assert_null(run.model.quant);
    assert_int_equal(run.n_samples, 1);
    assert_true(run.sample[0].has_pair && run.sample[0].order == 1);
    assert_true(run.sample[0].decode.joules == 2 && run.sample[0].decode.cpu_j == 2);
    assert_true(isnan(run.sample[0].decode.dram_j) && isnan(run.carbon.g_per_kwh));
    vd_run_done(&run);
}

static void what_is_written_reads_back_the_same(void **state)
{
    vd_run run, again;
    assert_int_equal(parse(good, &run, NULL), VD_OK);
    run.carbon.g_per_kwh = 344;
    run.carbon.zone = "DE";
    run.quality.ppl = 12.5;
    run.cost[0] = (vd_run_cost){"compression", 61, NAN};
    run.n_costs = 1;
    json_t *json = vd_run_json(&run);
    assert_int_equal(vd_run_parse(json, &again, NULL), VD_OK);
    json_t *twice = vd_run_json(&again);
    assert_true(json_equal(json, twice));
    assert_true(again.carbon.g_per_kwh == 344 && again.quality.ppl == 12.5);
    assert_true(again.n_costs == 1 && again.cost[0].joules == 61 && isnan(again.cost[0].seconds));
    json_decref(json);
    json_decref(twice);
    vd_run_done(&run);
    vd_run_done(&again);
}

/* Replaces `from` in the good record with `to`; what is said then must hold `word`. */
static void refuses(const char *from, const char *to, const char *word)
{
    char text[2048];
    const char *at = strstr(good, from);
    vd_run run;
    vd_err err = {0};
    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    assert_int_not_equal(parse(text, &run, &err), VD_OK);
    if (strstr(err.message, word) == NULL)
        fail_msg("'%s' lacks '%s'", err.message, word);
}

static void what_is_wrong_is_said_with_its_field(void **state)
{
    refuses("verdant.run/1", "verdant.run/9", "verdant.run/9");
    refuses("\"schema\":\"verdant.run/1\",", "", "schema");
    refuses("\"kind\":\"bench\"", "\"kind\":\"dance\"", "kind");
    refuses("\"name\":\"m\"", "\"name\":7", "model.name");
    refuses("\"tokens\":4", "\"tokens\":0", "samples[0].decode.tokens");
    refuses("\"tokens\":4", "\"tokens\":4.5", "samples[0].decode.tokens");
    refuses("\"joules\":2", "\"joules\":0", "samples[0].decode.joules is 0");
    refuses("\"joules\":2", "\"joules\":-2", "samples[0].decode.joules");
    refuses("\"joules\":2", "\"joules\":\"2\"", "samples[0].decode.joules");
    refuses("\"joules\":2,", "", "samples[0].decode.joules is missing");
    refuses("\"joules\":2", "\"joules\":NaN", "JSON");
    refuses("\"joules\":2", "\"joules\":1e999", "JSON");
    refuses("\"common_pct\":5,", "", "meter.common_pct");
    refuses("\"cpu\":\"c\"", "", "machine.cpu");
    refuses("[{\"pair\":0", "[7,{\"pair\":0", "samples[0]");
    refuses("\"prefill\"", "\"preface\"", "prefill");
    refuses("\"model\":{\"name\":\"m\",\"bytes\":5}", "\"model\":3", "model must be an object");
    refuses("\"samples\":[", "\"samples\":[],\"x\":[", "samples is empty");
}

static void an_array_of_records_is_said_to_be_one(void **state)
{
    vd_run run;
    vd_err err = {0};
    assert_int_equal(parse("[1]", &run, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "array"));
}

static void short_memory_is_a_status_at_every_allocation(void **state)
{
    json_t *json = NULL;
    vd_run run;
    assert_int_equal(vd_json_parse(good, strlen(good), &json, NULL), VD_OK);
    for (uint64_t k = 1;; k++) {
        uint64_t live = vd_alloc_stats_get().n_live;
        vd_alloc_fail_at(k);
        vd_status st = vd_run_parse(json, &run, NULL);
        vd_alloc_fail_at(0);
        if (st == VD_OK) {
            vd_run_done(&run);
            assert_true(k > 1);
            break;
        }
        assert_int_equal(st, VD_ERR_NOMEM);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    json_decref(json);
}

static void series_differ_and_times_have_a_form(void **state)
{
    char a[VD_RUN_SERIES_MAX], b[VD_RUN_SERIES_MAX], time[VD_RUN_TIME_MAX];
    vd_run_series(a);
    vd_run_series(b);
    assert_string_not_equal(a, b);
    vd_run_time(time);
    assert_int_equal(strlen(time), 20);
    assert_true(time[10] == 'T' && time[19] == 'Z');
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_read_field_by_field),
        cmocka_unit_test(what_is_written_reads_back_the_same),
        cmocka_unit_test(what_is_wrong_is_said_with_its_field),
        cmocka_unit_test(an_array_of_records_is_said_to_be_one),
        cmocka_unit_test(short_memory_is_a_status_at_every_allocation),
        cmocka_unit_test(series_differ_and_times_have_a_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
