/* Errors as clients read them, and JSON as we write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "serve/errors.h"
#include "serve/jout.h"

static void an_error_has_message_type_param_and_code(void **state)
{
    vd_api_error error;
    vd_buf out;
    vd_buf_init(&out, 4096);
    assert_int_equal(VD_BAD_PARAM(&error, "n", "invalid_type", "'n' must be %s", "\"x\"\n"),
                     VD_ERR_ARG);
    vd_api_error_write(&error, &out);
    assert_string_equal(vd_buf_text(&out),
                        "{\"error\":{\"message\":\"'n' must be \\\"x\\\"\\n\",\"type\":"
                        "\"invalid_request_error\",\"param\":\"n\",\"code\":\"invalid_type\"}}");
    vd_buf_done(&out);
}

static void null_stands_for_no_param_and_no_code(void **state)
{
    vd_api_error error;
    vd_buf out;
    vd_buf_init(&out, 4096);
    (void)!vd_api_fail(&error, 503, NULL, NULL, "busy");
    vd_api_error_write(&error, &out);
    assert_string_equal(vd_buf_text(&out), "{\"error\":{\"message\":\"busy\",\"type\":"
                                           "\"server_error\",\"param\":null,\"code\":null}}");
    assert_int_equal(error.retry_after_s, 1);
    assert_true(vd_api_error_may_retry(&error));
    vd_buf_done(&out);
}

static void inner_failures_keep_their_words_to_themselves(void **state)
{
    vd_api_error error;
    vd_err err = {.status = VD_ERR_IO, .message = "/secret/path: 0x7ffe"};
    (void)!vd_api_fail_from(&error, &err, NULL);
    assert_int_equal(error.http, 500);
    assert_null(strstr(error.message, "secret"));
    err.status = VD_ERR_CONTEXT;
    (void)!vd_api_fail_from(&error, &err, "messages");
    assert_int_equal(error.http, 400);
    assert_string_equal(error.code, "context_length_exceeded");
}

static void a_long_message_is_cut_between_characters(void **state)
{
    vd_api_error error;
    char text[1000];
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    (void)!vd_api_fail(&error, 400, NULL, NULL, "x%s", text);
    json_t *value = json_stringn(error.message, strlen(error.message));
    assert_non_null(value); /* NULL were it not UTF-8 */
    json_decref(value);
}

static void written_strings_read_back_and_bad_bytes_are_replaced(void **state)
{
    vd_buf out;
    vd_err err;
    json_t *value;
    vd_buf_init(&out, 4096);
    const char text[] = "a\"\\/\b\f\n\r\t\x01\x7f\xc3\xa9\xf0\x9f\x98\x80z";
    vd_jout_string(&out, text, sizeof(text) - 1);
    assert_int_equal(vd_json_parse(out.data, out.n, &value, &err), VD_OK);
    assert_memory_equal(json_string_value(value), text, sizeof(text));
    json_decref(value);
    vd_buf_clear(&out);
    vd_jout_string(&out, "a\xff\xc3", 3);
    assert_string_equal(out.data, "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
    vd_buf_done(&out);
}

static void half_characters_are_shown_as_bytes(void **state)
{
    vd_buf out;
    vd_buf_init(&out, 4096);
    vd_jout_token(&out, "\xf0\x9f", 2);
    assert_string_equal(out.data, "\"bytes:\\\\xf0\\\\x9f\"");
    vd_buf_clear(&out);
    vd_jout_bytes(&out, "\xf0\x9f", 2);
    assert_string_equal(out.data, "[240,159]");
    vd_buf_clear(&out);
    vd_jout_number(&out, -INFINITY, 9);
    assert_string_equal(out.data, "-9999");
    vd_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_message_type_param_and_code),
        cmocka_unit_test(null_stands_for_no_param_and_no_code),
        cmocka_unit_test(inner_failures_keep_their_words_to_themselves),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(written_strings_read_back_and_bad_bytes_are_replaced),
        cmocka_unit_test(half_characters_are_shown_as_bytes),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
