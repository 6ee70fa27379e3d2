/* test_buf.c - growing text with a ceiling; checked arithmetic; statuses and error messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"

static void text_is_always_terminated(void **state)
{
    vd_buf buf;
    vd_buf_init(&buf, 1000);
    assert_string_equal(vd_buf_text(&buf), "");
    for (int i = 0; i < 200; i++) {
        vd_buf_putc(&buf, 'a');
        assert_int_equal(strlen(vd_buf_text(&buf)), i + 1);
    }
    vd_buf_clear(&buf);
    assert_string_equal(vd_buf_text(&buf), "");
    vd_buf_printf(&buf, "%d-%s", 7, "x");
    vd_buf_puts(&buf, "!");
    vd_buf_append(&buf, NULL, 0);
    assert_string_equal(vd_buf_text(&buf), "7-x!");
    assert_int_equal(vd_buf_status(&buf, "text", NULL), VD_OK);
    vd_buf_done(&buf);
    vd_buf_done(&buf);
}

static void the_ceiling_counts_bytes_without_the_nul(void **state)
{
    vd_buf buf;
    vd_err err = {0};
    vd_buf_init(&buf, 8);
    vd_buf_puts(&buf, "12345678");
    assert_int_equal(vd_buf_status(&buf, "text", &err), VD_OK);
    vd_buf_putc(&buf, '9');
    assert_int_equal(vd_buf_status(&buf, "text", &err), VD_ERR_LIMIT);
    assert_string_equal(err.message, "text is longer than 8 bytes");
    /* The failure sticks, what was there stays, and nothing is appended halfway. */
    vd_buf_drop_front(&buf, 4);
    vd_buf_putc(&buf, 'x');
    assert_string_equal(vd_buf_text(&buf), "5678");
    assert_null(vd_buf_take(&buf));
    vd_buf_clear(&buf);
    vd_buf_printf(&buf, "%s", "123456789");
    assert_int_equal(vd_buf_status(&buf, "text", NULL), VD_ERR_LIMIT);
    assert_string_equal(vd_buf_text(&buf), "");
    vd_buf_done(&buf);
}

static void sizes_that_overflow_are_over_the_limit(void **state)
{
    vd_buf buf;
    vd_buf_init(&buf, SIZE_MAX);
    vd_buf_puts(&buf, "abc");
    vd_buf_append(&buf, "x", SIZE_MAX);
    assert_int_equal(vd_buf_status(&buf, "text", NULL), VD_ERR_LIMIT);
    vd_buf_clear(&buf);
    vd_buf_puts(&buf, "abc");
    vd_buf_reserve(&buf, SIZE_MAX - 1);
    assert_int_not_equal(vd_buf_status(&buf, "text", NULL), VD_OK);
    assert_string_equal(vd_buf_text(&buf), "abc");
    vd_buf_done(&buf);
}

static void reserved_room_needs_no_allocation(void **state)
{
    vd_buf buf;
    vd_buf_init(&buf, 4000);
    vd_buf_puts(&buf, "ab");
    vd_buf_reserve(&buf, 3000);
    uint64_t calls = vd_alloc_stats_get().n_calls;
    for (int i = 0; i < 3000; i++)
        vd_buf_putc(&buf, 'c');
    assert_int_equal(vd_alloc_stats_get().n_calls, calls);
    assert_int_equal(buf.n, 3002);
    vd_buf_done(&buf);
}

static void short_memory_sticks_until_cleared(void **state)
{
    vd_buf buf;
    vd_err err = {0};
    vd_buf_init(&buf, 1000);
    vd_alloc_fail_at(1);
    vd_buf_puts(&buf, "lost");
    vd_buf_puts(&buf, "also lost");
    assert_int_equal(vd_buf_status(&buf, "the answer", &err), VD_ERR_NOMEM);
    assert_non_null(strstr(err.message, "the answer"));
    assert_string_equal(vd_buf_text(&buf), "");
    vd_buf_clear(&buf);
    vd_buf_puts(&buf, "kept");
    assert_string_equal(vd_buf_text(&buf), "kept");
    vd_buf_done(&buf);
}

static void dropping_the_front_keeps_the_rest(void **state)
{
    vd_buf buf;
    vd_buf_init(&buf, 100);
    vd_buf_drop_front(&buf, 3);
    vd_buf_puts(&buf, "hello world");
    vd_buf_drop_front(&buf, 0);
    vd_buf_drop_front(&buf, 6);
    assert_string_equal(vd_buf_text(&buf), "world");
    vd_buf_drop_front(&buf, 100);
    assert_string_equal(vd_buf_text(&buf), "");
    vd_buf_puts(&buf, "again");
    assert_string_equal(vd_buf_text(&buf), "again");
    vd_buf_done(&buf);
}

static void taking_moves_the_text(void **state)
{
    vd_alloc_stats before = vd_alloc_stats_get();
    vd_buf buf;
    vd_buf_init(&buf, 100);
    char *empty = vd_buf_take(&buf);
    assert_string_equal(empty, "");
    vd_buf_puts(&buf, "mine");
    char *text = vd_buf_take(&buf);
    assert_string_equal(text, "mine");
    assert_string_equal(vd_buf_text(&buf), "");
    vd_buf_puts(&buf, "next");
    assert_string_equal(text, "mine");
    vd_buf_done(&buf);
    vd_free(text);
    vd_free(empty);
    assert_int_equal(vd_alloc_stats_get().n_live, before.n_live);
}

