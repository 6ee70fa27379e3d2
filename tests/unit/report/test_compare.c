/* test_compare.c - reports and pages from two records: numbers for a reader, short memory. */
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
#include "base/buf.h"
#include "base/checked.h"
#include "report/compare.h"
#include "report/page.h"
#include "report/text.h"

/* `factor` scales the joules; every pair a little otherwise. */
static void make_run(const char *name, double factor, vd_run *run)
{
    vd_buf text;
    json_t *json = NULL;
    vd_buf_init(&text, 1 << 20);
    vd_buf_printf(&text, "{\"schema\":\"verdant.run/1\",\"kind\":\"bench\",\"series\":\"s\","
                  "\"model\":"
                  "{\"name\":\"%s\",\"file\":\"%s\",\"bytes\":9},\"machine\":{\"cpu\":\"c\"},"
                  "\"meter\":{\"method\":\"rapl\",\"common_pct\":5,\"independent_pct\":1,"
                  "\"idle_w\":9},\"carbon\":{\"intensity_g_per_kwh\":300},\"costs\":[{\"what\":"
                  "\"compression\",\"joules\":70}],\"samples\":[", name, name);
    for (int i = 0; i < 12; i++)
        vd_buf_printf(&text, "%s{\"pair\":%d,\"prefill\":{\"seconds\":1,\"joules\":%.6f,"
                      "\"tokens\":8,"
                      "\"cpu_j\":1},\"decode\":{\"seconds\":2,\"joules\":%.6f,\"tokens\":4}}",
                      i > 0 ? "," : "", i, factor * (2 + 0.01 * (i * 5 % 7)),
                      factor * (4 + 0.02 * (i * 3 % 5)));
    vd_buf_puts(&text, "]}");
    assert_int_equal(vd_json_parse(vd_buf_text(&text), text.n, &json, NULL), VD_OK);
    assert_int_equal(vd_run_parse(json, run, NULL), VD_OK);
    json_decref(json);
    vd_buf_done(&text);
}

static void short_memory_leaves_nothing_behind_at_every_allocation(void **state)
{
    vd_run a, b;
    vd_report_options options = {0};
    make_run("one", 1, &a);
    make_run("two", 0.8, &b);
    for (uint64_t k = 1;; k++) {
        uint64_t live = vd_alloc_stats_get().n_live;
        json_t *report = NULL;
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = vd_report_make(&a, &b, &options, &report, &err);
        vd_alloc_fail_at(0);
        json_decref(report);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK) {
            assert_true(k > 100);
            break;
        }
        assert_int_equal(st, VD_ERR_NOMEM);
    }
    vd_run_done(&a);
    vd_run_done(&b);
}

static void the_page_says_when_memory_is_short(void **state)
{
    vd_run a, b;
    vd_report_options options = {0};
    json_t *report = NULL;
    make_run("one", 1, &a);
    make_run("two", 0.8, &b);
    assert_int_equal(vd_report_make(&a, &b, &options, &report, NULL), VD_OK);
    for (uint64_t k = 1;; k++) {
        vd_buf page;
        vd_buf_init(&page, VD_REPORT_PAGE_MAX);
        vd_alloc_fail_at(k);
        vd_report_page(report, &page);
        vd_alloc_fail_at(0);
        bool whole = page.failed == VD_OK;
        assert_true(!whole || strstr(vd_buf_text(&page), "</html>") != NULL);
        vd_buf_done(&page);
        if (whole) {
            assert_true(k > 3);
            break;
        }
    }
    json_decref(report);
    vd_run_done(&a);
    vd_run_done(&b);
}

static void parts_of_an_answer_add_up_to_it(void **state)
{
    vd_run a, b;
    vd_report_options options = {.prompt_tokens = 100, .answer_tokens = 10};
    json_t *report = NULL, *phase, *part;
    const char *name, *key;
    make_run("one", 1, &a);
    make_run("two", 0.8, &b);
    assert_int_equal(vd_report_make(&a, &b, &options, &report, NULL), VD_OK);
    json_t *side = json_array_get(json_object_get(report, "sides"), 0);
    json_t *first = json_array_get(json_object_get(report, "comparisons"), 0);
    double sum = 0, answer = json_number_value(json_object_get(first, "a"));
    json_object_foreach(json_object_get(side, "parts_j_per_answer"), name, phase)
        json_object_foreach(phase, key, part)
            sum += json_number_value(part);
    assert_true(fabs(sum / answer - 1) < 1e-12);
    assert_true(fabs(answer / (100 * 2.03 / 8 + 10 * 4.04 / 4) - 1) < 0.01);
    json_decref(report);
    vd_run_done(&a);
    vd_run_done(&b);
}

static void numbers_have_three_digits_and_a_prefix(void **state)
{
    static const struct {
        double value;
        const char *unit, *text;
    } table[] = {
        {0.0412345, "J", "41.2 mJ"}, {1.5, "J", "1.50 J"},       {999.7, "J", "1.00 kJ"},
        {0, "J", "0 J"},             {12345678, "B", "12.3 MB"}, {0.0000021, "g", "2.10 \xc2\xb5g"},
        {12345, "kWh", "12,345 kWh"}, {0.5, "s", "500 ms"},      {90, "s", "90 s"},
        {1234567.0, "", "1,234,567"}, {97.52, "", "97.5"},       {0.00123, "", "0.00123"},
    };
    for (size_t i = 0; i < VD_COUNT(table); i++)
        assert_string_equal(vd_unit_text(table[i].value, table[i].unit).text, table[i].text);
    assert_string_equal(vd_number_text(NAN).text, "unknown");
    assert_string_equal(vd_ratio_text(0.72).text, "0.720");
    assert_string_equal(vd_ratio_text(1.5).text, "1.50");
    assert_string_equal(vd_ratio_text(1).text, "1.00"); /* and nothing else reads so */
    assert_string_equal(vd_ratio_text(1.0021).text, "1.002");
    assert_string_equal(vd_ratio_text(0.99991).text, "0.9999");
}

static void foreign_text_cannot_leave_its_place(void **state)
{
    vd_buf out;
    vd_buf_init(&out, 1000);
    vd_put_escaped(&out, "<b a='1' b=\"2\">&\x01\x7f\n");
    assert_string_equal(vd_buf_text(&out), "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;   ");
    vd_buf_done(&out);
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_memory_leaves_nothing_behind_at_every_allocation),
        cmocka_unit_test(the_page_says_when_memory_is_short),
        cmocka_unit_test(parts_of_an_answer_add_up_to_it),
        cmocka_unit_test(numbers_have_three_digits_and_a_prefix),
        cmocka_unit_test(foreign_text_cannot_leave_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
