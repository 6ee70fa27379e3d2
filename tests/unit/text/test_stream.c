/* test_stream.c - streamed text: whole characters only, and never a part of a stop string. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "text/stream.h"
#include "vocab_build.h"

static const char *const more[] = {"abc", "STOP", "STO", "P!", "<|im_end|>", "xSTOPy"};
static vd_tokenizer *tokenizer;

static int open_tokenizer(void **state)
{
    vocab v = vocab_byte_level("gpt-2", more, 6, NULL, 0);
    static int types[262];
    for (int i = 0; i < 262; i++)
        types[i] = i == 260 ? 3 : 1;
    v.types = types;
    return vocab_open(&v, &tokenizer, NULL) != VD_OK;
}

static int free_tokenizer(void **state)
{
    vd_tokenizer_free(tokenizer);
    return 0;
}

static vd_text_stream open_stream(const char *const *stops, size_t n)
{
    vd_text_stream stream;
    vd_err err = {0};
    if (vd_text_stream_init(&stream, tokenizer, stops, n, &err) != VD_OK)
        fail_msg("%s", err.message);
    return stream;
}

/* Feeds ids ended by -1 and writes what comes out, '|' between calls; '$' where it stopped. Each
 * part must be whole characters. */
static const char *run(vd_text_stream *stream, const int32_t *ids)
{
    static char out[8192];
    size_t at = 0, n;
    const char *text;
    bool stopped = false;
    for (;; ids++) {
        if (*ids != -1)
            vd_text_stream_push(stream, *ids, &text, &n, &stopped);
        else
            vd_text_stream_flush(stream, &text, &n, &stopped);
        assert_true(vd_utf8_valid(text, n));
        at += (size_t)snprintf(out + at, sizeof(out) - at, "%.*s%s", (int)n, text,
                               *ids == -1 ? stopped ? "$" : "" : "|");
        if (*ids == -1)
            return out;
    }
}

static void half_characters_wait_for_their_other_half(void **state)
{
    vd_text_stream s = open_stream(NULL, 0);
    assert_string_equal(run(&s, IDS('a', 0xF0, 0x9F, 0xA6, 0x99, 'b')),
                        "a||||\xF0\x9F\xA6\x99|b|");
    vd_text_stream_done(&s);
}

static void bytes_that_cannot_become_valid_turn_into_replacement_characters(void **state)
{
    vd_text_stream s = open_stream(NULL, 0);
    assert_string_equal(run(&s, IDS(0xFF, 'a', 0xE2, 0x82, 'b')),
                        "\xEF\xBF\xBD|a|||\xEF\xBF\xBD" "b|");
    vd_text_stream_reset(&s);
    assert_string_equal(run(&s, IDS('a', 0xE2, 0x82)), "a|||\xEF\xBF\xBD");
    vd_text_stream_reset(&s);
    assert_string_equal(run(&s, IDS(0xE2, 0xE2, 0x82, 0xAC)), "|\xEF\xBF\xBD||\xE2\x82\xAC|");
    vd_text_stream_done(&s);
}

static void a_stop_string_is_met_across_tokens_and_never_shown(void **state)
{
    const char *stops[] = {"STOP"};
    vd_text_stream s = open_stream(stops, 1);
    assert_string_equal(run(&s, IDS(256, 'S', 'T', 'O', 'P', 'x', 'y')), "abc|||||||$");
    assert_int_equal(s.stop_index, 0);
    vd_text_stream_reset(&s);
    assert_string_equal(run(&s, IDS(258, 259, 'z')), "|||$");
    vd_text_stream_reset(&s);
    assert_string_equal(run(&s, IDS(261)), "x|$"); /* inside one token */
    vd_text_stream_reset(&s);
    assert_string_equal(run(&s, IDS(258, 258, 'x', 'S')), "|STO|STOx||S"); /* it was none */
    vd_text_stream_done(&s);
}

static void of_two_stop_strings_the_one_complete_first_wins(void **state)
{
    const char *stops[] = {"abcd", "b", "bc"};
    vd_text_stream s = open_stream(stops, 3);
    assert_string_equal(run(&s, IDS(256, 'd')), "a||$");
    assert_int_equal(s.stop_index, 1);
    vd_text_stream_reset(&s);
    assert_string_equal(run(&s, IDS('a', 'b', 'c')), "|a||$");
    vd_text_stream_done(&s);
}

static void a_stop_string_that_overlaps_itself_is_found(void **state)
{
    const char *stops[] = {"aab"};
    vd_text_stream s = open_stream(stops, 1);
    assert_string_equal(run(&s, IDS('a', 'a', 'a', 'a', 'b')), "||a|a||$");
    vd_text_stream_done(&s);
}

static void the_flush_gives_what_was_held_back(void **state)
{
    const char *stops[] = {"\n\nUser:"};
    vd_text_stream s = open_stream(stops, 1);
    assert_string_equal(run(&s, IDS('a', '\n', '\n', 'U')), "a||||\n\nU");
    vd_text_stream_done(&s);
}

