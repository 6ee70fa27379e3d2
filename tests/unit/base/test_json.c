/* test_json.c - JSON from strangers: depth, duplicates, numbers, encodings, short memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/json.h"

static vd_status parse(const char *text, vd_err *err)
{
    json_t *value = NULL;
    vd_status st = vd_json_parse(text, strlen(text), &value, err);
    assert_int_equal(value != NULL, st == VD_OK);
    json_decref(value);
    return st;
}

static void good_json_comes_back_as_it_was(void **state)
{
    static const char *const cases[] = {
        "{\"b\":1,\"a\":[true,false,null],\"c\":{\"d\":\"x\"}}", "[]", "{}", "\"text\"", "12",
        "-0.5", "true", "null", "[1,2,3]", "\"h\xC3\xA9\"", "9223372036854775807", "\"\\u0001\"",
    };
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        json_t *value = NULL;
        vd_err err = {0};
        assert_int_equal(vd_json_parse(cases[i], strlen(cases[i]), &value, &err), VD_OK);
        char *text = vd_json_text(value);
        assert_string_equal(text, cases[i]);
        vd_free(text);
        json_decref(value);
    }
    assert_null(vd_json_text(NULL));
}

static void bad_json_is_refused_with_its_place(void **state)
{
    static const char *const cases[] = {
        "", " ", "{", "[1,", "{\"a\":1,}", "[1 2]", "{\"a\":1,\"a\":2}", "NaN", "[Infinity]",
        "[-NaN]",
        "nul", "{'a':1}", "[1]x", "[1] [2]", "\"\\ud800\"", "\"\xFF\"", "\"\xED\xA0\x80\"",
        "\"\\x\"", "\"\t\"", "01", "1.", ".5", "+1", "1e999", "123456789012345678901234567890",
        "{1:2}", "\"a", "// c\n1", "\xEF\xBB\xBF{}",
    };
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        vd_err err = {0};
        if (parse(cases[i], &err) != VD_ERR_FORMAT)
            fail_msg("case %zu is taken: %s", i, cases[i]);
        assert_non_null(strstr(err.message, "line"));
    }
    json_t *value = NULL;
    assert_int_equal(vd_json_parse("1\0002", 3, &value, NULL), VD_ERR_FORMAT);
    vd_err err = {0};
    assert_int_equal(parse("{\n\"a\": bad}", &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "line 2"));
    assert_int_equal(parse("\"a\\u0000b\"", &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "a NUL (\\u0000)"));
}

static void nested(vd_buf *buf, size_t depth, const char *open, const char *inner,
                   const char *close)
{
    vd_buf_clear(buf);
    for (size_t i = 0; i < depth; i++)
        vd_buf_puts(buf, open);
    vd_buf_puts(buf, inner);
    for (size_t i = 0; i < depth; i++)
        vd_buf_puts(buf, close);
}

static void depth_ends_at_the_limit(void **state)
{
    vd_buf buf;
    vd_buf_init(&buf, 10 << 20);
    vd_err err = {0};
    nested(&buf, VD_JSON_DEPTH_MAX, "[", "1", "]");
    assert_int_equal(parse(vd_buf_text(&buf), &err), VD_OK);
    nested(&buf, VD_JSON_DEPTH_MAX + 1, "[", "1", "]");
    assert_int_equal(parse(vd_buf_text(&buf), &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "deeper than 64"));
    nested(&buf, VD_JSON_DEPTH_MAX + 1, "{\"a\":", "1", "}");
    assert_int_equal(parse(vd_buf_text(&buf), &err), VD_ERR_FORMAT);
    nested(&buf, 1000000, "[", "", "");
    assert_int_equal(parse(vd_buf_text(&buf), &err), VD_ERR_FORMAT);
    /* Brackets inside strings are no depth, also behind escaped quotes and backslashes. */
    vd_buf_clear(&buf);
    vd_buf_puts(&buf, "\"\\\"\\\\\\\"");
    for (int i = 0; i < 1000; i++)
        vd_buf_puts(&buf, "[{");
    vd_buf_puts(&buf, "\"");
    assert_int_equal(parse(vd_buf_text(&buf), &err), VD_OK);
    vd_buf_done(&buf);
}

static void every_allocation_may_fail(void **state)
{
    const char *text = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"n\":2,\"t\":0.5}";
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        assert_true(k < 500);
        vd_alloc_fail_at(k);
        json_t *value = NULL;
        vd_status st = vd_json_parse(text, strlen(text), &value, NULL);
        char *again = vd_json_text(value);
        vd_alloc_fail_at(0);
        bool whole = st == VD_OK && again != NULL;
        if (again != NULL)
            assert_string_equal(again, text);
        if (st != VD_OK && st != VD_ERR_NOMEM)
            fail_msg("allocation %d gives %s", (int)k, vd_status_name(st));
        vd_free(again);
        json_decref(value);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (whole)
            break;
    }
}

static int init(void **state)
{
    vd_json_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_json_comes_back_as_it_was),
        cmocka_unit_test(bad_json_is_refused_with_its_place),
        cmocka_unit_test(depth_ends_at_the_limit),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("json", tests, init, NULL);
}
