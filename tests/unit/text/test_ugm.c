/* test_ugm.c - unigram vocabularies: the likeliest tokens, normalization, spaces, byte fallback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <math.h>

#include "base/alloc.h"
#include "vocab_build.h"

#define S "\xE2\x96\x81"

/* 0..2: special  3: _  4: a  5: b  6: ab  7: _a  8: aba  9: x  10: xx  11: <tool> (user-defined) */
#define SPACE_A "\xE2\x96\x81\x61"
static const char *const tokens[] = {"<pad>", "</s>", "<unk>", S, "a", "b", "ab", SPACE_A, "aba",
                                     "x", "xx", "<tool>", "<0x41>"};
static const int types[] = {3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1};

/* A compiled map: each node has a block of 256 units for its children, its value in the first. */
typedef struct map {
    uint32_t unit[256 * 8];
    uint32_t n_blocks; /* the root's is block 1 */
    unsigned char file[4 + 4 * 256 * 8 + 64];
    size_t n;
} map;

static uint32_t map_block(map *m, uint32_t at)
{
    if (m->unit[at] >> 10 == 0)
        m->unit[at] |= (at ^ ++m->n_blocks * 256) << 10;
    return at ^ m->unit[at] >> 10;
}

static void map_add(map *m, const char *from, uint32_t place)
{
    uint32_t at = 0;
    for (; *from != '\0'; from++) {
        at = map_block(m, at) + (unsigned char)*from;
        m->unit[at] |= (unsigned char)*from;
    }
    uint32_t value = map_block(m, at);
    m->unit[at] |= 1u << 8;
    m->unit[value] = 1u << 31 | place;
}

/* "A" becomes "a", a tab a space, "AB" nothing, "C" becomes "a  b". */
static map *make_map(void)
{
    static map m;
    static const char texts[] = "a\0 \0\0a  b";
    m = (map){0};
    map_add(&m, "A", 0);
    map_add(&m, "\t", 2);
    map_add(&m, "AB", 4);
    map_add(&m, "C", 5);
    uint32_t bytes = 4 * 256 * (m.n_blocks + 1);
    memcpy(m.file, &bytes, 4);
    memcpy(m.file + 4, m.unit, bytes);
    memcpy(m.file + 4 + bytes, texts, sizeof(texts));
    m.n = 4 + bytes + sizeof(texts);
    return &m;
}

static vd_status open_with(const map *m, bool prefix, bool merge, vd_tokenizer **ret_tokenizer,
                           vd_err *err)
{
    /* "ab" and "_a" are likelier than their parts, "aba" is not */
    static const float scores[] = {0, 0, 0, -2, -2, -2, -3, -3, -9, -1, -2, 0, -20};
    vocab v = {.model = "t5", .tokens = tokens, .n_tokens = 13, .types = types, .scores = scores,
               .n_merges = SIZE_MAX, .rules = m == NULL ? NULL : m->file,
               .n_rules = m == NULL ? 0 : m->n,
               .flag = {{"add_space_prefix", prefix}, {"remove_extra_whitespaces", merge}}};
    return vocab_open(&v, ret_tokenizer, err);
}

static vd_tokenizer *open_ugm(const map *m, bool prefix, bool merge)
{
    vd_tokenizer *tokenizer = NULL;
    vd_err err = {0};
    if (open_with(m, prefix, merge, &tokenizer, &err) != VD_OK)
        fail_msg("%s", err.message);
    return tokenizer;
}

static void the_greatest_sum_of_scores_wins(void **state)
{
    vd_tokenizer *t = open_ugm(NULL, false, false);
    assert_string_equal(plain_ids(t, "ab"), "6");
    assert_string_equal(plain_ids(t, "aba"), "6 4"); /* -5; the longest match costs -9 */
    assert_string_equal(plain_ids(t, " ab"), "3 6"); /* "_" "ab" ties with "_a" "b" */
    assert_string_equal(plain_ids(t, "xxx"), "9 10"); /* all ways tie: the first found stays */
    assert_string_equal(plain_ids(t, ""), "");
    assert_string_equal(special_ids(t, "a"), "4 1"); /* </s> by default */
    vd_tokenizer_free(t);
}

static void a_run_that_no_token_covers_is_one_unknown(void **state)
{
    vd_tokenizer *t = open_ugm(NULL, false, false);
    assert_string_equal(plain_ids(t, "a??b?"), "4 2 5 2");
    assert_string_equal(plain_ids(t, "\xC3\xA9\xF0\x9F\xA6\x99"), "2");
    const vd_encode_options plain = {.no_bos_eos = true};
    assert_string_equal(ids_of_bytes(t, "a\xFF\0b\xE2\x96", 6, &plain), "4 2 5 2");
    vd_tokenizer_free(t);
}

static void spaces_are_merged_where_the_file_says_so(void **state)
{
    vd_tokenizer *t = open_ugm(NULL, true, true);
    assert_string_equal(plain_ids(t, "  a   b "), "7 3 5");
    assert_string_equal(plain_ids(t, "   "), "");
    assert_string_equal(plain_ids(t, "b<tool> b"), "3 5 11 3 5");
    vd_tokenizer_free(t);
    t = open_ugm(NULL, false, true);
    assert_string_equal(plain_ids(t, "  b   b "), "5 3 5");
    vd_tokenizer_free(t);
    t = open_ugm(NULL, true, false);
    assert_string_equal(plain_ids(t, " b  "), "3 3 5 3 3");
    assert_string_equal(plain_ids(t, " "), "3 3");
    vd_tokenizer_free(t);
}

