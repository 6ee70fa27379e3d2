/* test_crew.c - how many threads a small batch runs on, over steps whose times are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/crew.h"

/* A step of `work` microseconds on one thread, of which each thread adds `meet` for meeting; with
 * `taken`, that many threads get half a core, and all wait for them. */
typedef struct machine {
    double work, meet;
    size_t n_cores, n_taken;
} machine;

static double step_us(const machine *m, size_t n)
{
    bool waits = n > m->n_cores - m->n_taken && n > 1;
    return (m->work / (double)n + m->meet * (double)(n - 1)) * (waits ? 2 : 1);
}

/* Runs steps; returns the mean time of one. */
static double run(vd_crew *crew, const machine *m, size_t n_steps)
{
    double sum = 0;
    for (size_t i = 0; i < n_steps; i++) {
        size_t n = vd_crew_size(crew);
        assert_in_range(n, 1, crew->n_max);
        double us = step_us(m, n);
        bool waits = n > m->n_cores - m->n_taken && n > 1;
        vd_crew_note(crew, (uint64_t)(us * 1000), waits ? 2 : 0);
        sum += us;
    }
    return sum / (double)n_steps;
}

static void a_quiet_machine_tries_nothing(void **state)
{
    vd_crew crew;
    machine m = {.work = 5000, .meet = 10, .n_cores = 4};
    vd_crew_init(&crew, 4, false);
    assert_true(run(&crew, &m, 10000) == step_us(&m, 4));
}

static void fewer_threads_are_explored_once_where_nobody_said(void **state)
{
    vd_crew crew;
    machine m = {.work = 5000, .meet = 10, .n_cores = 4};
    vd_crew_init(&crew, 4, true);
    assert_true(run(&crew, &m, 20) > step_us(&m, 4));
    assert_int_equal(crew.n_use, 4);
    assert_true(run(&crew, &m, 5000) == step_us(&m, 4));
}

static void a_tiny_model_ends_on_one_thread(void **state)
{
    vd_crew crew;
    machine m = {.work = 20, .meet = 15, .n_cores = 16};
    vd_crew_init(&crew, 16, true);
    run(&crew, &m, 200);
    assert_int_equal(crew.n_use, 1);
    assert_true(run(&crew, &m, 10000) < 1.2 * step_us(&m, 1));
}

static void a_number_that_was_given_is_kept_while_nobody_waits(void **state)
{
    vd_crew crew;
    machine m = {.work = 20, .meet = 15, .n_cores = 16};
    vd_crew_init(&crew, 16, false);
    run(&crew, &m, 1000);
    assert_int_equal(crew.n_use, 16);
}

static void threads_give_way_to_another_process_and_come_back(void **state)
{
    static const struct {
        size_t n, n_taken, best;
    } cases[] = {{2, 1, 1}, {4, 1, 3}, {16, 3, 13}, {64, 20, 44}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        vd_crew crew;
        machine m = {.work = 5000, .meet = 0.1, .n_cores = cases[i].n,
                     .n_taken = cases[i].n_taken};
        vd_crew_init(&crew, m.n_cores, false);
        run(&crew, &m, 3000);
        assert_true(step_us(&m, crew.n_use) <= 1.2 * step_us(&m, cases[i].best));
        assert_true(run(&crew, &m, 5000) < 1.25 * step_us(&m, cases[i].best));
        m.n_taken = 0;
        run(&crew, &m, 600);
        assert_int_equal(crew.n_use, m.n_cores);
    }
}

static void one_thread_stays_one(void **state)
{
    vd_crew crew;
    machine m = {.work = 5000, .meet = 10, .n_cores = 1, .n_taken = 1};
    vd_crew_init(&crew, 1, true);
    run(&crew, &m, 1000);
    assert_int_equal(vd_crew_size(&crew), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_machine_tries_nothing),
        cmocka_unit_test(fewer_threads_are_explored_once_where_nobody_said),
        cmocka_unit_test(a_tiny_model_ends_on_one_thread),
        cmocka_unit_test(a_number_that_was_given_is_kept_while_nobody_waits),
        cmocka_unit_test(threads_give_way_to_another_process_and_come_back),
        cmocka_unit_test(one_thread_stays_one),
    };
    return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
