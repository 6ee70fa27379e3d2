/* test_log.c - a log line: its form, its level, and that it stays one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int saved_stderr = -1, capture = -1;

static int start_capture(void **state)
{
    FILE *temp = tmpfile();
    if (temp == NULL)
        return -1;
    capture = dup(fileno(temp));
    fclose(temp);
    saved_stderr = dup(STDERR_FILENO);
    return dup2(capture, STDERR_FILENO) < 0;
}

static int end_capture(void **state)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(capture);
    vd_log_set_level(VD_LOG_INFO);
    return 0;
}

static const char *captured(void)
{
    static char text[16384];
    ssize_t n = pread(capture, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int found = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (found != 0)
        fail_msg("'%s' does not match %s", text, pattern);
}

static void a_line_has_time_level_area_and_message(void **state)
{
    vd_log(VD_LOG_INFO, "serve", "request done id=%d tokens=%d", 7, 12);
    assert_matches(captured(), "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
                               "info  serve   request done id=7 tokens=12\n$");
}

static void lines_below_the_level_are_not_written(void **state)
{
    vd_log(VD_LOG_DEBUG, "x", "hidden");
    assert_string_equal(captured(), "");
    vd_log_set_level(VD_LOG_DEBUG);
    vd_log(VD_LOG_DEBUG, "x", "shown");
    assert_matches(captured(), " debug x       shown\n$");
    vd_log_set_level(VD_LOG_ERROR);
    vd_log(VD_LOG_WARN, "x", "hidden");
    assert_null(strstr(captured(), "hidden"));
}

static void a_message_stays_one_line_whatever_it_holds(void **state)
{
    vd_log(VD_LOG_WARN, "x", "a\nb\r\x1b[31mc%c", 127);
    const char *text = captured();
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '\x1b'));
    assert_null(strchr(text, 127));
}

static void a_long_message_is_cut_and_still_ends_its_line(void **state)
{
    char longer[5000];
    memset(longer, 'y', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    vd_log(VD_LOG_INFO, "x", "%s", longer);
    const char *text = captured();
    assert_true(strlen(text) > 900 && strlen(text) <= 1024);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_null(strstr(text, "x\n"));
}

static void a_long_area_does_not_spill(void **state)
{
    char area[3000];
    memset(area, 'z', sizeof(area));
    area[sizeof(area) - 1] = '\0';
    vd_log(VD_LOG_INFO, area, "message");
    const char *text = captured();
    assert_true(strlen(text) > 30 && strlen(text) <= 1024);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void level_words_are_known(void **state)
{
    vd_log_level level = VD_LOG_INFO;
    assert_true(vd_log_level_parse("error", &level));
    assert_int_equal(level, VD_LOG_ERROR);
    assert_true(vd_log_level_parse("debug", &level));
    assert_int_equal(level, VD_LOG_DEBUG);
    assert_false(vd_log_level_parse("loud", &level));
    assert_false(vd_log_level_parse("", &level));
    assert_int_equal(level, VD_LOG_DEBUG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start_capture, end_capture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_area_and_message),
        TEST(lines_below_the_level_are_not_written),
        TEST(a_message_stays_one_line_whatever_it_holds),
        TEST(a_long_message_is_cut_and_still_ends_its_line),
        TEST(a_long_area_does_not_spill),
        cmocka_unit_test(level_words_are_known),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
