/* test_vocab.c - malformed vocabularies are refused with a message, and no allocation is missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>

#include "base/alloc.h"
#include "vocab_build.h"

#define S "\xE2\x96\x81"

static void assert_refused(const vocab *v, vd_status expected, const char *words)
{
    vd_tokenizer *t = NULL;
    vd_err err = {0};
    uint64_t live = vd_alloc_stats_get().n_live;
    assert_int_equal(vocab_open(v, &t, &err), expected);
    assert_null(t);
    if (strstr(err.message, words) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, words);
    assert_int_equal(vd_alloc_stats_get().n_live, live);
}

static void a_vocabulary_without_tokens_is_refused(void **state)
{
    vocab v = vocab_spm(NULL, 0);
    v.n_tokens = 0;
    assert_refused(&v, VD_ERR_FORMAT, "tokenizer.ggml.tokens");
}

static void an_unknown_model_is_named(void **state)
{
    vocab v = vocab_spm(NULL, 0);
    v.model = "abacus";
    assert_refused(&v, VD_ERR_UNSUPPORTED, "abacus");
    v.model = NULL;
    vd_tokenizer *t = NULL;
    assert_int_not_equal(vocab_open(&v, &t, NULL), VD_OK);
}

static void spm_needs_a_score_for_each_token(void **state)
{
    vocab v = vocab_spm(NULL, 0);
    v.scores = NULL;
    assert_refused(&v, VD_ERR_FORMAT, "tokenizer.ggml.scores");
    static float scores[259];
    scores[7] = __builtin_nanf("");
    v.scores = scores;
    assert_refused(&v, VD_ERR_FORMAT, "entry 7");
}

static void ids_outside_the_vocabulary_are_refused(void **state)
{
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "unknown_token_id"};
    for (int i = 0; i < 3; i++) {
        vocab v = vocab_spm(NULL, 0);
        v.id[0].key = keys[i];
        v.id[0].value = 259;
        assert_refused(&v, VD_ERR_FORMAT, keys[i]);
        v.id[0].value = UINT32_MAX; /* all ones: there is none */
        if (i > 0) {
            vd_tokenizer *t = NULL;
            assert_int_equal(vocab_open(&v, &t, NULL), VD_OK);
            assert_int_equal(i == 1 ? vd_tokenizer_eos(t) : -1, -1);
            vd_tokenizer_free(t);
        }
    }
}

static void a_token_to_add_must_exist(void **state)
{
    vocab v = vocab_byte_level("gpt-2", NULL, 0, NULL, 0);
    v.flag[0].key = "add_bos_token";
    v.flag[0].value = true;
    assert_refused(&v, VD_ERR_FORMAT, "add_bos_token");
}

static void equal_tokens_are_refused_and_empty_ones_are_holes(void **state)
{
    static const char *const twice[] = {"ab", "ab"};
    vocab v = vocab_byte_level("gpt-2", twice, 2, NULL, 0);
    assert_refused(&v, VD_ERR_FORMAT, "256 and 257");
    static const char *const holes[] = {"", ""};
    v = vocab_byte_level("gpt-2", holes, 2, NULL, 0);
    vd_tokenizer *t = NULL;
    assert_int_equal(vocab_open(&v, &t, NULL), VD_OK);
    assert_string_equal(text_of(t, true, IDS(97, 256, 257)), "a");
    vd_tokenizer_free(t);
}

static void merges_must_be_two_parts(void **state)
{
    static const char *const bad[] = {"", " ", "ab", "a ", " a", "a  "};
    for (size_t i = 0; i < 5; i++) {
        vocab v = vocab_byte_level("gpt-2", NULL, 0, &bad[i], 1);
        assert_refused(&v, VD_ERR_FORMAT, "tokenizer.ggml.merges: entry 0");
    }
    vocab v = vocab_byte_level("gpt-2", NULL, 0, NULL, SIZE_MAX);
    assert_refused(&v, VD_ERR_FORMAT, "tokenizer.ggml.merges");
}

static void kinds_beyond_the_list_are_unused(void **state)
{
    vocab v = vocab_byte_level("gpt-2", NULL, 0, NULL, 0);
    static int types[256];
    types[97] = 77;
    types[98] = -5;
    v.types = types;
    vd_tokenizer *t = NULL;
    assert_int_equal(vocab_open(&v, &t, NULL), VD_OK);
    assert_int_equal(vd_tokenizer_kind(t, 97), VD_TOKEN_UNUSED);
    vd_tokenizer_free(t);
}

/* Opens, encodes and decodes with the k-th allocation failing, for every k. */
static void survives_every_failed_allocation(const vocab *v)
{
    static const char text[] = "abc ab\xFF 11<x> \xC3\xA9q,";
    gguf_writer w = vocab_bytes(v);
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k < 100000; k++) {
        vd_gguf *gguf = NULL;
        vd_tokenizer *t = NULL;
        int32_t *ids = NULL;
        char *out = NULL;
        size_t n = 0, n_out = 0;
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = vd_gguf_open_memory(w.data, w.n, NULL, &gguf, &err);
        if (st == VD_OK)
            st = vd_tokenizer_create(gguf, &t, &err);
        if (st == VD_OK)
            st = vd_tokenizer_encode(t, text, sizeof(text) - 1, NULL, &ids, &n, &err);
        if (st == VD_OK)
            st = vd_tokenizer_decode(t, ids, n, true, &out, &n_out, &err);
        vd_alloc_fail_at(0);
        if (st != VD_OK) {
            assert_int_equal(st, VD_ERR_NOMEM);
            assert_string_not_equal(err.message, "");
        }
        vd_text_free(out);
        vd_ids_free(ids);
        vd_tokenizer_free(t);
        vd_gguf_free(gguf);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK) {
            free(w.data);
            return;
        }
    }
    fail_msg("it never succeeds");
}

static void every_kind_survives_every_failed_allocation(void **state)
{
    static const char *const more[] = {S, "a", "b", "ab", (S "ab")};
    vocab v = vocab_spm(more, 5);
    survives_every_failed_allocation(&v);

    static const char *const pieces[] = {"ab", "abc", "<x>"};
    static const char *const merges[] = {"a b", "ab c", "x y", "xy z"};
    v = vocab_byte_level("llama-bpe", pieces, 3, merges, 4);
    survives_every_failed_allocation(&v);
    v = vocab_byte_level("deepseek-llm", pieces, 3, merges, 4);
    survives_every_failed_allocation(&v);
    v = vocab_byte_level("gemma4", pieces, 3, merges, 4);
    survives_every_failed_allocation(&v);

    static const char *const words[] = {"[UNK]", S "ab", "c", S "e", S ","};
    v = (vocab){.model = "bert", .tokens = words, .n_tokens = 5, .n_merges = SIZE_MAX,
                .id = {{"unknown_token_id", 0}}};
    survives_every_failed_allocation(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vocabulary_without_tokens_is_refused),
        cmocka_unit_test(an_unknown_model_is_named),
        cmocka_unit_test(spm_needs_a_score_for_each_token),
        cmocka_unit_test(ids_outside_the_vocabulary_are_refused),
        cmocka_unit_test(a_token_to_add_must_exist),
        cmocka_unit_test(equal_tokens_are_refused_and_empty_ones_are_holes),
        cmocka_unit_test(merges_must_be_two_parts),
        cmocka_unit_test(kinds_beyond_the_list_are_unused),
        cmocka_unit_test(every_kind_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
