/* test_bpe.c - byte-level and raw BPE: merge order, ghosts, pre-tokenizers, bytes of no text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "vocab_build.h"

#define G "\xC4\xA0" /* how byte-level BPE writes a space */
#define S "\xE2\x96\x81"

static vd_tokenizer *open_vocab(const vocab *v)
{
    vd_tokenizer *tokenizer = NULL;
    vd_err err = {0};
    if (vocab_open(v, &tokenizer, &err) != VD_OK)
        fail_msg("%s", err.message);
    return tokenizer;
}

static void merges_apply_in_the_order_of_the_list(void **state)
{
    static const char *const more[] = {"bc", "ab", "abc", G "a"};
    static const char *const merges[] = {"b c", "a b", "ab c", "a bc", (G " a")};
    vocab v = vocab_byte_level("gpt-2", more, 4, merges, 5);
    vd_tokenizer *t = open_vocab(&v);
    assert_string_equal(plain_ids(t, "abc"), "258"); /* b c, then a bc */
    assert_string_equal(plain_ids(t, "ab"), "257");
    assert_string_equal(plain_ids(t, "x a"), "120 259");
    assert_string_equal(plain_ids(t, "cbcb"), "99 256 98");
    vd_tokenizer_free(t);
}

static void a_merge_of_strings_that_are_no_tokens_still_leads_on(void **state)
{
    static const char *const more[] = {"abcd"};
    static const char *const merges[] = {"a b", "c d", "ab cd"};
    vocab v = vocab_byte_level("gpt-2", more, 1, merges, 3);
    vd_tokenizer *t = open_vocab(&v);
    assert_string_equal(plain_ids(t, "abcd"), "256");
    assert_string_equal(plain_ids(t, "ab"), "97 98"); /* what is left over falls back to bytes */
    assert_int_equal(vd_tokenizer_find(t, "ab", 2), -1);
    vd_tokenizer_free(t);
}

static void every_byte_has_an_encoding_and_comes_back(void **state)
{
    vocab v = vocab_byte_level("llama-bpe", NULL, 0, NULL, 0);
    vd_tokenizer *t = open_vocab(&v);
    char all[256];
    for (int b = 0; b < 256; b++)
        all[b] = (char)b;
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n_ids = 0, n = 0;
    const vd_encode_options plain = {.no_bos_eos = true};
    assert_int_equal(vd_tokenizer_encode(t, all, 256, &plain, &ids, &n_ids, NULL), VD_OK);
    assert_int_equal(n_ids, 256);
    for (int b = 0; b < 256; b++)
        assert_int_equal(ids[b], b);
    assert_int_equal(vd_tokenizer_decode(t, ids, n_ids, false, &text, &n, NULL), VD_OK);
    assert_int_equal(n, 256);
    assert_memory_equal(text, all, 256);
    vd_text_free(text);
    vd_ids_free(ids);
    vd_tokenizer_free(t);
}

/* Digits: one token for each run the pre-tokenizer leaves whole. */
static const char *digits_by(const char *pre)
{
    static const char *const more[] = {"11", "111", "1111"};
    static const char *const merges[] = {"1 1", "11 1", "11 11"};
    vocab v = vocab_byte_level(pre, more, 3, merges, 3);
    vd_tokenizer *t = open_vocab(&v);
    const char *ids = plain_ids(t, "1111");
    vd_tokenizer_free(t);
    return ids;
}

static void pre_tokenizers_cut_digits_their_own_way(void **state)
{
    assert_string_equal(digits_by("gpt-2"), "258");
    assert_string_equal(digits_by("llama-bpe"), "257 49");
    assert_string_equal(digits_by("qwen2"), "49 49 49 49");
    assert_string_equal(digits_by("smollm"), "49 49 49 49");
    assert_string_equal(digits_by("falcon"), "257 49");
    assert_string_equal(digits_by("default"), "257 49");
}

static void ignore_merges_takes_a_word_that_is_a_token(void **state)
{
    static const char *const more[] = {"ab", "abc"};
    static const char *const merges[] = {"a b"};
    vocab v = vocab_byte_level("llama-bpe", more, 2, merges, 1);
    vd_tokenizer *t = open_vocab(&v);
    assert_string_equal(plain_ids(t, "abc"), "257");
    vd_tokenizer_free(t);
    v = vocab_byte_level("gpt-2", more, 2, merges, 1);
    t = open_vocab(&v);
    assert_string_equal(plain_ids(t, "abc"), "256 99");
    vd_tokenizer_free(t);
}

