/* test_kv.c - the paged KV cache: pages come and go, prefixes are shared and never mistaken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "model/kv.h"

enum { P = VD_KV_PAGE_TOKENS };

static const vd_hparams hp = {.n_layer = 2, .n_kv_head = 2, .head_dim = 8};

static vd_kv *make(size_t n_tokens)
{
    vd_kv *kv = NULL;
    assert_int_equal(vd_kv_create(&hp, VD_DTYPE_F16, n_tokens, &kv, NULL), VD_OK);
    return kv;
}

static vd_kv_seq make_seq(vd_kv *kv)
{
    vd_kv_seq seq = {0};
    assert_int_equal(vd_kv_seq_init(kv, 64 * P, &seq, NULL), VD_OK);
    return seq;
}

static void pages_are_given_out_and_come_back(void **state)
{
    vd_kv *kv = make(4 * P);
    vd_kv_seq a = make_seq(kv), b = make_seq(kv);
    assert_true(vd_kv_seq_reserve(kv, &a, 2 * P + 1));
    assert_int_equal(a.n_pages, 3);
    assert_true(vd_kv_seq_reserve(kv, &b, P));
    assert_false(vd_kv_seq_reserve(kv, &b, P + 1));
    vd_kv_seq_reset(kv, &a);
    assert_int_equal(vd_kv_n_free(kv), 3);
    assert_true(vd_kv_seq_reserve(kv, &b, P + 1));
    assert_false(vd_kv_seq_reserve(kv, &b, 65 * P)); /* beyond its table */
    vd_kv_seq_done(kv, &a);
    vd_kv_seq_done(kv, &b);
    assert_int_equal(vd_kv_n_free(kv), 4);
    vd_kv_free(kv);
}

/* Heads of 8 values hold no block of 32; heads of 64 hold two. */
static void blocks_have_to_fit_the_heads(void **state)
{
    static const struct {
        vd_dtype dtype;
        size_t row_bytes;
    } types[] = {{VD_DTYPE_F16, 128}, {VD_DTYPE_BF16, 128}, {VD_DTYPE_F32, 256},
                 {VD_DTYPE_Q8_0, 68}, {VD_DTYPE_Q4_0, 36}};
    vd_hparams wide = hp;
    vd_kv *kv = NULL;
    vd_err err = {0};
    assert_int_equal(vd_kv_create(&hp, VD_DTYPE_Q8_0, P, &kv, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "a multiple of 32"));
    assert_int_equal(vd_kv_create(&hp, VD_DTYPE_Q4_0, P, &kv, &err), VD_ERR_ARG);
    wide.head_dim = 64;
    for (size_t i = 0; i < VD_COUNT(types); i++) {
        assert_int_equal(vd_kv_create(&wide, types[i].dtype, P, &kv, &err), VD_OK);
        assert_int_equal(vd_kv_row_stride(kv), types[i].row_bytes);
        assert_int_equal(vd_kv_bytes(kv), 2 * 2 * 2 * P * types[i].row_bytes);
        vd_kv_free(kv);
    }
}

