/* test_source_prometheus.c - an external meter by a metric of an exporter on loopback. */
#include "source_test.h"

#include "base/clock.h"
#include "energy/sources/sources.h"
#include "http_stub.h"

typedef struct exporter_test {
    source_test t;
    http_stub http;
    char spec[300];
} exporter_test;

static void setup(exporter_test *x, const char *query, const char *body)
{
    x->t = (source_test){0};
    tree_make(&x->t.tree);
    http_start(&x->http);
    http_says(&x->http, 200, body);
    snprintf(x->spec, sizeof(x->spec), "http://127.0.0.1:%u/metrics#%s", x->http.port, query);
}

static void teardown(exporter_test *x)
{
    close_source(&x->t);
    http_stop(&x->http);
    tree_remove(&x->t.tree);
}

static void counters_come_in_joules_and_watt_hours(void **state)
{
    static const struct {
        const char *query, *before, *after;
        uint64_t uj;
    } cases[] = {
        {"e_joules_total", "e_joules_total 10\n", "e_joules_total 12.5\n", 2500000},
        {"e_joules", "e_joules 1e3\n", "e_joules 1.001e3\n", 1000000},
        {"e_kwh", "e_kwh 100\n", "e_kwh 100.01\n", UINT64_C(36000000000)},
        {"e_wh_total", "e_wh_total 7\n", "e_wh_total 8\n", UINT64_C(3600000000)},
        {"e_microjoules_total", "e_microjoules_total 5\n", "e_microjoules_total 7\n", 2},
        {"total&unit=kWh", "total 2\n", "total 2.001\n", UINT64_C(3600000000)},
        {"e_wh_total{o=\"2\"}", "e_wh_total{o=\"1\"} 3\ne_wh_total{o=\"2\"} 4\n",
         "e_wh_total{o=\"1\"} 9\ne_wh_total{o=\"2\"} 5\n", UINT64_C(3600000000)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        exporter_test x;
        setup(&x, cases[i].query, cases[i].before);
        must_open(&x.t, vd_source_prometheus_open, x.spec);
        assert_string_equal(x.t.source.method, "prometheus");
        assert_int_equal(x.t.source.parts, VD_SOURCE_WHOLE);
        assert_int_equal(x.t.source.refresh_ns, 10 * SECOND);
        http_says(&x.http, 200, cases[i].after);
        assert_true(read_source(&x.t, 5 * SECOND));
        assert_in_range(x.t.uj[VD_PART_CPU], cases[i].uj - 1, cases[i].uj + 1);
        teardown(&x);
    }
}

static void gauges_of_watts_are_integrated(void **state)
{
    static const char *const queries[] = {"p_watts", "power&unit=W", "power&unit=W&refresh=2&pct=1",
                                          "p_watts&part=gpu"};
    for (size_t i = 0; i < 4; i++) {
        exporter_test x;
        setup(&x, queries[i], "# TYPE p_watts gauge\np_watts 100\npower 100\n");
        must_open(&x.t, vd_source_prometheus_open, x.spec);
        http_says(&x.http, 200, "p_watts 300\npower 300\n");
        assert_true(read_source(&x.t, 5 * SECOND));
        assert_int_equal(x.t.uj[i == 3 ? VD_PART_GPU : VD_PART_CPU], 1000000000);
        assert_true(x.t.source.common_pct == (i == 2 ? 1 : 2));
        assert_int_equal(x.t.source.refresh_ns, (i == 2 ? 4 : 10) * SECOND);
        teardown(&x);
    }
}

static void what_is_no_value_is_a_gap_and_no_zero(void **state)
{
    static const struct {
        int code;
        const char *body, *why;
    } cases[] = {
        {200, "e_joules_total NaN\n", "says nan"},
        {200, "e_joules_total +Inf\n", "says inf"},
        {200, "e_joules_total -5\n", "says -5"},
        {200, "e_joules_total\n", "line 1"},
        {200, "e_joules_total 1 2 3\n", "line 1"},
        {200, "e_joules_total 1e30\n", "says 1e+30"},
        {200, "<html><body>Login</body></html>", "a web page"},
        {200, "", "no metric"},
        {200, "other 1\n", "no metric"},
        {200, "e_joules_total{a=\"1\"} 1\ne_joules_total{a=\"2\"} 1\n", "2 series"},
        {404, "e_joules_total 10\n", "status 404"},
        {503, "", "status 503"},
        {302, "e_joules_total 10\n", "status 302"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        exporter_test x;
        setup(&x, "e_joules_total", "e_joules_total 10\n");
        must_open(&x.t, vd_source_prometheus_open, x.spec);
        http_says(&x.http, cases[i].code, cases[i].body);
        assert_false(read_source(&x.t, 5 * SECOND));
        assert_int_equal(x.t.uj[VD_PART_CPU], 0);
        assert_int_equal(x.t.source.lost_since_ns, x.t.tree.now_ns);
        if (strstr(x.t.source.last_gap, cases[i].why) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", x.t.source.last_gap, cases[i].why);
        http_says(&x.http, 200, "e_joules_total 30\n");
        assert_false(read_source(&x.t, 5 * SECOND));
        assert_int_equal(x.t.uj[VD_PART_CPU], 20000000); /* of the whole time */
        assert_int_equal(x.t.source.lost_since_ns, 0);
        http_says(&x.http, 200, "e_joules_total 31\n");
        assert_true(read_source(&x.t, 5 * SECOND));
        assert_int_equal(x.t.uj[VD_PART_CPU], 1000000);
        teardown(&x);
    }
}

static void a_counter_that_began_anew_or_stands_still_is_a_gap(void **state)
{
    exporter_test x;
    setup(&x, "e_joules_total&stale=60", "e_joules_total 1000\n");
    must_open(&x.t, vd_source_prometheus_open, x.spec);
    http_says(&x.http, 200, "e_joules_total 3\n");
    assert_false(read_source(&x.t, 5 * SECOND));
    assert_int_equal(x.t.uj[VD_PART_CPU], 0);
    assert_non_null(strstr(x.t.source.last_gap, "it was reset"));
    for (int i = 0; i < 12; i++)
        assert_true(read_source(&x.t, 5 * SECOND));
    assert_false(read_source(&x.t, 5 * SECOND));
    assert_non_null(strstr(x.t.source.last_gap, "has stood still for 65 s"));
    teardown(&x);
}

static void an_endpoint_that_is_down_is_a_gap(void **state)
{
    exporter_test x;
    setup(&x, "p_watts", "p_watts 100\n");
    must_open(&x.t, vd_source_prometheus_open, x.spec);
    http_stop(&x.http);
    assert_false(read_source(&x.t, 5 * SECOND));
    assert_non_null(strstr(x.t.source.last_gap, "gave no answer"));
    assert_int_equal(x.t.source.lost_since_ns, x.t.tree.now_ns);
    close_source(&x.t);
    must_fail(&x.t, vd_source_prometheus_open, x.spec, VD_ERR_IO, "gave no answer");
    tree_remove(&x.t.tree);
}

static void bad_specifications_say_what_would_be_right(void **state)
{
    static const struct {
        const char *spec, *words;
    } cases[] = {
        {"", "wants http://"},
        {"#a_watts", "wants http://"},
        {"http://127.0.0.1:1/metrics", "wants http://"},
        {"http://127.0.0.1:1/metrics#", "no metric"},
        {"http://127.0.0.1:1/metrics#a b", "\" b\""},
        {"http://127.0.0.1:1/metrics#a{b}", "no metric"},
        {"http://127.0.0.1:1/metrics#a{b=\"c}", "no metric"},
        {"http://127.0.0.1:1/metrics#power", "add &unit="},
        {"http://127.0.0.1:1/metrics#power&unit=watt", "unit=watt"},
        {"http://127.0.0.1:1/metrics#a_watts&refresh=0", "refresh=0"},
        {"http://127.0.0.1:1/metrics#a_watts&refresh=nan", "refresh=nan"},
        {"http://127.0.0.1:1/metrics#a_watts&colour=red", "colour=red"},
        {"http://127.0.0.1:1/metrics#a_watts&", "is none of"},
        {"http://user:secret@127.0.0.1:1/metrics#a_watts", "no password"},
        {"ftp://127.0.0.1/metrics#a_watts", "not an http"},
    };
    exporter_test x = {.t.tree.root = ""};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        must_fail(&x.t, vd_source_prometheus_open, cases[i].spec, VD_ERR_ARG, cases[i].words);
    setup(&x, "e_watts", "# TYPE e_watts counter\ne_watts 5\n");
    must_fail(&x.t, vd_source_prometheus_open, x.spec, VD_ERR_FORMAT, "is a counter");
    teardown(&x);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void an_exporter_that_hangs_holds_up_neither_reading_nor_closing(void **state)
{
    exporter_test x;
    setup(&x, "e_joules_total&refresh=0.1", "e_joules_total 10\n");
    vd_source_env env = env_of(&x.t, x.spec);
    vd_err err = {0};
    env.sample_in_read = false;
    env.now_ns = vd_now_ns();
    assert_int_equal(vd_source_prometheus_open(&env, &x.t.source, &err), VD_OK);
    http_says(&x.http, 200, "e_joules_total 17\n");
    uint64_t until_ns = vd_now_ns() + 20 * SECOND;
    while (x.t.uj[VD_PART_CPU] == 0 && vd_now_ns() < until_ns) {
        sleep_ms(10);
        x.t.source.ops->read(&x.t.source, vd_now_ns(), x.t.uj);
    }
    assert_int_equal(x.t.uj[VD_PART_CPU], 7000000);
    http_says(&x.http, 0, "");
    sleep_ms(300); /* so that the thread is most likely waiting for an answer */
    uint64_t begun_ns = vd_now_ns();
    x.t.source.ops->read(&x.t.source, begun_ns, x.t.uj);
    assert_true(vd_now_ns() - begun_ns < SECOND);
    begun_ns = vd_now_ns();
    close_source(&x.t);
    assert_true(vd_now_ns() - begun_ns < 2500 * MS); /* sooner than the timeout of 3 s */
    teardown(&x);
}

static void the_meter_takes_labels_with_commas(void **state)
{
    exporter_test x;
    setup(&x, "p_watts{a=\"1\",b=\"2\"}",
          "p_watts{a=\"1\",b=\"3\"} 1\np_watts{b=\"2\",a=\"1\"} 50\n");
    char spec[400];
    snprintf(spec, sizeof(spec), "prometheus:%s", x.spec);
    x.t.tree.spec = spec;
    vd_meter *meter = tree_meter(&x.t.tree);
    vd_reading r = read_after(&x.t.tree, meter, 2 * SECOND);
    assert_int_equal(r.uj[VD_PART_CPU], 100000000);
    assert_string_equal(r.method, "prometheus");
    assert_false(r.gap);
    vd_meter_close(meter);
    teardown(&x);
}

static void opening_without_memory_is_a_status(void **state)
{
    exporter_test x;
    setup(&x, "p_watts", "p_watts 1\n");
    fail_each_allocation(&x.t, vd_source_prometheus_open, x.spec);
    teardown(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_come_in_joules_and_watt_hours),
        cmocka_unit_test(gauges_of_watts_are_integrated),
        cmocka_unit_test(what_is_no_value_is_a_gap_and_no_zero),
        cmocka_unit_test(a_counter_that_began_anew_or_stands_still_is_a_gap),
        cmocka_unit_test(an_endpoint_that_is_down_is_a_gap),
        cmocka_unit_test(bad_specifications_say_what_would_be_right),
        cmocka_unit_test(an_exporter_that_hangs_holds_up_neither_reading_nor_closing),
        cmocka_unit_test(the_meter_takes_labels_with_commas),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
