/* test_base64.c - the vectors of RFC 4648, section 10, and every length there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/buf.h"

static void the_vectors_of_the_rfc_hold(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},         {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe", "//4="},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        vd_buf out;
        vd_buf_init(&out, 64);
        vd_base64_append(&out, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(vd_buf_text(&out), pairs[i][1]);
        vd_buf_done(&out);
    }
}

static void every_length_comes_back(void **state)
{
    char bytes[300], back[400];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 37 + i / 7);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        vd_buf out;
        size_t n_back = SIZE_MAX;
        vd_buf_init(&out, 1000);
        vd_base64_append(&out, bytes, n);
        assert_int_equal(out.n, (n + 2) / 3 * 4);
        assert_true(vd_base64_decode(vd_buf_text(&out), out.n, back, &n_back));
        assert_int_equal(n_back, n);
        assert_memory_equal(back, bytes, n);
        vd_buf_done(&out);
    }
}

static void what_is_no_base64_is_refused(void **state)
{
    static const char *const bad[] = {"Zg=", "Zg", "Z===", "Zg==Zg==", "Z=g=", "Zm9v\n", "Zm-_",
                                      "====", "Zm9 "};
    char bytes[16];
    size_t n;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(vd_base64_decode(bad[i], strlen(bad[i]), bytes, &n));
}

static void a_ceiling_is_a_failure_and_memory_comes_back(void **state)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_buf out;
    vd_buf_init(&out, 7);
    vd_base64_append(&out, "foobar", 6);
    assert_int_not_equal(out.failed, VD_OK);
    vd_buf_done(&out);
    assert_int_equal(vd_alloc_stats_get().n_live, live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_rfc_hold),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(what_is_no_base64_is_refused),
        cmocka_unit_test(a_ceiling_is_a_failure_and_memory_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
