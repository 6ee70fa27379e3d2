/*
 * test_source_channel.c - laws of one sensor: what a counter's steps and a gauge's trapezoids add
 * up to, under random schedules of readings, refreshes and failures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "energy/sources/channel.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

static uint64_t random_below(uint64_t *seed, uint64_t n)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % n;
}

static vd_channel counter(void)
{
    return (vd_channel){.name = "it",
                        .part = VD_PART_GPU,
                        .most_w = 1000,
                        .slack_uj = 100000000,
                        .stuck_ns = 10 * SECOND};
}

static vd_channel gauge(void)
{
    return (vd_channel){.name = "it", .part = VD_PART_GPU, .most_w = 1000, .most_ns = 2 * SECOND};
}

/* A counter that draws up to 500 W, shows it every 20 to 100 ms, and is read at odd times. */
static void a_counters_steps_add_up_to_its_difference(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t s = seed, now_ns = 1000;
        uint64_t true_uj = random_below(&s, 1000000000), shown_uj = true_uj;
        uint64_t refresh_ns = now_ns, first_uj = shown_uj, sum_uj = 0;
        vd_channel c = counter();
        vd_sample begin = {0};
        vd_channel_counter(&c, now_ns, shown_uj, &begin);
        assert_true(!begin.gap && begin.uj[VD_PART_GPU] == 0); /* the first value is no energy */
        for (int i = 0; i < 300; i++) {
            uint64_t step_ns = 1 + random_below(&s, 150 * MS);
            now_ns += step_ns;
            true_uj += 1 + step_ns / 1000 * random_below(&s, 500) / 1000;
            if (now_ns >= refresh_ns) {
                shown_uj = true_uj;
                refresh_ns = now_ns + 20 * MS + random_below(&s, 80 * MS);
            }
            vd_sample sample = {0};
            vd_channel_counter(&c, now_ns, shown_uj, &sample);
            assert_false(sample.gap);
            assert_false(sample.lost);
            sum_uj += sample.uj[VD_PART_GPU];
        }
        assert_int_equal(sum_uj, shown_uj - first_uj);
    }
}

/* With failures in between nothing is lost either: it comes with the gap that ends them. */
static void what_a_counter_did_while_it_was_away_is_counted_once(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t s = seed, now_ns = 1000, uj = 5, sum_uj = 0;
        vd_channel c = counter();
        bool was_away = false, away = false;
        vd_sample begin = {0};
        vd_channel_counter(&c, now_ns, uj, &begin);
        for (int i = 0; i < 300; i++) {
            now_ns += 100 * MS;
            uj += 1 + random_below(&s, 10000000);
            away = i < 299 && random_below(&s, 4) == 0;
            vd_sample sample = {0};
            if (away)
                vd_channel_fail(&c, &sample, "failed");
            else
                vd_channel_counter(&c, now_ns, uj, &sample);
            assert_true(sample.gap == (away || was_away));
            assert_true(sample.lost == away);
            assert_true(!away || sample.uj[VD_PART_GPU] == 0);
            sum_uj += sample.uj[VD_PART_GPU];
            was_away = away;
        }
        assert_int_equal(sum_uj, uj - 5);
    }
}

/* Of a power that is linear between readings the trapezoids are exact, but for a microjoule. */
static void a_gauges_trapezoids_are_the_integral(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t s = seed, now_ns = 1000, uw = random_below(&s, 1000000000), sum_uj = 0;
        double exact_uj = 0;
        vd_channel c = gauge();
        vd_sample begin = {0};
        vd_channel_gauge(&c, now_ns, uw, &begin);
        assert_true(!begin.gap && begin.uj[VD_PART_GPU] == 0);
        for (int i = 0; i < 300; i++) {
            uint64_t step_ns = 1 + random_below(&s, 100 * MS);
            uint64_t next_uw = random_below(&s, 1000000000);
            now_ns += step_ns;
            exact_uj += ((double)uw + (double)next_uw) / 2 * (double)step_ns * 1e-9;
            uw = next_uw;
            vd_sample sample = {0};
            vd_channel_gauge(&c, now_ns, uw, &sample);
            assert_false(sample.gap);
            sum_uj += sample.uj[VD_PART_GPU];
        }
        assert_true((double)sum_uj <= exact_uj + 1e-3 && (double)sum_uj > exact_uj - 1 - 1e-3);
    }
}

