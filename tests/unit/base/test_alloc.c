/* test_alloc.c - the allocator counts, has a ceiling and fails on demand; arenas on top of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/checked.h"

static int reset(void **state)
{
    vd_alloc_fail_at(0);
    vd_alloc_set_limit(0);
    return 0;
}

static void every_block_is_counted_in_and_out(void **state)
{
    vd_alloc_stats before = vd_alloc_stats_get();
    char *a = vd_alloc(100);
    char *b = vd_calloc(10, 30);
    char *c = vd_alloc_aligned(1000, 256);
    vd_alloc_stats during = vd_alloc_stats_get();
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_int_equal(during.n_live - before.n_live, 3);
    assert_int_equal(during.n_calls - before.n_calls, 3);
    assert_true(during.live_bytes - before.live_bytes >= 1400);
    assert_true(during.peak_bytes >= during.live_bytes);
    vd_free(a);
    vd_free(b);
    vd_free(c);
    vd_free(NULL);
    vd_alloc_stats after = vd_alloc_stats_get();
    assert_int_equal(after.n_live, before.n_live);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static void blocks_are_aligned_as_promised(void **state)
{
    for (size_t size = 0; size < 200; size += 7) {
        void *plain = vd_alloc(size);
        assert_non_null(plain);
        assert_int_equal((uintptr_t)plain % 16, 0);
        vd_free(plain);
        for (size_t align = 16; align <= 8192; align *= 2) {
            void *block = vd_alloc_aligned(size, align);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % align, 0);
            vd_free(block);
        }
    }
}

static void calloc_gives_zeros_even_where_memory_was_dirty(void **state)
{
    for (int round = 0; round < 50; round++) {
        unsigned char *dirty = vd_alloc(333);
        assert_non_null(dirty);
        memset(dirty, 0xAA, 333);
        vd_free(dirty);
        unsigned char *clean = vd_calloc(333, 1);
        assert_non_null(clean);
        for (int i = 0; i < 333; i++)
            assert_int_equal(clean[i], 0);
        vd_free(clean);
    }
}

static void size_zero_gives_a_block(void **state)
{
    void *a = vd_alloc(0), *b = vd_calloc(0, 8), *c = vd_calloc(8, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    vd_free(a);
    vd_free(b);
    vd_free(c);
}

static void sizes_that_overflow_fail_and_leave_no_trace(void **state)
{
    vd_alloc_stats before = vd_alloc_stats_get();
    volatile size_t huge = SIZE_MAX;
    assert_null(vd_calloc(huge / 2, 3));
    assert_null(vd_alloc_aligned(huge - 3, 64));
    assert_null(vd_strndup("x", huge));
    assert_null(vd_alloc(huge / 2));
    int *block = NULL;
    vd_err err = {0};
    assert_int_equal(vd_alloc_array(huge / 4, 8, "the test", &block, &err), VD_ERR_NOMEM);
    assert_null(block);
    assert_non_null(strstr(err.message, "the test"));
    assert_int_equal(vd_alloc_stats_get().n_live, before.n_live);
}

static void realloc_keeps_contents_and_counts(void **state)
{
    vd_alloc_stats before = vd_alloc_stats_get();
    char *block = vd_realloc(NULL, 4);
    assert_non_null(block);
    memcpy(block, "abc", 4);
    for (size_t n = 8; n < 100000; n = n * 3 + 1) {
        char *moved = vd_realloc(block, n);
        assert_non_null(moved);
        block = moved;
        assert_string_equal(block, "abc");
        assert_int_equal(vd_alloc_stats_get().n_live, before.n_live + 1);
        assert_true(vd_alloc_stats_get().live_bytes >= before.live_bytes + n);
    }
    vd_alloc_fail_at(1);
    assert_null(vd_realloc(block, 1 << 20));
    assert_string_equal(block, "abc");
    vd_free(block);
    assert_int_equal(vd_alloc_stats_get().live_bytes, before.live_bytes);
}

static void the_kth_allocation_fails_once(void **state)
{
    for (uint64_t k = 1; k <= 5; k++) {
        vd_alloc_fail_at(k);
        for (uint64_t i = 1; i <= 6; i++) {
            void *block = vd_alloc(8);
            assert_int_equal(block == NULL, i == k);
            vd_free(block);
        }
    }
    vd_alloc_fail_at(2);
    vd_alloc_fail_at(0);
    for (int i = 0; i < 3; i++) {
        void *block = vd_alloc(8);
        assert_non_null(block);
        vd_free(block);
    }
}

static void the_ceiling_holds_and_lifts(void **state)
{
    uint64_t live = vd_alloc_stats_get().live_bytes;
    vd_alloc_set_limit(live + 10000);
    void *fits = vd_alloc(6000);
    assert_non_null(fits);
    assert_null(vd_alloc(6000));
    assert_null(vd_alloc_aligned(6000, 64));
    assert_null(vd_calloc(60, 100));
    vd_free(fits);
    fits = vd_alloc(6000);
    assert_non_null(fits);
    vd_alloc_set_limit(0);
    void *more = vd_alloc(60000);
    assert_non_null(more);
    vd_free(more);
    vd_free(fits);
}

static void a_block_may_grow_within_the_ceiling(void **state)
{
    uint64_t live = vd_alloc_stats_get().live_bytes;
    char *block = vd_alloc(6000);
    assert_non_null(block);
    vd_alloc_set_limit(live + 10000);
    char *grown = vd_realloc(block, 9000);
    assert_non_null(grown);
    assert_null(vd_realloc(grown, 12000));
    vd_alloc_set_limit(0);
    vd_free(grown);
}

static void *allocate_and_free(void *arg)
{
    for (size_t i = 0; i < 20000; i++) {
        char *block = vd_alloc(i % 97 + 1);
        if (block == NULL)
            return arg;
        block[0] = 1;
        vd_free(block);
    }
    return NULL;
}

static void counters_agree_after_many_threads(void **state)
{
    enum { N = 4 };
    vd_alloc_stats before = vd_alloc_stats_get();
    pthread_t threads[N];
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_and_free, threads), 0);
    for (int i = 0; i < N; i++) {
        void *failed = threads;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    vd_alloc_stats after = vd_alloc_stats_get();
    assert_int_equal(after.n_calls - before.n_calls, N * 20000);
    assert_int_equal(after.n_live, before.n_live);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static void an_arena_gives_aligned_zeros_that_do_not_overlap(void **state)
{
    vd_alloc_stats before = vd_alloc_stats_get();
    vd_arena arena;
    vd_arena_init(&arena, SIZE_MAX);
    unsigned char *blocks[500];
    for (size_t i = 0; i < VD_COUNT(blocks); i++) {
        size_t n = i * 37 % 3000;
        blocks[i] = vd_arena_alloc(&arena, n, 1);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(blocks[i][k], 0);
        memset(blocks[i], (int)i, n);
    }
    for (size_t i = 0; i < VD_COUNT(blocks); i++)
        for (size_t k = 0; k < i * 37 % 3000; k++)
            assert_int_equal(blocks[i][k], (unsigned char)i);
    char *text = vd_arena_strndup(&arena, "joule and more", 5);
    assert_string_equal(text, "joule");
    vd_arena_done(&arena);
    vd_arena_done(&arena);
    assert_int_equal(vd_alloc_stats_get().n_live, before.n_live);
}

static void an_arena_keeps_its_ceiling(void **state)
{
    vd_arena arena;
    vd_err err = {0};
    vd_arena_init(&arena, 100000);
    size_t n = 0;
    while (n < 1000 && vd_arena_alloc(&arena, 1, 1000) != NULL)
        n++;
    assert_in_range(n, 50, 99);
    assert_true(arena.total_bytes <= 100000);
    void *block = &arena;
    assert_int_equal(vd_arena_array(&arena, 1000, 1000, "rows", &block, &err), VD_ERR_NOMEM);
    assert_ptr_equal(block, &arena);
    assert_non_null(strstr(err.message, "rows"));
    assert_null(vd_arena_alloc(&arena, SIZE_MAX / 2, 3));
    assert_null(vd_arena_alloc(&arena, SIZE_MAX, 1));
    assert_null(vd_arena_strndup(&arena, "x", SIZE_MAX));
    vd_arena_done(&arena);
}

static void a_large_block_does_not_waste_the_chunk_before_it(void **state)
{
    vd_arena arena;
    vd_arena_init(&arena, SIZE_MAX);
    assert_non_null(vd_arena_alloc(&arena, 1, 16));
    assert_non_null(vd_arena_alloc(&arena, 1, 5 << 20));
    /* Small blocks go on in chunks of at most 1 MiB, not in doubles of the large one. */
    for (int i = 0; i < 100; i++)
        assert_non_null(vd_arena_alloc(&arena, 1, 1000));
    assert_true(arena.total_bytes < (8u << 20));
    vd_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_block_is_counted_in_and_out, reset),
        cmocka_unit_test_teardown(blocks_are_aligned_as_promised, reset),
        cmocka_unit_test_teardown(calloc_gives_zeros_even_where_memory_was_dirty, reset),
        cmocka_unit_test_teardown(size_zero_gives_a_block, reset),
        cmocka_unit_test_teardown(sizes_that_overflow_fail_and_leave_no_trace, reset),
        cmocka_unit_test_teardown(realloc_keeps_contents_and_counts, reset),
        cmocka_unit_test_teardown(the_kth_allocation_fails_once, reset),
        cmocka_unit_test_teardown(the_ceiling_holds_and_lifts, reset),
        cmocka_unit_test_teardown(a_block_may_grow_within_the_ceiling, reset),
        cmocka_unit_test_teardown(counters_agree_after_many_threads, reset),
        cmocka_unit_test_teardown(an_arena_gives_aligned_zeros_that_do_not_overlap, reset),
        cmocka_unit_test_teardown(an_arena_keeps_its_ceiling, reset),
        cmocka_unit_test_teardown(a_large_block_does_not_waste_the_chunk_before_it, reset),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
