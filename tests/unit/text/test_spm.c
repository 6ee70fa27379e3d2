/* test_spm.c - SentencePiece vocabularies: merges by score, byte fallback, the added space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "vocab_build.h"

#define S "\xE2\x96\x81"

/* 259: _  260: a  261: b  262: ab  263: _a  264: bab  265: _ _ (two)  266: aba */
static const char *const pieces[] = {S, "a", "b", "ab", S "a", "bab", S S, "aba", "<tool>"};

static vd_tokenizer *open_spm(bool prefix)
{
    vocab v = vocab_spm(pieces, 9);
    static int types[259 + 9];
    memcpy(types, v.types, sizeof(types));
    types[259 + 8] = 4; /* <tool> is user-defined */
    v.types = types;
    v.flag[0].key = "add_space_prefix";
    v.flag[0].value = prefix;
    vd_tokenizer *tokenizer = NULL;
    vd_err err = {0};
    if (vocab_open(&v, &tokenizer, &err) != VD_OK)
        fail_msg("%s", err.message);
    return tokenizer;
}

static void the_best_score_merges_first(void **state)
{
    vd_tokenizer *t = open_spm(false);
    assert_string_equal(plain_ids(t, "ab"), "262");
    /* "ab" (-262) merges before "_a" (-263), the leftmost of two first */
    assert_string_equal(plain_ids(t, " ab"), "259 262");
    assert_string_equal(plain_ids(t, "abab"), "262 262");
    assert_string_equal(plain_ids(t, "bab"), "264");
    assert_string_equal(plain_ids(t, "aba"), "266");
    assert_string_equal(plain_ids(t, " a"), "263");
    vd_tokenizer_free(t);
}

static void equal_scores_merge_the_leftmost_first(void **state)
{
    static const char *const more[] = {"x", "xx"};
    vocab v = vocab_spm(more, 2);
    v.flag[0].key = "add_space_prefix";
    vd_tokenizer *t = NULL;
    assert_int_equal(vocab_open(&v, &t, NULL), VD_OK);
    assert_string_equal(plain_ids(t, "xxx"), "260 259");
    assert_string_equal(plain_ids(t, "xxxxx"), "260 260 259");
    vd_tokenizer_free(t);
}

static void a_space_goes_before_the_text_and_after_special_tokens(void **state)
{
    vd_tokenizer *t = open_spm(true);
    assert_string_equal(plain_ids(t, "a"), "263");
    assert_string_equal(plain_ids(t, " a"), "259 263");
    assert_string_equal(special_ids(t, "a"), "1 263");
    assert_string_equal(special_ids(t, "a<s>a"), "1 263 1 263");
    assert_string_equal(plain_ids(t, "a<tool>a"), "263 267 263");
    assert_string_equal(plain_ids(t, ""), "");
    assert_string_equal(special_ids(t, ""), "1");
    vd_tokenizer_free(t);
}

static void plain_text_reads_user_tokens_but_no_control_tokens(void **state)
{
    vd_tokenizer *t = open_spm(false);
    assert_string_equal(plain_ids(t, "<tool>"), "267");
    assert_string_equal(plain_ids(t, "<s>"), "63 118 65"); /* bytes 3C 73 3E behind 3 others */
    assert_string_equal(special_ids(t, "<s>"), "1 1");
    vd_tokenizer_free(t);
}

static void what_no_token_holds_becomes_bytes(void **state)
{
    vd_tokenizer *t = open_spm(false);
    assert_string_equal(plain_ids(t, "\xC3\xA9"), "198 172");
    assert_string_equal(plain_ids(t, "a\nb"), "260 13 261");
    const vd_encode_options plain = {.no_bos_eos = true};
    assert_string_equal(ids_of_bytes(t, "a\xFF\0b", 4, &plain), "260 258 3 261");
    assert_string_equal(ids_of_bytes(t, "\xE2\x96", 2, &plain), "229 153"); /* half a U+2581 */
    vd_tokenizer_free(t);
}

static void without_byte_tokens_a_run_becomes_one_unknown(void **state)
{
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", S, "a"};
    static const float scores[] = {0, 0, 0, -1, -2};
    static const int types[] = {2, 3, 3, 1, 1};
    vocab v = {.model = "llama", .tokens = tokens, .n_tokens = 5, .scores = scores, .types = types,
               .n_merges = SIZE_MAX};
    vd_tokenizer *t = NULL;
    assert_int_equal(vocab_open(&v, &t, NULL), VD_OK);
    assert_string_equal(plain_ids(t, "axyza b"), "3 4 0 4 3 0");
    vd_tokenizer_free(t);
}