static void a_buffer_may_hold_nul_bytes(void **state)
{
    vd_buf buf;
    vd_buf_init(&buf, 100);
    vd_buf_append(&buf, "a\0b", 3);
    vd_buf_putc(&buf, '\0');
    assert_int_equal(buf.n, 4);
    assert_memory_equal(buf.data, "a\0b\0", 5);
    vd_buf_done(&buf);
}

static void checked_arithmetic_says_when_it_overflows(void **state)
{
    size_t out = 42;
    assert_false(vd_mul_size(SIZE_MAX, 2, &out));
    assert_false(vd_add_size(SIZE_MAX, 1, &out));
    assert_false(vd_align_size(SIZE_MAX - 5, 16, &out));
    assert_int_equal(out, 42);
    assert_true(vd_mul_size(SIZE_MAX, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_true(vd_mul_size(0, SIZE_MAX, &out));
    assert_int_equal(out, 0);
    assert_true(vd_align_size(17, 16, &out));
    assert_int_equal(out, 32);
    assert_true(vd_align_size(0, 16, &out));
    assert_int_equal(out, 0);
    assert_true(vd_align_size(SIZE_MAX - 15, 16, &out));
    assert_true(out == SIZE_MAX - 15);
}

static void every_status_has_a_name_and_a_message(void **state)
{
#define X(name, message)                                                                           \
    assert_string_equal(vd_status_name(VD_##name), "VD_" #name);                                   \
    assert_string_equal(vd_status_message(VD_##name), message);
    VD_STATUS_LIST(X)
#undef X
    assert_string_equal(vd_status_name((vd_status)4711), "VD_UNKNOWN");
    assert_string_equal(vd_status_message((vd_status)4711), "unknown status");
}

static void a_failure_says_what_where_and_why(void **state)
{
    vd_err err = {0};
    errno = ENOSPC;
    assert_int_equal(VD_FAIL(&err, VD_ERR_IO, "cannot write %s", "f"), VD_ERR_IO);
    assert_int_equal(err.status, VD_ERR_IO);
    assert_int_equal(err.os_errno, ENOSPC);
    assert_string_equal(err.message, "cannot write f");
    assert_non_null(strstr(err.file, "test_buf.c"));
    assert_true(err.line > 0);
    assert_int_equal(VD_FAIL(&err, VD_ERR_FORMAT, "odd"), VD_ERR_FORMAT);
    assert_int_equal(err.os_errno, 0);
    assert_int_equal(VD_FAIL(NULL, VD_ERR_ARG, "nobody asked"), VD_ERR_ARG);
}

static void a_prefix_goes_before_and_long_messages_are_cut_on_a_character(void **state)
{
    vd_err err = {0};
    (void)VD_FAIL(&err, VD_ERR_FORMAT, "bad magic");
    vd_err_prefix(&err, "tensor %d", 3);
    assert_string_equal(err.message, "tensor 3: bad magic");
    vd_err_prefix(NULL, "x");

    /* 3-byte characters: 512 is no multiple of 3, so a blind cut would leave half of one. */
    char longer[3 * 400 + 1];
    for (size_t i = 0; i < 400; i++)
        memcpy(longer + 3 * i, "\xE2\x82\xAC", 4);
    for (int shift = 0; shift < 3; shift++) {
        (void)VD_FAIL(&err, VD_ERR_FORMAT, "%.*s%s", shift, "ab", longer);
        size_t n = strlen(err.message);
        assert_true(n < VD_ERR_MESSAGE_MAX && n > VD_ERR_MESSAGE_MAX - 5);
        assert_int_equal((n - (size_t)shift) % 3, 0);
        vd_err_prefix(&err, "p");
        n = strlen(err.message);
        assert_int_equal((n - (size_t)shift) % 3, 0);
        assert_int_equal(strncmp(err.message, "p: ", 3), 0);
    }
    vd_err_prefix(&err, "%s", longer);
    assert_true(strlen(err.message) < VD_ERR_MESSAGE_MAX);
    assert_int_equal(strlen(err.message) % 3, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_always_terminated),
        cmocka_unit_test(the_ceiling_counts_bytes_without_the_nul),
        cmocka_unit_test(sizes_that_overflow_are_over_the_limit),
        cmocka_unit_test(reserved_room_needs_no_allocation),
        cmocka_unit_test(short_memory_sticks_until_cleared),
        cmocka_unit_test(dropping_the_front_keeps_the_rest),
        cmocka_unit_test(taking_moves_the_text),
        cmocka_unit_test(a_buffer_may_hold_nul_bytes),
        cmocka_unit_test(checked_arithmetic_says_when_it_overflows),
        cmocka_unit_test(every_status_has_a_name_and_a_message),
        cmocka_unit_test(a_failure_says_what_where_and_why),
        cmocka_unit_test(a_prefix_goes_before_and_long_messages_are_cut_on_a_character),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
