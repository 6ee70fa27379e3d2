/* test_wordpiece.c - BERT's vocabularies: clean-up, longest match, joining words again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "vocab_build.h"

#define S "\xE2\x96\x81"

static const char *const tokens[] = {
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", S "un", "aff", "able", S "a", S "e", S ".", S ",", S "'",
    S "s", S "\xE4\xB8\xAD", S "unaff", "x", S "?", S "cafe",
};

static vd_tokenizer *open_bert(bool lowercase)
{
    vocab v = {.model = "bert", .tokens = tokens, .n_tokens = 18, .n_merges = SIZE_MAX,
               .types = (const int[]){3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
               .id = {{"cls_token_id", 2}, {"seperator_token_id", 3}, {"unknown_token_id", 1},
                      {"eos_token_id", 3}},
               .flag = {{"normalizer.lowercase", lowercase}, {"add_bos_token", false},
                        {"add_eos_token", true}, {"add_sep_token", false}}};
    vd_tokenizer *tokenizer = NULL;
    vd_err err = {0};
    if (vocab_open(&v, &tokenizer, &err) != VD_OK)
        fail_msg("%s", err.message);
    return tokenizer;
}

static void a_word_is_covered_by_the_longest_tokens(void **state)
{
    vd_tokenizer *t = open_bert(true);
    assert_string_equal(plain_ids(t, "unaffable"), "14 6");
    assert_string_equal(plain_ids(t, "  un  unx \n a"), "4 4 15 7");
    assert_string_equal(special_ids(t, "a"), "2 7 3"); /* whatever the flags say */
    assert_string_equal(special_ids(t, ""), "2 3");
    vd_tokenizer_free(t);
}

static void a_word_with_an_uncovered_place_is_one_unknown(void **state)
{
    vd_tokenizer *t = open_bert(true);
    assert_string_equal(plain_ids(t, "unaffq a"), "1 7");
    assert_string_equal(plain_ids(t, "qqq"), "1");
    vd_tokenizer_free(t);
}

static void case_and_accents_go_unless_the_file_keeps_them(void **state)
{
    vd_tokenizer *t = open_bert(true);
    assert_string_equal(plain_ids(t, "CAF\xC3\x89 \xC3\xA9 e\xCC\x81"), "17 8 8");
    vd_tokenizer_free(t);
    t = open_bert(false);
    assert_string_equal(plain_ids(t, "CAFE cafe"), "1 17");
    vd_tokenizer_free(t);
}

static void punctuation_and_ideographs_stand_alone(void **state)
{
    vd_tokenizer *t = open_bert(true);
    assert_string_equal(plain_ids(t, "a.a,a"), "7 9 7 10 7");
    assert_string_equal(plain_ids(t, "a\xE4\xB8\xAD\xE4\xB8\xAD" "a"), "7 13 13 7");
    vd_tokenizer_free(t);
}

static void controls_and_bad_bytes_are_dropped(void **state)
{
    vd_tokenizer *t = open_bert(true);
    const vd_encode_options plain = {.no_bos_eos = true};
    assert_string_equal(ids_of_bytes(t, "u\0n\x01\xFF \xEF\xBF\xBD", 9, &plain), "4");
    assert_string_equal(ids_of_bytes(t, "\xE2\x80\x8B", 3, &plain), ""); /* zero width space */
    vd_tokenizer_free(t);
}

static void decoding_joins_words_and_cleans_spaces_up(void **state)
{
    vd_tokenizer *t = open_bert(true);
    assert_string_equal(text_of(t, false, IDS(2, 14, 6, 10, 7, 16, 3)), "unaffable, a?");
    assert_string_equal(text_of(t, false, IDS(7, 11, 12)), "a's");
    assert_string_equal(text_of(t, true, IDS(2, 7, 9, 3)), "[CLS]a.[SEP]");
    assert_string_equal(text_of(t, false, IDS(2, 3)), "");
    vd_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_is_covered_by_the_longest_tokens),
        cmocka_unit_test(a_word_with_an_uncovered_place_is_one_unknown),
        cmocka_unit_test(case_and_accents_go_unless_the_file_keeps_them),
        cmocka_unit_test(punctuation_and_ideographs_stand_alone),
        cmocka_unit_test(controls_and_bad_bytes_are_dropped),
        cmocka_unit_test(decoding_joins_words_and_cleans_spaces_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
