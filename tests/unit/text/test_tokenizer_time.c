/*
 * test_tokenizer_time.c - long text without a space takes time in proportion: CPU time of 4 times
 * the text is far below the 16 times of a quadratic loop, in every kind and for the inputs that are
 * hard for patterns (long runs of one class that do not end as the pattern hopes).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <time.h>

#include "base/alloc.h"
#include "sanitizer.h"
#include "vocab_build.h"

#define S "\xE2\x96\x81"
enum { SHORT_BYTES = SANITIZED ? 1 << 14 : 1 << 16, TIMES = 4 };

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* What to repeat, and what ends the text. */
static const char *const inputs[][2] = {
    {"a", ""}, {"ab", ""}, {"abacbc", ""}, {" ", "x"}, {"\n", "x"}, {"\n ", "x"}, {"1", "x"},
    {"A", "1"}, {"=!", ""}, {"\xE8\xAA\x9E", ""}, {"\xCC\x81", "x"}, {"\xFF", ""}, {"'", "s"},
    {"<", ""}, {"<x", ""}, {"1", "_"}, {"a ", ""}, {"IMG", ""}, {"aA", "1"}, {"e\xCC\x81 ", "1"},
};

static char *make_text(const char *const input[2], size_t n)
{
    char *text = malloc(n);
    size_t unit = strlen(input[0]), tail = strlen(input[1]);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = input[0][i % unit];
    memcpy(text + n - tail, input[1], tail);
    return text;
}

static double encode_s(const vd_tokenizer *t, const char *text, size_t n)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    vd_err err = {0};
    double start = cpu_s();
    if (vd_tokenizer_encode(t, text, n, NULL, &ids, &n_ids, &err) != VD_OK)
        fail_msg("%s", err.message);
    vd_ids_free(ids);
    return cpu_s() - start;
}

static void assert_linear(const vocab *v, const char *what)
{
    vd_tokenizer *t = NULL;
    vd_err err = {0};
    if (vocab_open(v, &t, &err) != VD_OK)
        fail_msg("%s: %s", what, err.message);
    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++) {
        char *text = make_text(inputs[i], (size_t)SHORT_BYTES * TIMES);
        size_t tail = strlen(inputs[i][1]);
        double few = encode_s(t, text + (size_t)SHORT_BYTES * (TIMES - 1), SHORT_BYTES - tail);
        double many = encode_s(t, text, (size_t)SHORT_BYTES * TIMES);
        /* Slack for what does not grow and for a busy machine; a loop over the square of 256 KiB
         * would take many seconds. */
        if (many > 10.0 * few + 0.3)
            fail_msg("%s, input %zu: %.3f s for %d bytes, %.3f s for %d times that", what, i, few,
                     SHORT_BYTES, many, TIMES);
        free(text);
    }
    vd_tokenizer_free(t);
}

static void spm_is_linear(void **state)
{
    static const char *const more[] = {S, "a", "b", "ab", "aa", "aaaa", S S, S S S S, "1", "11",
                                       "abab", S "a"};
    vocab v = vocab_spm(more, 12);
    assert_linear(&v, "spm");
}

static void unigram_is_linear(void **state)
{
    static const char *const more[] = {S, "a", "b", "ab", "aa", "aaaa", S S, S S S S, "1", "11",
                                       "abab", S "a"};
    for (int merge = 0; merge < 2; merge++) {
        vocab v = vocab_spm(more, 12);
        v.model = "t5";
        v.flag[0].key = "remove_extra_whitespaces";
        v.flag[0].value = merge;
        assert_linear(&v, "unigram");
    }
}

static void bpe_is_linear_with_every_pattern(void **state)
{
    static const char *const more[] = {"aa", "aaaa", "ab", "abab", "11", "<x>", "<xx>"};
    static const char *const merges[] = {"a a", "aa aa", "a b", "ab ab", "1 1"};
    static const char *const names[] = {
        "gpt-2",       "default",  "llama-bpe", "qwen2",     "deepseek-llm", "deepseek-coder",
        "smollm",      "falcon",   "qwen35",    "tekken",    "deepseek-v3",  "gpt-4o",
        "gemma4",      "jais-2",   "ufakzeka",  "laguna",    "seed-coder",   "minicpm5",
        "exaone-moe",  "spark2_5", "afmoe",     "tiny_aya",  "youtu",        "kimi-k2",
        "superbpe",    "bloom",    "viking",    "chameleon", "sarvam-moe",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        vocab v = vocab_byte_level(names[i], more, 7, merges, 5);
        static int types[263];
        for (int k = 0; k < 263; k++)
            types[k] = k < 261 ? 1 : 4;
        v.types = types;
        assert_linear(&v, names[i]);
    }
}

static void wordpiece_is_linear(void **state)
{
    static const char *const words[] = {"[UNK]", S "a", "a", "aa", "b", "ab", S "1", "1", "111"};
    vocab v = {.model = "bert", .tokens = words, .n_tokens = 9, .n_merges = SIZE_MAX,
               .id = {{"unknown_token_id", 0}}};
    assert_linear(&v, "wordpiece");
}

static void memory_is_bounded_by_the_text(void **state)
{
    static const char *const more[] = {"aa"};
    static const char *const merges[] = {"a a"};
    vocab v = vocab_byte_level("gpt-2", more, 1, merges, 1);
    vd_tokenizer *t = NULL;
    assert_int_equal(vocab_open(&v, &t, NULL), VD_OK);
    const char *const input[2] = {"a", ""};
    char *text = make_text(input, 1 << 20);
    uint64_t before = vd_alloc_stats_get().live_bytes;
    vd_alloc_set_limit(before + 64u * (1u << 20));
    (void)encode_s(t, text, 1 << 20);
    vd_alloc_set_limit(before + 4u * (1u << 20)); /* too little is a status */
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(vd_tokenizer_encode(t, text, 1 << 20, NULL, &ids, &n, NULL), VD_ERR_NOMEM);
    vd_alloc_set_limit(0);
    assert_int_equal(vd_alloc_stats_get().live_bytes, before);
    free(text);
    vd_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spm_is_linear),
        cmocka_unit_test(unigram_is_linear),
        cmocka_unit_test(bpe_is_linear_with_every_pattern),
        cmocka_unit_test(wordpiece_is_linear),
        cmocka_unit_test(memory_is_bounded_by_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
