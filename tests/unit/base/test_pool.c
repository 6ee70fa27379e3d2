/* test_pool.c - the thread pool: every thread works, every time, and nobody is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/pool.h"

enum { MAX_THREADS = 9 };

typedef struct job {
    vd_pool *pool;
    atomic_uint n_calls;
    unsigned calls_of[MAX_THREADS]; /* each written by one thread */
    unsigned rounds[MAX_THREADS];
} job;

static vd_pool *pool_of(size_t n)
{
    vd_pool *pool = NULL;
    vd_err err = {0};
    if (vd_pool_create(n, &pool, &err) != VD_OK)
        fail_msg("%s", err.message);
    return pool;
}

static void count_call(void *ctx, size_t thread, size_t n_threads)
{
    job *j = ctx;
    j->calls_of[thread]++;
    if (n_threads == vd_pool_n_threads(j->pool))
        atomic_fetch_add(&j->n_calls, 1);
}

static void every_thread_runs_every_job_once(void **state)
{
    for (size_t n = 1; n <= MAX_THREADS; n++) {
        job j = {.pool = pool_of(n)};
        assert_int_equal(vd_pool_n_threads(j.pool), n);
        enum { JOBS = 400 };
        for (unsigned i = 1; i <= JOBS; i++) {
            vd_pool_run(j.pool, count_call, &j);
            assert_int_equal(atomic_load(&j.n_calls), i * n);
        }
        for (size_t t = 0; t < n; t++)
            assert_int_equal(j.calls_of[t], JOBS);
        vd_pool_free(j.pool);
    }
    vd_pool_free(NULL);
}

/* After every barrier each thread sees what all threads wrote before it. */
static void rounds_with_barriers(void *ctx, size_t thread, size_t n_threads)
{
    job *j = ctx;
    for (unsigned round = 1; round <= 50; round++) {
        j->rounds[thread] = round;
        vd_pool_barrier(j->pool);
        for (size_t t = 0; t < n_threads; t++)
            if (j->rounds[t] != round)
                atomic_fetch_add(&j->n_calls, 1);
        vd_pool_barrier(j->pool);
    }
}

static void barriers_hold_everyone_until_the_last_comes(void **state)
{
    for (size_t n = 1; n <= MAX_THREADS; n += 2) {
        job j = {.pool = pool_of(n)};
        for (int i = 0; i < 8; i++)
            vd_pool_run(j.pool, rounds_with_barriers, &j);
        assert_int_equal(atomic_load(&j.n_calls), 0);
        vd_pool_free(j.pool);
    }
}

static void parked_workers_wake_up(void **state)
{
    job j = {.pool = pool_of(3)};
    for (unsigned i = 1; i <= 30; i++) {
        usleep(2000); /* far beyond the spin: workers sleep in the kernel */
        vd_pool_run(j.pool, count_call, &j);
        assert_int_equal(atomic_load(&j.n_calls), i * 3);
    }
    usleep(2000);
    vd_pool_free(j.pool);
}

static void one_thread_late(void *ctx, size_t thread, size_t n_threads)
{
    if (thread == 1)
        usleep(3000);
    count_call(ctx, thread, n_threads);
    vd_pool_barrier(((job *)ctx)->pool);
    if (thread == 0)
        usleep(3000);
}

static void a_slow_thread_is_waited_for_asleep(void **state)
{
    job j = {.pool = pool_of(3)};
    for (unsigned i = 1; i <= 20; i++) {
        vd_pool_run(j.pool, one_thread_late, &j);
        assert_int_equal(atomic_load(&j.n_calls), i * 3);
        assert_true(vd_pool_n_long_waits(j.pool) >= i); /* of thread 0 or 2, or both */
    }
    vd_pool_free(j.pool);
}

static void more_threads_than_cores_are_not_pinned(void **state)
{
    size_t n = vd_pool_n_cores() + 1;
    vd_pool *pool = pool_of(n);
    assert_int_equal(vd_pool_n_threads(pool), n);
    assert_int_equal(vd_pool_n_pinned(pool), 0);
    vd_pool_free(pool);
    pool = pool_of(0);
    assert_int_equal(vd_pool_n_threads(pool), vd_pool_n_cores());
    size_t pinned = vd_pool_n_pinned(pool);
    assert_true(pinned == 0 || pinned == vd_pool_n_threads(pool) - 1);
    vd_pool_free(pool);
}

/* Jobs on fewer threads and more in turn: those that sat some out run each of the others once. */
static void jobs_run_on_the_first_threads_that_are_in_use(void **state)
{
    job j = {.pool = pool_of(5)};
    unsigned expected[MAX_THREADS] = {0};
    for (unsigned i = 0; i < 600; i++) {
        size_t n = i % 50 == 49 ? 1 : 1 + i * i % 5;
        vd_pool_use(j.pool, n);
        if (i % 100 == 0)
            usleep(2000); /* everybody sleeps */
        vd_pool_run(j.pool, i % 2 == 0 ? rounds_with_barriers : count_call, &j);
        for (size_t t = 0; t < n; t++)
            expected[t] += i % 2;
        assert_memory_equal(j.calls_of, expected, sizeof(expected));
        assert_int_equal(vd_pool_n_threads(j.pool), 5);
    }
    vd_pool_free(j.pool);
}