static void the_last_replacement_character_can_complete_a_stop(void **state)
{
    const char *stops[] = {"a\xEF\xBF\xBD"};
    vd_text_stream s = open_stream(stops, 1);
    assert_string_equal(run(&s, IDS('x', 'a', 0xE2)), "x|||$");
    vd_text_stream_done(&s);
}

static void control_tokens_are_silent_unless_asked_for(void **state)
{
    vd_text_stream s = open_stream(NULL, 0);
    assert_string_equal(run(&s, IDS('a', 260, 'b', 100000)), "a||b||");
    vd_text_stream_reset(&s);
    s.special = true;
    assert_string_equal(run(&s, IDS('a', 260)), "a|<|im_end|>|");
    vd_text_stream_done(&s);
}

static void bad_stop_strings_are_refused(void **state)
{
    vd_text_stream s;
    vd_err err = {0};
    const char *empty[] = {"a", ""}, *bytes[] = {"\xFF"};
    assert_int_equal(vd_text_stream_init(&s, tokenizer, empty, 2, &err), VD_ERR_ARG);
    assert_int_equal(vd_text_stream_init(&s, tokenizer, bytes, 1, &err), VD_ERR_ARG);
    static const char *many[VD_TEXT_STOPS_MAX + 1];
    assert_int_equal(vd_text_stream_init(&s, tokenizer, many, VD_TEXT_STOPS_MAX + 1, &err),
                     VD_ERR_LIMIT);
    vd_text_stream_done(&s);
    vd_text_stream_done(NULL);
}

static void what_comes_out_does_not_depend_on_the_cut_into_calls(void **state)
{
    const char *stops[] = {"abca", "ca\xE2\x82\xAC", "bb"};
    static const char alphabet[] = "aabbcc\xE2\x82\xAC\xFF";
    uint32_t seed = 7;
    for (int round = 0; round < 500; round++) {
        vd_text_stream s = open_stream(stops, 3);
        int32_t ids[13];
        char bytes[13], expected[64], got[64];
        size_t n_expected = 0, n_got = 0, n;
        for (int i = 0; i < 12; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
            ids[i] = (unsigned char)bytes[i];
        }
        ids[12] = -1;
        /* The plain way: decode all, cut at the stop that is complete first. */
        vd_text_stream whole = open_stream(NULL, 0);
        const char *text;
        bool stopped = false;
        for (int i = 0; i <= 12; i++) {
            if (i < 12)
                vd_text_stream_push(&whole, ids[i], &text, &n, &stopped);
            else
                vd_text_stream_flush(&whole, &text, &n, NULL);
            memcpy(expected + n_expected, text, n);
            n_expected += n;
            if (i < 12)
                vd_text_stream_push(&s, ids[i], &text, &n, &stopped);
            else
                vd_text_stream_flush(&s, &text, &n, &stopped);
            memcpy(got + n_got, text, n);
            n_got += n;
        }
        size_t cut = n_expected;
        for (size_t end = 1; end <= n_expected && cut == n_expected; end++)
            for (size_t k = 0; k < 3; k++) {
                size_t length = strlen(stops[k]);
                if (length <= end && memcmp(expected + end - length, stops[k], length) == 0)
                    cut = end - length < cut ? end - length : cut;
            }
        assert_int_equal(n_got, cut);
        assert_memory_equal(got, expected, cut);
        vd_text_stream_done(&s);
        vd_text_stream_done(&whole);
    }
}

static void pushing_allocates_nothing(void **state)
{
    const char *stops[] = {"STOP", "abcabcabd"};
    vd_text_stream s = open_stream(stops, 2);
    uint64_t before = vd_alloc_stats_get().n_calls;
    for (int i = 0; i < 10000; i++) {
        const char *text;
        size_t n;
        bool stopped;
        vd_text_stream_push(&s, i % 3 == 0 ? 256 : 0xE2, &text, &n, &stopped);
    }
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
    vd_text_stream_done(&s);
}

static void init_survives_every_failed_allocation(void **state)
{
    const char *stops[] = {"STOP", "x"};
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        vd_text_stream s;
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = vd_text_stream_init(&s, tokenizer, stops, 2, &err);
        vd_alloc_fail_at(0);
        if (st != VD_OK)
            assert_int_equal(st, VD_ERR_NOMEM);
        vd_text_stream_done(&s);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_characters_wait_for_their_other_half),
        cmocka_unit_test(bytes_that_cannot_become_valid_turn_into_replacement_characters),
        cmocka_unit_test(a_stop_string_is_met_across_tokens_and_never_shown),
        cmocka_unit_test(of_two_stop_strings_the_one_complete_first_wins),
        cmocka_unit_test(a_stop_string_that_overlaps_itself_is_found),
        cmocka_unit_test(the_flush_gives_what_was_held_back),
        cmocka_unit_test(the_last_replacement_character_can_complete_a_stop),
        cmocka_unit_test(control_tokens_are_silent_unless_asked_for),
        cmocka_unit_test(bad_stop_strings_are_refused),
        cmocka_unit_test(what_comes_out_does_not_depend_on_the_cut_into_calls),
        cmocka_unit_test(pushing_allocates_nothing),
        cmocka_unit_test(init_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, free_tokenizer);
}
