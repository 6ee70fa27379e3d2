/* test_utf8.c - UTF-8: every code point both ways, and what is not UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"

static void every_code_point_goes_there_and_back(void **state)
{
    for (uint32_t code = 0; code <= 0x110010; code++) {
        char bytes[4];
        size_t n = vd_utf8_encode(code, bytes);
        bool has_form = code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
        size_t want = !has_form ? 0 : code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        if (n != want)
            fail_msg("U+%04X takes %zu bytes, not %zu", code, n, want);
        if (n == 0)
            continue;
        uint32_t back = UINT32_MAX;
        if (vd_utf8_decode(bytes, n, &back) != (int)n || back != code)
            fail_msg("U+%04X came back as U+%04X", code, back);
        if (!vd_utf8_valid(bytes, n) || vd_utf8_complete(bytes, n) != n)
            fail_msg("U+%04X is not taken as whole", code);
        for (size_t cut = 0; cut < n; cut++) {
            if (vd_utf8_decode(bytes, cut, &back) != -1 || vd_utf8_complete(bytes, cut) != 0)
                fail_msg("U+%04X cut to %zu bytes is not taken as unfinished", code, cut);
        }
    }
}

static void what_is_not_utf8_is_refused(void **state)
{
    static const struct {
        const char *bytes, *why;
    } cases[] = {
        {"\x80", "a continuation byte alone"},
        {"\xBF", "a continuation byte alone"},
        {"\xC0\x80", "an overlong NUL"},
        {"\xC1\xBF", "an overlong DEL"},
        {"\xC2\x20", "a blank for a continuation"},
        {"\xC2\xC2 ", "a start for a continuation"},
        {"\xE0\x80\x80", "an overlong NUL of 3 bytes"},
        {"\xE0\x9F\xBF", "an overlong U+07FF"},
        {"\xED\xA0\x80", "the surrogate U+D800"},
        {"\xED\xBF\xBF", "the surrogate U+DFFF"},
        {"\xE2\x28\xA1", "a bad second byte"},
        {"\xE2\x82\x28", "a bad third byte"},
        {"\xF0\x80\x80\x80", "an overlong NUL of 4 bytes"},
        {"\xF0\x8F\xBF\xBF", "an overlong U+FFFF"},
        {"\xF4\x90\x80\x80", "U+110000"},
        {"\xF5\x80\x80\x80", "a start byte of no character"},
        {"\xF8\x88\x80\x80\x80", "a form of 5 bytes"},
        {"\xFC\x84\x80\x80\x80\x80", "a form of 6 bytes"},
        {"\xFE", "a byte that never occurs"},
        {"\xFF", "a byte that never occurs"},
        {"\xF0\x9F\x98\x20", "a bad fourth byte"},
    };
    for (size_t i = 0; i < VD_COUNT(cases); i++) {
        size_t n = strlen(cases[i].bytes);
        uint32_t code = 42;
        if (vd_utf8_decode(cases[i].bytes, n, &code) != 0 || code != 42)
            fail_msg("case %zu, %s, is taken as a character", i, cases[i].why);
        if (vd_utf8_valid(cases[i].bytes, n))
            fail_msg("case %zu, %s, is taken as valid", i, cases[i].why);
        if (vd_utf8_complete(cases[i].bytes, n) != n)
            fail_msg("case %zu, %s, is taken as unfinished", i, cases[i].why);
    }
}

/* The reference by RFC 3629's grammar, written as ranges of the code point. */
static bool pair_begins_a_character(unsigned char a, unsigned char b)
{
    for (uint32_t code = 0x80; code <= 0x10FFFF;
         code += code < 0x800 ? 1 : code < 0x10000 ? 64 : 4096) {
        char bytes[4];
        if (vd_utf8_encode(code, bytes) >= 2 && (unsigned char)bytes[0] == a &&
            (unsigned char)bytes[1] == b)
            return true;
    }
    return false;
}

static void every_pair_of_bytes_is_judged_as_the_code_points_say(void **state)
{
    for (unsigned a = 0x80; a < 0x100; a++) {
        for (unsigned b = 0; b < 0x100; b += b < 0x70 || b >= 0xD0 ? 16 : 1) {
            char bytes[2] = {(char)a, (char)b};
            uint32_t code;
            int length = vd_utf8_decode(bytes, 2, &code);
            bool begins = pair_begins_a_character((unsigned char)a, (unsigned char)b);
            if ((length != 0) != begins)
                fail_msg("%02X %02X gives %d", a, b, length);
        }
    }
}

static void unfinished_ends_are_found_behind_other_text(void **state)
{
    const char *text = "h\xC3\xA9llo \xF0\x9F\x98\x80";
    size_t n = strlen(text);
    assert_int_equal(vd_utf8_complete(text, n), n);
    for (size_t cut = 1; cut <= 3; cut++)
        assert_int_equal(vd_utf8_complete(text, n - cut), n - 4);
    assert_int_equal(vd_utf8_complete("ab\xC3", 3), 2);
    assert_int_equal(vd_utf8_complete("", 0), 0);
    assert_int_equal(vd_utf8_complete("\x80\x80\x80\x80", 4), 4);
    assert_int_equal(vd_utf8_complete("a\xED\xA0", 3), 3); /* a surrogate can never be finished */
    assert_true(vd_utf8_valid("", 0));
    assert_true(vd_utf8_valid("a\0b", 3));
    assert_false(vd_utf8_valid(text, n - 1));
}

static void what_is_no_character_becomes_question_marks(void **state)
{
    const char *const cases[][2] = {{"", ""},
                                    {"h\xC3\xA9", "h\xC3\xA9"},
                                    {"\xC3(\xA9", "?(?"},
                                    {"a\xED\xA0\x80z", "a???z"},
                                    {"\xF0\x9F\x98'\xF0\x9F\x98\x80", "\?\?\?'\xF0\x9F\x98\x80"},
                                    {"cut \xE2\x82", "cut ??"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[16];
        memcpy(text, cases[i][0], strlen(cases[i][0]) + 1);
        vd_utf8_mend(text);
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_goes_there_and_back),
        cmocka_unit_test(what_is_not_utf8_is_refused),
        cmocka_unit_test(every_pair_of_bytes_is_judged_as_the_code_points_say),
        cmocka_unit_test(unfinished_ends_are_found_behind_other_text),
        cmocka_unit_test(what_is_no_character_becomes_question_marks),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
