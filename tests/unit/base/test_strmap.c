/* test_strmap.c - the hash map against a sorted reference, at the size of a real vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strmap.h"

enum { N_KEYS = 100000, KEY_MAX = 12 };

typedef struct pair {
    char key[KEY_MAX];
    uint32_t n_key, value, order;
} pair;

static uint64_t random_state = 20261123;

/* splitmix64 (Steele, Lea, Flood 2014): the same keys in every run. */
static uint64_t random_next(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int compare_keys(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    int order = memcmp(x->key, y->key, KEY_MAX);
    if (order == 0)
        order = (x->n_key > y->n_key) - (x->n_key < y->n_key);
    return order;
}

static int compare_pairs(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    int order = compare_keys(a, b);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

static void a_hundred_thousand_random_keys_agree_with_a_sorted_list(void **state)
{
    pair *pairs = vd_calloc(N_KEYS, sizeof(*pairs));
    pair *sorted = vd_calloc(N_KEYS, sizeof(*sorted));
    assert_non_null(pairs);
    assert_non_null(sorted);
    vd_strmap map = {0};
    for (uint32_t i = 0; i < N_KEYS; i++) {
        pairs[i].n_key = (uint32_t)(random_next() % (KEY_MAX + 1));
        for (uint32_t k = 0; k < pairs[i].n_key; k++)
            pairs[i].key[k] = (char)(random_next() % 6); /* few letters, NUL too: many repeats */
        pairs[i].value = (uint32_t)random_next();
        pairs[i].order = i;
    }
    memcpy(sorted, pairs, N_KEYS * sizeof(*pairs));
    qsort(sorted, N_KEYS, sizeof(*sorted), compare_pairs);

    size_t n_distinct = 0, n_overwritten = 0;
    for (size_t i = 0; i < N_KEYS; i++)
        n_distinct += i + 1 == N_KEYS || compare_keys(&sorted[i], &sorted[i + 1]) != 0;
    for (size_t i = 0; i < N_KEYS; i++) {
        bool was_there = false;
        assert_int_equal(vd_strmap_put(&map, pairs[i].key, pairs[i].n_key, pairs[i].value,
                                       &was_there, NULL),
                         VD_OK);
        n_overwritten += was_there;
    }
    assert_int_equal(map.n_used, n_distinct);
    assert_int_equal(n_overwritten, N_KEYS - n_distinct);
    assert_true(map.n_used <= map.n_slots / 2);
    for (size_t i = 0; i < N_KEYS; i++) {
        if (i + 1 < N_KEYS && compare_keys(&sorted[i], &sorted[i + 1]) == 0)
            continue; /* the last of equal keys wins */
        uint32_t value = 0;
        assert_true(vd_strmap_get(&map, sorted[i].key, sorted[i].n_key, &value));
        assert_int_equal(value, sorted[i].value);
    }
    for (int i = 0; i < 10000; i++) {
        char key[KEY_MAX + 1];
        for (int k = 0; k < KEY_MAX + 1; k++)
            key[k] = (char)(random_next() % 6);
        uint32_t value;
        assert_false(vd_strmap_get(&map, key, sizeof(key), &value)); /* longer than any */
    }
    vd_strmap_done(&map);
    vd_free(pairs);
    vd_free(sorted);
}

static void a_zeroed_map_is_empty_and_grows(void **state)
{
    vd_strmap map = {0};
    uint32_t value = 7;
    assert_false(vd_strmap_get(&map, "x", 1, &value));
    assert_int_equal(value, 7);
    assert_int_equal(vd_strmap_put(&map, "x", 1, 3, NULL, NULL), VD_OK);
    assert_true(vd_strmap_get(&map, "x", 1, &value));
    assert_int_equal(value, 3);
    assert_false(vd_strmap_get(&map, "", 0, &value));
    assert_int_equal(vd_strmap_put(&map, "", 0, 4, NULL, NULL), VD_OK);
    assert_true(vd_strmap_get(&map, "", 0, &value));
    assert_int_equal(value, 4);
    vd_strmap_done(&map);
    vd_strmap_done(&map);
}

static void a_map_sized_for_its_keys_allocates_once(void **state)
{
    static char keys[5000][4];
    vd_strmap map;
    uint64_t calls = vd_alloc_stats_get().n_calls;
    assert_int_equal(vd_strmap_init(&map, 5000, NULL), VD_OK);
    for (uint32_t i = 0; i < 5000; i++) {
        memcpy(keys[i], &i, 4);
        assert_int_equal(vd_strmap_put(&map, keys[i], 4, i, NULL, NULL), VD_OK);
    }
    assert_int_equal(vd_alloc_stats_get().n_calls, calls + 1);
    vd_strmap_done(&map);
}

static void short_memory_leaves_the_map_as_it_was(void **state)
{
    static char keys[64][2];
    vd_strmap map = {0};
    vd_err err = {0};
    size_t n = 0;
    for (; n < 8; n++) {
        keys[n][0] = (char)n;
        assert_int_equal(vd_strmap_put(&map, keys[n], 2, (uint32_t)n, NULL, &err), VD_OK);
    }
    vd_alloc_fail_at(1);
    assert_int_equal(vd_strmap_put(&map, "new", 3, 99, NULL, &err), VD_ERR_NOMEM);
    uint32_t value;
    assert_false(vd_strmap_get(&map, "new", 3, &value));
    for (size_t i = 0; i < n; i++) {
        assert_true(vd_strmap_get(&map, keys[i], 2, &value));
        assert_int_equal(value, i);
    }
    assert_int_equal(vd_strmap_put(&map, "new", 3, 99, NULL, &err), VD_OK);
    vd_strmap_done(&map);
    vd_alloc_fail_at(1);
    assert_int_equal(vd_strmap_init(&map, 10, &err), VD_ERR_NOMEM);
    vd_strmap_done(&map);
    assert_int_not_equal(vd_strmap_init(&map, SIZE_MAX, &err), VD_OK);
    vd_strmap_done(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_thousand_random_keys_agree_with_a_sorted_list),
        cmocka_unit_test(a_zeroed_map_is_empty_and_grows),
        cmocka_unit_test(a_map_sized_for_its_keys_allocates_once),
        cmocka_unit_test(short_memory_leaves_the_map_as_it_was),
    };
    return cmocka_run_group_tests_name("strmap", tests, NULL, NULL);
}
