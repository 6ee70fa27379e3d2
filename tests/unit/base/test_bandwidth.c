/* test_bandwidth.c - the speed of reading memory: what was read, and what may be in the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bandwidth.h"
#include "base/pool.h"

static void so_much_is_read_as_was_asked_in_whole_pages(void **state)
{
    static const struct {
        uint64_t asked, read;
        size_t n_threads;
    } cases[] = {{1, 2 << 20, 1}, {4 << 20, 4 << 20, 1}, {(4 << 20) + 1, 6 << 20, 2},
                 {1, 4 << 20, 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vd_bandwidth b;
        vd_bandwidth_measure(cases[i].asked, cases[i].n_threads, &b);
        assert_string_equal(b.why_not, "");
        assert_int_equal(b.bytes, cases[i].read);
        assert_int_equal(b.n_threads, cases[i].n_threads);
        assert_true(b.n_passes > 0 && b.median_gb_s > 0 && b.best_gb_s >= b.median_gb_s);
    }
}

static void what_is_in_the_way_is_said_and_nothing_is_kept(void **state)
{
    vd_bandwidth b;
    uint64_t before = vd_alloc_stats_get().live_bytes;
    vd_bandwidth_measure(4 << 20, VD_POOL_THREADS_MAX + 1, &b);
    assert_true(b.n_passes == 0 && b.why_not[0] != '\0');
    vd_alloc_set_limit(before + (1 << 20));
    vd_bandwidth_measure(4 << 20, 1, &b);
    vd_alloc_set_limit(0);
    assert_true(b.n_passes == 0 && strstr(b.why_not, "no memory") != NULL);
    for (uint64_t k = 1; k < 20; k++) {
        vd_alloc_fail_at(k);
        vd_bandwidth_measure(1, 1, &b);
        vd_alloc_fail_at(0);
        assert_true((b.n_passes > 0) == (b.why_not[0] == '\0'));
        if (b.n_passes > 0)
            break;
    }
    assert_true(b.n_passes > 0);
    assert_int_equal(vd_alloc_stats_get().live_bytes, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_much_is_read_as_was_asked_in_whole_pages),
        cmocka_unit_test(what_is_in_the_way_is_said_and_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