static void rows_of_different_places_never_overlap(void **state)
{
    enum { N_PAGES = 128, N_ROWS = N_PAGES * 2 * 2 * 2 * P }; /* layers, heads, keys and values */
    static unsigned char *seen[N_ROWS];
    static uint8_t used[N_ROWS];
    vd_kv *kv = make(N_PAGES * P); /* four blocks */
    vd_kv_seq half[] = {make_seq(kv), make_seq(kv)};
    size_t n = 0;
    for (size_t i = 0; i < N_PAGES; i++)
        assert_true(vd_kv_seq_reserve(kv, &half[i % 2], (i / 2 + 1) * P));
    for (size_t i = 0; i < N_PAGES; i++)
        for (size_t layer = 0; layer < 2; layer++)
            for (size_t head = 0; head < 2; head++)
                for (size_t row = 0; row < P; row++) {
                    size_t at = half[i % 2].page[i / 2] * vd_kv_page_stride(kv) +
                                row * vd_kv_row_stride(kv);
                    seen[n++] = vd_kv_keys(kv, layer, head) + at;
                    seen[n++] = vd_kv_values(kv, layer, head) + at;
                }
    unsigned char *low = seen[0];
    for (size_t i = 0; i < n; i++)
        low = seen[i] < low ? seen[i] : low;
    for (size_t i = 0; i < n; i++) {
        size_t slot = (size_t)(seen[i] - low) / vd_kv_row_stride(kv);
        assert_in_range(slot, 0, N_ROWS - 1);
        assert_int_equal(used[slot % N_ROWS]++, 0);
    }
    assert_int_equal(vd_kv_bytes(kv), n * vd_kv_row_stride(kv));
    vd_kv_seq_done(kv, &half[0]);
    vd_kv_seq_done(kv, &half[1]);
    vd_kv_free(kv);
}

static void fill(int32_t *tokens, size_t n, int32_t first)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = first + (int32_t)i;
}

static void equal_prefixes_share_pages(void **state)
{
    vd_kv *kv = make(16 * P);
    vd_kv_seq a = make_seq(kv), b = make_seq(kv), c = make_seq(kv), d = make_seq(kv);
    int32_t tokens[4 * P], other[4 * P];
    fill(tokens, 4 * P, 100);
    memcpy(other, tokens, sizeof(other));
    other[2 * P] = 7;
    assert_true(vd_kv_seq_reserve(kv, &a, 4 * P));
    vd_kv_seq_publish(kv, &a, 1, tokens, 4 * P);
    /* All four pages are known, but one token has to be left to compute. */
    assert_int_equal(vd_kv_seq_adopt(kv, &b, 1, tokens, 4 * P), 3 * P);
    assert_memory_equal(a.page, b.page, 3 * sizeof(uint32_t));
    assert_int_equal(vd_kv_seq_adopt(kv, &c, 1, other, 4 * P), 2 * P); /* differs in page 2 */
    assert_int_equal(vd_kv_seq_adopt(kv, &d, 2, tokens, 4 * P), 0);    /* another salt */
    vd_kv_seq_done(kv, &a);
    assert_int_equal(vd_kv_n_free(kv), 16 - 3);
    vd_kv_seq_done(kv, &b);
    vd_kv_seq_done(kv, &c);
    assert_int_equal(vd_kv_n_free(kv), 16);
    /* Nobody holds them any more, yet they are still known. */
    assert_int_equal(vd_kv_seq_adopt(kv, &d, 1, tokens, 4 * P), 3 * P);
    vd_kv_seq_done(kv, &d);
    vd_kv_free(kv);
}

static void the_same_tokens_behind_another_beginning_are_not_shared(void **state)
{
    vd_kv *kv = make(16 * P);
    vd_kv_seq a = make_seq(kv), b = make_seq(kv);
    int32_t tokens[3 * P], other[3 * P];
    fill(tokens, 3 * P, 0);
    memcpy(other, tokens, sizeof(other));
    other[0] = 999; /* pages 1 and 2 hold the same tokens, behind another page 0 */
    assert_true(vd_kv_seq_reserve(kv, &a, 3 * P));
    vd_kv_seq_publish(kv, &a, 0, tokens, 3 * P);
    assert_int_equal(vd_kv_seq_adopt(kv, &b, 0, other, 3 * P), 0);
    vd_kv_seq_done(kv, &a);
    vd_kv_seq_done(kv, &b);
    vd_kv_free(kv);
}

