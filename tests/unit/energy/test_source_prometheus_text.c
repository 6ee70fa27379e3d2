/* test_source_prometheus_text.c - one value out of a page in Prometheus' text format. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "energy/sources/prometheus_text.h"

/* The page lies in memory that ends where it ends, so that a look past it is seen. */
static vd_status find(const char *page, const char *query, vd_metric *ret, vd_err *err)
{
    vd_metric_query q;
    size_t n = 0, size = strlen(page);
    assert_int_equal(vd_metric_query_parse(query, &q, &n, err), VD_OK);
    assert_int_equal(n, strlen(query));
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    for (size_t i = 0; i < size; i++)
        copy[i] = page[i];
    vd_status st = vd_metric_find(copy, size, &q, ret, err);
    free(copy);
    return st;
}

static void the_value_of_the_one_series_is_found(void **state)
{
    static const struct {
        const char *page, *query;
        double value;
    } cases[] = {
        {"a 1", "a", 1},
        {"a 1\n", "a", 1},
        {"a 1\r\n", "a", 1},
        {"  a \t 1  \n", "a", 1},
        {"a 1 1700000000000\n", "a", 1},
        {"a 1 1700000000.5 # {id=\"x\"} 0.5\n", "a", 1},
        {"# HELP a b\n# TYPE a gauge\na 1.5e3\nab 2\n", "a", 1500},
        {"ab 2\na 1\nb 3\n", "a", 1},
        {"a{} 4\n", "a", 4},
        {"a{x=\"1\"} 4\n", "a", 4},
        {"a{x=\"1\",} 4\n", "a{x=\"1\"}", 4},
        {"a { x = \"1\" , y = \"2\" } 4\n", "a{y=\"2\"}", 4},
        {"a{x=\"1\"} 4\na{x=\"2\"} 5\n", "a{x=\"2\"}", 5},
        {"a{x=\"12\"} 4\na{x=\"1\"} 5\n", "a{x=\"1\"}", 5},
        {"a{x=\"\\\"}\\\\\\n\"} 6\n", "a{x=\"\\\"}\\\\\\n\"}", 6},
        {"a{x=\"\"} 7\n", "a{x=\"\"}", 7},
        {"a{x=\"1\",y=\"2\"} 8\na{x=\"1\",y=\"3\"} 9\n", "a{x=\"1\", y=\"3\"}", 9},
        {"b{ 1\n}\n\n# comment {\na 1\n", "a", 1}, /* others may be malformed */
        {"a:b_c9 -2.5\n", "a:b_c9", -2.5},
        {"a 0x10\n", "a", 16},
        {"a_total 3\n# EOF\n", "a_total", 3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vd_metric m = {0};
        vd_err err = {0};
        if (find(cases[i].page, cases[i].query, &m, &err) != VD_OK)
            fail_msg("case %zu: %s", i, err.message);
        assert_true(m.value == cases[i].value);
    }
    vd_metric m;
    vd_err err = {0};
    assert_int_equal(find("a NaN\n", "a", &m, &err), VD_OK);
    assert_true(isnan(m.value));
    assert_int_equal(find("a -Inf\n", "a", &m, &err), VD_OK);
    assert_true(isinf(m.value));
}

static void the_kind_is_what_the_page_says(void **state)
{
    vd_metric m;
    vd_err err = {0};
    assert_int_equal(find("# TYPE a counter\na 1\n", "a", &m, &err), VD_OK);
    assert_int_equal(m.type, VD_METRIC_COUNTER);
    assert_int_equal(find("#TYPE a gauge\na 1\n", "a", &m, &err), VD_OK);
    assert_int_equal(m.type, VD_METRIC_GAUGE);
    assert_int_equal(find("# TYPE a counter\na_total 1\n", "a_total", &m, &err), VD_OK);
    assert_int_equal(m.type, VD_METRIC_COUNTER); /* OpenMetrics */
    assert_int_equal(find("# TYPE b counter\n# TYPE a histogram\na 1\n", "a", &m, &err), VD_OK);
    assert_int_equal(m.type, VD_METRIC_UNKNOWN);
    assert_int_equal(find("# HELP a counter\na 1\n", "a", &m, &err), VD_OK);
    assert_int_equal(m.type, VD_METRIC_UNKNOWN);
}

static void what_is_not_there_or_malformed_is_told_apart(void **state)
{
    static const struct {
        const char *page, *query;
        vd_status status;
    } cases[] = {
        {"", "a", VD_ERR_NOT_FOUND},
        {"\n\n", "a", VD_ERR_NOT_FOUND},
        {"ab 1\n", "a", VD_ERR_NOT_FOUND},
        {"a{x=\"1\"} 4\n", "a{x=\"2\"}", VD_ERR_NOT_FOUND},
        {"a{x=\"1\"} 4\n", "a{x=\"12\"}", VD_ERR_NOT_FOUND},
        {"a{x=\"12\"} 4\n", "a{x=\"1\"}", VD_ERR_NOT_FOUND},
        {"a{x=\"1\"} 4\n", "a{y=\"1\"}", VD_ERR_NOT_FOUND},
        {"a 4\n", "a{y=\"1\"}", VD_ERR_NOT_FOUND},
        {"a 1\na 1\n", "a", VD_ERR_ARG},
        {"a{x=\"1\"} 1\na{x=\"2\"} 1\n", "a", VD_ERR_ARG},
        {"<!DOCTYPE html>\na 1\n", "a", VD_ERR_FORMAT},
        {"a\n", "a", VD_ERR_FORMAT},
        {"a one\n", "a", VD_ERR_FORMAT},
        {"a 1 2 3\n", "a", VD_ERR_FORMAT},
        {"a 1 now\n", "a", VD_ERR_FORMAT},
        {"a{\n", "a", VD_ERR_FORMAT},
        {"a{x\n", "a", VD_ERR_FORMAT},
        {"a{x=\n", "a", VD_ERR_FORMAT},
        {"a{x=\"1\n", "a", VD_ERR_FORMAT},
        {"a{x=\"1\\", "a", VD_ERR_FORMAT},
        {"a{x=\"\\q\"} 1\n", "a", VD_ERR_FORMAT},
        {"a{x=\"1\"\n", "a", VD_ERR_FORMAT},
        {"a{x=\"1\"y=\"2\"} 1\n", "a", VD_ERR_FORMAT},
        {"a{=\"1\"} 1\n", "a", VD_ERR_FORMAT},
        {"a{x=\"1\"}\n", "a", VD_ERR_FORMAT},
        {"a 11111111111111111111111111111111111111111111111111111111111111111\n", "a",
         VD_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vd_metric m = {.value = 77};
        vd_err err = {0};
        if (find(cases[i].page, cases[i].query, &m, &err) != cases[i].status)
            fail_msg("case %zu: %s", i, err.message);
        assert_true(m.value == 77 && err.message[0] != '\0');
    }
}

static void queries_are_refused_that_are_none(void **state)
{
    static const char *const bad[] = {
        "",      "9a",        "{",          "a{",           "a{b",
        "a{b=",  "a{b=\"",    "a{b=\"c\"",  "a{b=c}",       "a{=\"c\"}",
        "a{,}",  "a{b=\"\\x\"}", "a{b=\"c\" d=\"e\"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        vd_metric_query q;
        size_t n;
        vd_err err = {0};
        assert_int_equal(vd_metric_query_parse(bad[i], &q, &n, &err), VD_ERR_ARG);
    }
    char longer[400] = "a{b=\"";
    memset(longer + 5, 'x', 200);
    memcpy(longer + 205, "\"}", 3);
    vd_metric_query q;
    size_t n;
    assert_int_equal(vd_metric_query_parse(longer, &q, &n, NULL), VD_ERR_ARG);
    memset(longer, 'a', 200);
    longer[200] = '\0';
    assert_int_equal(vd_metric_query_parse(longer, &q, &n, NULL), VD_ERR_ARG);
    assert_int_equal(vd_metric_query_parse("a{a=\"1\",b=\"1\",c=\"1\",d=\"1\",e=\"1\",f=\"1\","
                                           "g=\"1\",h=\"1\",i=\"1\"}",
                                           &q, &n, NULL),
                     VD_ERR_ARG);
    assert_int_equal(vd_metric_query_parse("a{b=\"1\"}&unit=W", &q, &n, NULL), VD_OK);
    assert_int_equal(n, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_value_of_the_one_series_is_found),
        cmocka_unit_test(the_kind_is_what_the_page_says),
        cmocka_unit_test(what_is_not_there_or_malformed_is_told_apart),
        cmocka_unit_test(queries_are_refused_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