static void too_many_threads_are_refused(void **state)
{
    vd_pool *pool = NULL;
    vd_err err = {0};
    assert_int_equal(vd_pool_create(VD_POOL_THREADS_MAX + 1, &pool, &err), VD_ERR_ARG);
    assert_null(pool);
    assert_non_null(strstr(err.message, "256"));
}

static void denormals(void *ctx, size_t thread, size_t n_threads)
{
    volatile float tiny = 1e-38f;
    if (tiny * 0.01f != 0)
        atomic_fetch_add(&((job *)ctx)->n_calls, 1);
}

static void denormals_are_zero_inside_and_back_outside(void **state)
{
#if defined(__x86_64__)
    job j = {.pool = pool_of(3)};
    vd_pool_run(j.pool, denormals, &j);
    assert_int_equal(atomic_load(&j.n_calls), 0);
    volatile float tiny = 1e-38f;
    assert_true(tiny * 0.01f != 0);
    vd_pool_free(j.pool);
#else
    skip();
#endif
}

static void signals(void *ctx, size_t thread, size_t n_threads)
{
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (thread != 0 && sigismember(&set, SIGTERM) != 1)
        atomic_fetch_add(&((job *)ctx)->n_calls, 1);
    if (thread == 0 && sigismember(&set, SIGTERM) != 0)
        atomic_fetch_add(&((job *)ctx)->n_calls, 1);
}

static void workers_take_no_signals(void **state)
{
    job j = {.pool = pool_of(3)};
    vd_pool_run(j.pool, signals, &j);
    assert_int_equal(atomic_load(&j.n_calls), 0);
    vd_pool_free(j.pool);
}

static void running_a_job_takes_no_memory(void **state)
{
    job j = {.pool = pool_of(3)};
    uint64_t calls = vd_alloc_stats_get().n_calls;
    for (int i = 0; i < 10; i++)
        vd_pool_run(j.pool, rounds_with_barriers, &j);
    assert_int_equal(vd_alloc_stats_get().n_calls, calls);
    vd_pool_free(j.pool);
}

static void every_allocation_of_create_may_fail(void **state)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1; k < 10; k++) {
        vd_pool *pool = NULL;
        vd_alloc_fail_at(k);
        vd_status st = vd_pool_create(3, &pool, NULL);
        vd_alloc_fail_at(0);
        assert_int_equal(pool != NULL, st == VD_OK);
        vd_pool_free(pool);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK)
            return;
        assert_int_equal(st, VD_ERR_NOMEM);
    }
    fail();
}

static void ranges_cover_everything_once_and_evenly(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 7, 15, 16, 17, 31, 64, 100, 1000, 49152};
    static const size_t units[] = {1, 3, 16, 64};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
        for (size_t u = 0; u < sizeof(units) / sizeof(*units); u++)
            for (size_t n_threads = 1; n_threads <= 17; n_threads++) {
                size_t next = 0, n_units = (sizes[s] + units[u] - 1) / units[u];
                for (size_t t = 0; t < n_threads; t++) {
                    size_t begin = 1, end = 0;
                    vd_pool_range(sizes[s], units[u], t, n_threads, &begin, &end);
                    assert_int_equal(begin, next);
                    assert_true(begin <= end);
                    assert_true(end == sizes[s] || end % units[u] == 0);
                    size_t mine = (end - begin + units[u] - 1) / units[u];
                    assert_true(mine <= (n_units + n_threads - 1) / n_threads);
                    next = end;
                }
                assert_int_equal(next, sizes[s]);
            }
}

static void clocks_go_forward_and_count_nanoseconds(void **state)
{
    uint64_t begin = vd_now_ns(), wall = vd_wall_ns();
    usleep(3000);
    uint64_t passed = vd_now_ns() - begin;
    assert_true(passed >= 3000000 && passed < 5000000000u);
    assert_true(wall > 1700000000u * 1000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_every_job_once),
        cmocka_unit_test(barriers_hold_everyone_until_the_last_comes),
        cmocka_unit_test(parked_workers_wake_up),
        cmocka_unit_test(a_slow_thread_is_waited_for_asleep),
        cmocka_unit_test(more_threads_than_cores_are_not_pinned),
        cmocka_unit_test(jobs_run_on_the_first_threads_that_are_in_use),
        cmocka_unit_test(too_many_threads_are_refused),
        cmocka_unit_test(denormals_are_zero_inside_and_back_outside),
        cmocka_unit_test(workers_take_no_signals),
        cmocka_unit_test(running_a_job_takes_no_memory),
        cmocka_unit_test(every_allocation_of_create_may_fail),
        cmocka_unit_test(ranges_cover_everything_once_and_evenly),
        cmocka_unit_test(clocks_go_forward_and_count_nanoseconds),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