static void no_trapezoid_reaches_across_a_failure(void **state)
{
    vd_channel c = gauge();
    vd_sample sample = {0};
    vd_channel_gauge(&c, 0, 100000000, &sample);
    vd_channel_fail(&c, &sample, "failed");
    sample = (vd_sample){0};
    vd_channel_gauge(&c, SECOND, 100000000, &sample);
    assert_true(sample.gap && !sample.lost && sample.uj[VD_PART_GPU] == 0);
    sample = (vd_sample){0};
    vd_channel_gauge(&c, 2 * SECOND, 300000000, &sample);
    assert_true(!sample.gap && sample.uj[VD_PART_GPU] == 200000000);
}

static void the_bounds_of_belief_are_where_they_are_said_to_be(void **state)
{
    vd_channel c = counter();
    vd_sample sample = {0};
    vd_channel_counter(&c, 0, 0, &sample);
    vd_channel_counter(&c, SECOND, 1100000000, &sample); /* 1000 W for a second, and the slack */
    assert_true(!sample.gap && sample.uj[VD_PART_GPU] == 1100000000);
    vd_channel_counter(&c, 2 * SECOND, UINT64_C(2200000001), &sample);
    assert_true(sample.gap && sample.uj[VD_PART_GPU] == 1100000000);
    assert_non_null(strstr(sample.why, "it went from"));
    sample = (vd_sample){0}; /* what was not believed is where counting begins anew */
    vd_channel_counter(&c, 3 * SECOND, UINT64_C(2200000002), &sample);
    assert_true(!sample.gap && sample.uj[VD_PART_GPU] == 1);

    sample = (vd_sample){0};
    vd_channel_counter(&c, 13 * SECOND, UINT64_C(2200000002), &sample);
    assert_true(!sample.gap && !sample.lost);
    vd_channel_counter(&c, 13 * SECOND + 1, UINT64_C(2200000002), &sample);
    assert_true(sample.gap && sample.lost);

    c = gauge();
    sample = (vd_sample){0};
    vd_channel_gauge(&c, 0, 1000000000, &sample);
    vd_channel_gauge(&c, 2 * SECOND, 1000000000, &sample);
    assert_true(!sample.gap && sample.uj[VD_PART_GPU] == 2000000000);
    vd_channel_gauge(&c, 4 * SECOND + 1, 1000000000, &sample);
    assert_true(sample.gap && !sample.lost && sample.uj[VD_PART_GPU] == 2000000000);
    sample = (vd_sample){0};
    vd_channel_gauge(&c, 5 * SECOND, 1000000001, &sample);
    assert_true(sample.gap && sample.lost);
}

static void a_clock_that_stands_or_goes_back_gives_no_energy(void **state)
{
    vd_channel c = gauge();
    vd_sample sample = {0};
    vd_channel_gauge(&c, SECOND, 100000000, &sample);
    vd_channel_gauge(&c, SECOND, 100000000, &sample);
    vd_channel_gauge(&c, 0, 100000000, &sample);
    assert_true(!sample.gap && sample.uj[VD_PART_GPU] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counters_steps_add_up_to_its_difference),
        cmocka_unit_test(what_a_counter_did_while_it_was_away_is_counted_once),
        cmocka_unit_test(a_gauges_trapezoids_are_the_integral),
        cmocka_unit_test(no_trapezoid_reaches_across_a_failure),
        cmocka_unit_test(the_bounds_of_belief_are_where_they_are_said_to_be),
        cmocka_unit_test(a_clock_that_stands_or_goes_back_gives_no_energy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