static void an_unknown_pre_tokenizer_is_named_in_the_error(void **state)
{
    vocab v = vocab_byte_level("made-up", NULL, 0, NULL, 0);
    vd_tokenizer *t = NULL;
    vd_err err = {0};
    assert_int_equal(vocab_open(&v, &t, &err), VD_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "made-up"));
    assert_null(t);
    v.pre = NULL; /* absent means default */
    assert_int_equal(vocab_open(&v, &t, &err), VD_OK);
    vd_tokenizer_free(t);
}

static void of_overlapping_special_tokens_the_longest_at_the_first_place_wins(void **state)
{
    static const char *const more[] = {"<a>", "<a>>", "<|im_end|>", "a>>b"};
    vocab v = vocab_byte_level("gpt-2", more, 4, NULL, 0);
    static int types[260];
    for (int i = 0; i < 260; i++)
        types[i] = i < 256 ? 1 : i == 258 ? 3 : 4;
    v.types = types;
    vd_tokenizer *t = open_vocab(&v);
    assert_string_equal(plain_ids(t, "<a>x<a>>"), "256 120 257");
    assert_string_equal(plain_ids(t, "<a>>b"), "257 98");
    assert_string_equal(special_ids(t, "<|im_end|>"), "258");
    assert_string_equal(plain_ids(t, "<|im_end|>"), "60 124 105 109 95 101 110 100 124 62");
    assert_true(vd_tokenizer_is_end(t, 258));
    assert_string_equal(text_of(t, false, IDS(97, 258, 256)), "a<a>");
    assert_string_equal(text_of(t, true, IDS(97, 258)), "a<|im_end|>");
    vd_tokenizer_free(t);
}

static void bos_and_eos_are_added_where_the_file_says_so(void **state)
{
    static const char *const more[] = {"<s>", "</s>"};
    vocab v = vocab_byte_level("gpt-2", more, 2, NULL, 0);
    v.id[0].key = "bos_token_id";
    v.id[0].value = 256;
    v.id[1].key = "eos_token_id";
    v.id[1].value = 257;
    vd_tokenizer *t = open_vocab(&v);
    assert_string_equal(special_ids(t, "a"), "97");
    vd_tokenizer_free(t);
    v.flag[0].key = "add_bos_token";
    v.flag[0].value = true;
    v.flag[1].key = "add_eos_token";
    v.flag[1].value = true;
    t = open_vocab(&v);
    assert_string_equal(special_ids(t, "a"), "256 97 257");
    assert_string_equal(plain_ids(t, "a"), "97");
    vd_tokenizer_free(t);
}

static void raw_bpe_merges_characters_and_falls_back_to_byte_tokens(void **state)
{
    static char bytes[256][8];
    static const char *tokens[266];
    static int types[266];
    static const char *const merges[] = {"a b", S " ab", S " " S, "\n \n"};
    static const char *const more[] = {S, "a", "b", "ab", (S "ab"), (S S), "\n", "\n\n", "\n\n\n",
                                       "\xC3\xA9"};
    for (int i = 0; i < 256; i++) {
        snprintf(bytes[i], sizeof(bytes[0]), "<0x%02X>", (unsigned)i);
        tokens[i] = bytes[i];
        types[i] = 6;
    }
    for (int i = 0; i < 10; i++) {
        tokens[256 + i] = more[i];
        types[256 + i] = 1;
    }
    vocab v = {.model = "gemma4", .tokens = tokens, .types = types, .n_tokens = 266,
               .merges = merges, .n_merges = 4};
    vd_tokenizer *t = open_vocab(&v);
    assert_string_equal(plain_ids(t, "ab ab"), "259 260");
    assert_string_equal(plain_ids(t, "a  b"), "257 261 258");
    assert_string_equal(plain_ids(t, "\n\n\n"), "264");
    assert_string_equal(plain_ids(t, "\n\n\n\n"), "263 263");
    assert_string_equal(plain_ids(t, "\xC3\xA9\xC3\xA8"), "265 195 168");
    assert_string_equal(plain_ids(t, "\xFF" "a"), "255 257");
    assert_string_equal(text_of(t, false, IDS(260, 255, 261, 263)), " ab\xFF  \n\n");
    vd_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_apply_in_the_order_of_the_list),
        cmocka_unit_test(a_merge_of_strings_that_are_no_tokens_still_leads_on),
        cmocka_unit_test(every_byte_has_an_encoding_and_comes_back),
        cmocka_unit_test(pre_tokenizers_cut_digits_their_own_way),
        cmocka_unit_test(ignore_merges_takes_a_word_that_is_a_token),
        cmocka_unit_test(an_unknown_pre_tokenizer_is_named_in_the_error),
        cmocka_unit_test(of_overlapping_special_tokens_the_longest_at_the_first_place_wins),
        cmocka_unit_test(bos_and_eos_are_added_where_the_file_says_so),
        cmocka_unit_test(raw_bpe_merges_characters_and_falls_back_to_byte_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