static void the_longest_rule_normalizes(void **state)
{
    vd_tokenizer *t = open_ugm(make_map(), true, true);
    assert_string_equal(plain_ids(t, "A"), "7");
    assert_string_equal(plain_ids(t, "AB"), "");
    assert_string_equal(plain_ids(t, "ABA\t\tb"), "7 3 5");
    assert_string_equal(plain_ids(t, "C"), "7 3 5"); /* the spaces of a rule are merged too */
    vd_tokenizer_free(t);
}

static void refuses(const map *m, const char *part)
{
    vd_tokenizer *t = NULL;
    vd_err err = {0};
    assert_int_equal(open_with(m, true, true, &t, &err), VD_ERR_FORMAT);
    assert_null(t);
    if (strstr(err.message, part) == NULL)
        fail_msg("'%s' not in '%s'", part, err.message);
}

static void broken_rules_are_refused_or_do_not_match(void **state)
{
    map *m = make_map();
    m->n = 3;
    refuses(m, "do not hold a trie");
    m = make_map();
    m->n--; /* the last zero */
    refuses(m, "not ended by a zero");
    m = make_map();
    m->file[0] ^= 1;
    refuses(m, "do not hold a trie");
    m->file[3] = 0x7F;
    refuses(m, "do not hold a trie");

    m = make_map(); /* every place it leads to lies outside */
    for (size_t i = 4; i + 64 < m->n; i += 4)
        m->file[i + 3] |= 0x7F;
    vd_tokenizer *t = open_ugm(m, true, true);
    assert_string_equal(plain_ids(t, "A\ta"), "3 2 4");
    vd_tokenizer_free(t);
}

static void with_a_token_for_every_byte_nothing_is_unknown(void **state)
{
    static const char *const more[] = {S, "a"};
    vocab v = vocab_spm(more, 2);
    v.model = "t5";
    v.id[0].key = "unknown_token_id";
    v.flag[0].key = "add_eos_token";
    vd_tokenizer *t = NULL;
    vd_err err = {0};
    if (vocab_open(&v, &t, &err) != VD_OK)
        fail_msg("%s", err.message);
    const vd_encode_options plain = {.no_bos_eos = true};
    const char text[] = "a\xC3\xA9 \xFF\0a";
    assert_string_equal(ids_of_bytes(t, text, 7, &plain), "260 198 172 259 258 3 260");
    char *back = NULL;
    size_t n = 0;
    assert_int_equal(vd_tokenizer_decode(t, IDS(260, 198, 172, 259, 258, 3, 260), 7, false, &back,
                                         &n, NULL), VD_OK);
    assert_int_equal(n, 7);
    assert_memory_equal(back, text, 7);
    vd_text_free(back);
    vd_tokenizer_free(t);
}

static void scores_must_be_finite_numbers_one_for_each_token(void **state)
{
    static const float scores[] = {0, -1, INFINITY};
    vocab v = {.model = "t5", .tokens = tokens, .n_tokens = 3, .scores = scores,
               .n_merges = SIZE_MAX};
    vd_tokenizer *t = NULL;
    vd_err err = {0};
    assert_int_equal(vocab_open(&v, &t, &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "entry 2"));
    v.scores = NULL;
    assert_int_equal(vocab_open(&v, &t, &err), VD_ERR_FORMAT);
}

static void decoding_takes_the_added_space_off(void **state)
{
    vd_tokenizer *t = open_ugm(NULL, true, true);
    assert_string_equal(text_of(t, false, IDS(7, 3, 5, 1)), "a b");
    assert_string_equal(text_of(t, true, IDS(7, 11, 1)), "a<tool></s>");
    vd_tokenizer_free(t);
}

static void every_failed_allocation_is_a_status(void **state)
{
    uint64_t before = vd_alloc_stats_get().live_bytes;
    vd_status st = VD_ERR_NOMEM;
    for (uint64_t k = 1; st != VD_OK; k++) {
        vd_tokenizer *t = NULL;
        vd_alloc_fail_at(k);
        st = open_with(make_map(), true, true, &t, NULL);
        if (st == VD_OK) {
            int32_t *ids = NULL;
            size_t n = 0;
            st = vd_tokenizer_encode(t, "Ab x?", 5, NULL, &ids, &n, NULL);
            if (st == VD_OK)
                assert_int_equal(n, 6);
            vd_ids_free(ids);
        }
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || st == VD_ERR_NOMEM);
        vd_tokenizer_free(t);
        assert_int_equal(vd_alloc_stats_get().live_bytes, before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_greatest_sum_of_scores_wins),
        cmocka_unit_test(a_run_that_no_token_covers_is_one_unknown),
        cmocka_unit_test(spaces_are_merged_where_the_file_says_so),
        cmocka_unit_test(the_longest_rule_normalizes),
        cmocka_unit_test(broken_rules_are_refused_or_do_not_match),
        cmocka_unit_test(with_a_token_for_every_byte_nothing_is_unknown),
        cmocka_unit_test(scores_must_be_finite_numbers_one_for_each_token),
        cmocka_unit_test(decoding_takes_the_added_space_off),
        cmocka_unit_test(every_failed_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