static void decoding_gives_the_text_back(void **state)
{
    static const char *const texts[] = {"", "a", " a", "  a b", "ab bab\n\xC3\xA9 \xF0\x9F\xA6\x99",
                                        "x<tool>"};
    for (int prefix = 0; prefix < 2; prefix++) {
        vd_tokenizer *t = open_spm(prefix);
        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
            const vd_encode_options plain = {.no_bos_eos = true};
            int32_t *ids = NULL;
            char *text = NULL;
            size_t n_ids = 0, n = 0;
            assert_int_equal(vd_tokenizer_encode(t, texts[i], strlen(texts[i]), &plain, &ids,
                                                 &n_ids, NULL), VD_OK);
            assert_int_equal(vd_tokenizer_decode(t, ids, n_ids, false, &text, &n, NULL), VD_OK);
            assert_int_equal(n, strlen(texts[i]));
            assert_memory_equal(text, texts[i], n);
            vd_text_free(text);
            vd_ids_free(ids);
        }
        vd_tokenizer_free(t);
    }
}

static void decoding_takes_one_leading_space_off_and_hides_control_tokens(void **state)
{
    vd_tokenizer *t = open_spm(true);
    assert_string_equal(text_of(t, false, IDS(1, 263, 263)), "a a");
    assert_string_equal(text_of(t, true, IDS(1, 263, 2)), "<s>a</s>");
    assert_string_equal(text_of(t, false, IDS(265)), " ");
    assert_string_equal(text_of(t, false, IDS(268)), "failed"); /* outside the vocabulary */
    size_t n = 9;
    assert_non_null(vd_tokenizer_piece(t, 268, true, &n));
    assert_int_equal(n, 0);
    assert_non_null(vd_tokenizer_piece(t, INT32_MIN, true, &n));
    assert_memory_equal(vd_tokenizer_piece(t, 263, false, &n), " a", 2);
    assert_int_equal(n, 2);
    vd_tokenizer_free(t);
}

static void the_vocabulary_answers_questions(void **state)
{
    vd_tokenizer *t = open_spm(true);
    assert_int_equal(vd_tokenizer_n_vocab(t), 268);
    assert_int_equal(vd_tokenizer_bos(t), 1);
    assert_int_equal(vd_tokenizer_eos(t), 2);
    assert_true(vd_tokenizer_adds_bos(t));
    assert_true(vd_tokenizer_is_end(t, 2));
    assert_false(vd_tokenizer_is_end(t, 1));
    assert_false(vd_tokenizer_is_end(t, -1));
    assert_int_equal(vd_tokenizer_kind(t, 13), VD_TOKEN_BYTE);
    assert_int_equal(vd_tokenizer_kind(t, 267), VD_TOKEN_USER);
    assert_int_equal(vd_tokenizer_find(t, "bab", 3), 264);
    assert_int_equal(vd_tokenizer_find(t, "zzz", 3), -1);
    assert_int_equal(vd_tokenizer_find(t, "", 0), -1);
    vd_tokenizer_free(t);
}

static void tokens_of_phi3_swallow_the_space_behind_them(void **state)
{
    static const char *const more[] = {S, "a", "<|user|>"};
    vocab v = vocab_spm(more, 3);
    static int types[262];
    memcpy(types, v.types, sizeof(types));
    types[261] = 3;
    v.types = types;
    v.name = "Phi-3 mini";
    v.flag[0].key = "add_space_prefix";
    vd_tokenizer *t = NULL;
    assert_int_equal(vocab_open(&v, &t, NULL), VD_OK);
    assert_string_equal(special_ids(t, "<|user|> \n a"), "1 261 260");
    assert_string_equal(special_ids(t, "<s> a"), "1 1 259 260"); /* not this one */
    vd_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_score_merges_first),
        cmocka_unit_test(equal_scores_merge_the_leftmost_first),
        cmocka_unit_test(a_space_goes_before_the_text_and_after_special_tokens),
        cmocka_unit_test(plain_text_reads_user_tokens_but_no_control_tokens),
        cmocka_unit_test(what_no_token_holds_becomes_bytes),
        cmocka_unit_test(without_byte_tokens_a_run_becomes_one_unknown),
        cmocka_unit_test(decoding_gives_the_text_back),
        cmocka_unit_test(decoding_takes_one_leading_space_off_and_hides_control_tokens),
        cmocka_unit_test(the_vocabulary_answers_questions),
        cmocka_unit_test(tokens_of_phi3_swallow_the_space_behind_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
