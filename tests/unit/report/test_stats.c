/* test_stats.c - the paired ratio: quantiles against tables, coverage by simulation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/checked.h"
#include "report/stats.h"

static uint64_t state = 20261128;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(2 * acos(-1.0) * uniform());
}

static void quantiles_are_those_of_printed_tables(void **unused)
{
    static const struct {
        size_t df;
        double t;
    } table[] = {{1, 12.7062}, {2, 4.3027}, {9, 2.2622}, {10, 2.2281}, {30, 2.0423}, {120, 1.9799}};
    for (size_t i = 0; i < VD_COUNT(table); i++)
        assert_true(fabs(vd_t_quantile(table[i].df) - table[i].t) < 1e-4);
    assert_true(isinf(vd_t_quantile(0)));
}

static void a_constant_ratio_is_found_exactly(void **unused)
{
    double a[10], b[10];
    for (size_t i = 0; i < 10; i++) {
        a[i] = 1 + (double)i;
        b[i] = 0.75 * a[i];
    }
    vd_ratio r = vd_paired_ratio(a, b, 10, 0, 0);
    assert_true(fabs(r.ratio - 0.75) < 1e-12);
    assert_true(r.high - r.low < 1e-9 && r.n == 10);
}

static void changing_sides_inverts_the_ratio(void **unused)
{
    double a[12], b[12];
    for (size_t i = 0; i < 12; i++) {
        a[i] = exp(normal());
        b[i] = exp(normal());
    }
    vd_ratio r = vd_paired_ratio(a, b, 12, 3, 5), back = vd_paired_ratio(b, a, 12, 5, 3);
    assert_true(fabs(r.ratio * back.ratio - 1) < 1e-12);
    assert_true(fabs(r.low * back.high - 1) < 1e-12);
}

/* How often the interval holds the truth: pairs share the machine's mood (a wide common factor, a
 * drift), each figure has noise of its own, and each side an error of the meter that repetition
 * does not wear off. */
static double coverage(size_t n, double noise, double independent_pct)
{
    enum { TRIALS = 4000 };
    size_t held = 0;
    const double truth = 0.8, sigma = log1p(independent_pct / 100) / 1.6448536269514722;
    for (size_t trial = 0; trial < TRIALS; trial++) {
        double a[64], b[64], error_a = exp(sigma * normal()), error_b = exp(sigma * normal());
        for (size_t i = 0; i < n; i++) {
            double mood = exp(0.5 * normal() + 0.02 * (double)i);
            a[i] = 10 * mood * error_a * exp(noise * normal());
            b[i] = 10 * truth * mood * error_b * exp(noise * normal());
        }
        vd_ratio r = vd_paired_ratio(a, b, n, independent_pct, independent_pct);
        held += r.low <= truth && truth <= r.high;
    }
    return (double)held / TRIALS;
}

static void intervals_hold_the_truth_19_times_in_20(void **unused)
{
    static const double noise[] = {0.01, 0.1, 0.4}, pct[] = {0, 5};
    for (size_t i = 0; i < VD_COUNT(noise); i++)
        for (size_t k = 0; k < VD_COUNT(pct); k++) {
            double c10 = coverage(10, noise[i], pct[k]), c30 = coverage(30, noise[i], pct[k]);
            print_message("noise %.2f, meter +-%.0f %%: n=10 %.3f, n=30 %.3f\n", noise[i], pct[k],
                          c10, c30);
            assert_true(c10 > 0.94 && c10 < 0.97);
            assert_true(c30 > 0.94 && c30 < 0.97);
        }
}

static void without_the_meters_part_the_interval_would_be_too_sure(void **unused)
{
    size_t held = 0;
    const double sigma = log1p(0.05) / 1.6448536269514722;
    for (size_t trial = 0; trial < 1000; trial++) {
        double a[10], b[10], ea = exp(sigma * normal()), eb = exp(sigma * normal());
        for (size_t i = 0; i < 10; i++) {
            a[i] = ea * exp(0.01 * normal());
            b[i] = eb * exp(0.01 * normal());
        }
        vd_ratio r = vd_paired_ratio(a, b, 10, 0, 0);
        held += r.low <= 1 && 1 <= r.high;
    }
    assert_true(held < 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_printed_tables),
        cmocka_unit_test(a_constant_ratio_is_found_exactly),
        cmocka_unit_test(changing_sides_inverts_the_ratio),
        cmocka_unit_test(intervals_hold_the_truth_19_times_in_20),
        cmocka_unit_test(without_the_meters_part_the_interval_would_be_too_sure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
