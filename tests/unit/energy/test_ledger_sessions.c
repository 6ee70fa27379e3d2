/* test_ledger_sessions.c - what the audit says of sessions: which run, which were killed, which
 * metered at once. */
#include "ledger_rig.h"

#include <signal.h>
#include <sys/wait.h>

static json_t *session(json_t *report, size_t i)
{
    return json_array_get(json_object_get(report, "sessions"), i);
}

static const char *end_of(json_t *report, size_t i)
{
    return json_string_value(json_object_get(session(report, i), "end"));
}

/* A process that keeps books until it is killed. */
static pid_t keeper(rig *r)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        rig_open(r);
        rig_request(r, 1, true);
        rig_flush(r);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void a_dead_process_does_not_run_even_while_nobody_waited_for_it(void **state)
{
    rig r;
    siginfo_t info;
    rig_make(&r);
    pid_t child = keeper(&r);
    json_t *report = rig_audit(&r);
    assert_string_equal(end_of(report, 0), "running");
    json_decref(report);
    kill(child, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0); /* a zombie now */
    report = rig_audit(&r);
    assert_string_equal(end_of(report, 0), "killed");
    assert_int_equal(rig_number(report, "unclean_ends"), 1);
    json_decref(report);
    assert_int_equal(waitpid(child, NULL, 0), child);
    report = rig_audit(&r);
    assert_string_equal(end_of(report, 0), "killed");
    assert_true(json_is_true(json_object_get(report, "ok")));
    json_decref(report);
    rig_done(&r);
}

static void another_process_of_that_number_is_another(void **state)
{
    rig r;
    rig_make(&r);
    rig_open(&r);
    rig_request(&r, 1, true);
    rig_flush(&r);
    rig_sql(&r, "UPDATE session SET pid_start = pid_start - 1");
    json_t *report = rig_audit(&r);
    assert_string_equal(end_of(report, 0), "killed");
    json_decref(report);
    rig_done(&r);
}

/* Each ledger reads the wall clock by itself. */
static void assert_near_s(json_t *ns, int64_t seconds)
{
    double off_s = (double)json_integer_value(ns) / 1e9 - (double)seconds;
    assert_true(off_s > -0.5 && off_s < 0.5);
}

/* Two services with one ledger: the first meters 20 s, the second one second of these; a third
 * begins ten seconds after the first one's last. */
static void two_that_write_at_once_spoil_nothing(void **state)
{
    rig a, b, c;
    rig_make(&a);
    rig_open(&a);
    uint64_t begin_ns = a.now_ns;
    b = c = a;
    rig_open(&b);
    rig_open(&c);
    b.now_ns = begin_ns + 2 * SECOND;
    c.now_ns = begin_ns + 30 * SECOND;
    for (int i = 0; i < 20; i++) {
        rig_window(&a, 1000, &(vd_window_share){1, 1000}, 1);
        rig_flush(&a);
        if (i == 3)
            rig_window(&b, 1000, &(vd_window_share){1, 2000}, 1);
        rig_flush(&b);
    }
    rig_window(&c, 1000, &(vd_window_share){1, 3000}, 1);
    rig_flush(&c);
    json_t *report = rig_audit(&a);
    assert_true(json_is_true(json_object_get(report, "ok")));
    assert_int_equal(rig_number(report, "meter_uj"), a.meter_uj + b.meter_uj + c.meter_uj);
    assert_int_equal(rig_number(report, "requests_uj"), 25000);
    assert_near_s(json_object_get(report, "unmetered_ns"), 10);
    assert_near_s(json_object_get(session(report, 1), "unmetered_before_ns"), -18);
    assert_near_s(json_object_get(session(report, 2), "unmetered_before_ns"), 10);
    json_decref(report);
    vd_ledger_close(b.ledger);
    vd_ledger_close(c.ledger);
    rig_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_process_does_not_run_even_while_nobody_waited_for_it),
        cmocka_unit_test(another_process_of_that_number_is_another),
        cmocka_unit_test(two_that_write_at_once_spoil_nothing),
    };
    vd_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