static void memory_is_taken_from_the_oldest_and_from_the_tail(void **state)
{
    vd_kv *kv = make(4 * P);
    vd_kv_seq a = make_seq(kv), b = make_seq(kv);
    int32_t tokens[4 * P];
    fill(tokens, 4 * P, 0);
    assert_true(vd_kv_seq_reserve(kv, &a, 3 * P));
    vd_kv_seq_publish(kv, &a, 0, tokens, 3 * P);
    vd_kv_seq_reset(kv, &a);
    /* One page was never used and goes first; the next to go is the tail of the old sequence. */
    assert_true(vd_kv_seq_reserve(kv, &b, 2 * P));
    assert_int_equal(vd_kv_seq_adopt(kv, &a, 0, tokens, 4 * P), 2 * P);
    vd_kv_seq_done(kv, &a);
    vd_kv_seq_done(kv, &b);
    vd_kv_free(kv);
}

static void a_thousand_random_lives_keep_the_books_straight(void **state)
{
    enum { N = 12, PAGES = 32 }; /* one block: slots are numbers of pages */
    vd_kv *kv = make(PAGES * P);
    vd_kv_seq seq[N];
    int32_t tokens[N][8 * P];
    size_t length[N] = {0};
    uint64_t x = 42;
    for (size_t i = 0; i < N; i++)
        seq[i] = make_seq(kv);
    uint64_t before = vd_alloc_stats_get().n_calls;
    for (size_t round = 0; round < 20000; round++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        size_t i = (size_t)(x >> 33) % N;
        if (length[i] == 0) {
            for (size_t t = 0; t < 8 * P; t++) /* few distinct beginnings: much to share */
                tokens[i][t] = (int32_t)((x >> 40) % 3 + t / (3 * P) * (x >> 44 & 1));
            length[i] = vd_kv_seq_adopt(kv, &seq[i], x >> 50 & 1, tokens[i], 8 * P);
        }
        size_t more = 1 + (size_t)(x >> 20) % (2 * P);
        more = length[i] + more > 8 * P ? 8 * P - length[i] : more;
        bool got = vd_kv_seq_reserve(kv, &seq[i], length[i] + more);
        if (got) {
            length[i] += more;
            vd_kv_seq_publish(kv, &seq[i], x >> 50 & 1, tokens[i], length[i]);
        }
        if (!got || length[i] == 8 * P || (x >> 60) == 0) {
            vd_kv_seq_reset(kv, &seq[i]);
            length[i] = 0;
        }
        /* Every page is either free or held; a held page may be shared. */
        uint8_t held[PAGES] = {0};
        size_t n_held = 0;
        for (size_t s = 0; s < N; s++)
            for (size_t p = 0; p < seq[s].n_pages; p++) {
                n_held += !held[seq[s].page[p]];
                held[seq[s].page[p]] = 1;
            }
        assert_int_equal(n_held + vd_kv_n_free(kv), PAGES);
    }
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
    for (size_t i = 0; i < N; i++)
        vd_kv_seq_done(kv, &seq[i]);
    assert_int_equal(vd_kv_n_free(kv), PAGES);
    vd_kv_free(kv);
}

static void every_failed_allocation_is_survived(void **state)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k < 10; k++) {
        vd_kv *kv = NULL;
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = vd_kv_create(&hp, VD_DTYPE_F32, 10 * P, &kv, &err);
        vd_alloc_fail_at(0);
        assert_true(st == VD_OK || (st == VD_ERR_NOMEM && kv == NULL));
        vd_kv_free(kv);
    }
    assert_int_equal(vd_alloc_stats_get().n_live, live);
    vd_kv *kv = NULL;
    assert_int_equal(vd_kv_create(&hp, VD_DTYPE_F16, SIZE_MAX / 2, &kv, NULL), VD_ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_given_out_and_come_back),
        cmocka_unit_test(blocks_have_to_fit_the_heads),
        cmocka_unit_test(rows_of_different_places_never_overlap),
        cmocka_unit_test(equal_prefixes_share_pages),
        cmocka_unit_test(the_same_tokens_behind_another_beginning_are_not_shared),
        cmocka_unit_test(memory_is_taken_from_the_oldest_and_from_the_tail),
        cmocka_unit_test(a_thousand_random_lives_keep_the_books_straight),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
