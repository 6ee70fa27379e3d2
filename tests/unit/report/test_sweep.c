/* test_sweep.c - the page of `verdant bench --sweep`: its lines have their own names. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "report/sweep.h"

/* Three lines of two points each; `end` is the speed of each at its last point. */
static json_t *make_sweep(const double *end)
{
    json_t *points = json_array();
    for (int t = 0; t < 3; t++)
        for (int b = 0; b < 2; b++)
            json_array_append_new(
                points, json_pack("{s:i,s:i,s:f,s:f,s:f,s:f}", "threads", t + 1, "batch",
                                  1 + 15 * b, "tok_s", b == 0 ? 1000.0 : end[t], "tok_s_min", 1.0,
                                  "tok_s_max", 2.0, "j_per_tok", 0.5));
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:f,s:i,s:i,s:i,s:o,s:o,s:o}", "model", "m", "cpu",
                     "a", "kernels", "c", "created", "now", "program", "p", "energy_method",
                     "model", "uncertainty_pct", 50.0, "depth", 0, "answer_tokens", 4, "runs", 1,
                     "fastest", json_incref(json_array_get(points, 0)), "least_energy",
                     json_incref(json_array_get(points, 0)), "points", points);
}

/* Where the name stands in the first chart: the y of its text. */
static double y_of_name(const char *page, const char *name)
{
    const char *at = strstr(page, name);
    double y = 0;
    assert_non_null(at);
    while (at > page && strncmp(at, "<text", 5) != 0)
        at--;
    at = strstr(at, " y=\"");
    assert_non_null(at);
    assert_int_equal(sscanf(at, " y=\"%lf", &y), 1);
    return y;
}

static void names_stand_in_the_order_of_their_lines_ends(void **state)
{
    static const double ends[][3] = {{70, 24, 10}, {10, 24, 70}, {24, 70, 10}, {50, 50, 50},
                                     {0, 0, 0}, {900, 1, 500}};
    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        json_t *sweep = make_sweep(ends[i]);
        vd_buf page;
        vd_buf_init(&page, 1 << 20);
        vd_sweep_page(sweep, &page);
        const char *chart = strstr(vd_buf_text(&page), "<svg");
        assert_non_null(chart);
        double y[] = {y_of_name(chart, ">1 thread<"), y_of_name(chart, ">2 threads<"),
                      y_of_name(chart, ">3 threads<")};
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++)
                if (ends[i][a] > ends[i][b]) /* higher, and clear of each other */
                    assert_true(y[a] <= y[b] - 15);
        assert_true(y[0] != y[1] && y[1] != y[2] && y[0] != y[2]);
        vd_buf_done(&page);
        json_decref(sweep);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_stand_in_the_order_of_their_lines_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
