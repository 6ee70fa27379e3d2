/* test_scan.c - passes over rows of logits, held against the obvious loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engine/scan.h"

enum { N_MAX = 3000 };
static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 255, 256, 257, 512, 1000, N_MAX};
enum { N_SIZES = sizeof(sizes) / sizeof(*sizes) };

/* Few different values, so that many are equal; some NaN, some infinite. */
static void fill(float *x, size_t n, unsigned seed, bool numbers_only)
{
    srand(seed);
    for (size_t i = 0; i < n; i++) {
        int r = rand() % 64;
        x[i] = (float)(rand() % 200) / 8 - 20;
        if (!numbers_only && r < 2)
            x[i] = r == 0 ? NAN : -INFINITY;
    }
}

static void the_best_is_the_first_of_the_largest(void **state)
{
    float x[N_MAX];
    for (size_t s = 0; s < N_SIZES; s++)
        for (unsigned seed = 0; seed < 20; seed++) {
            int32_t best = -1;
            fill(x, sizes[s], seed, false);
            for (size_t i = 0; i < sizes[s]; i++)
                if (x[i] > (best < 0 ? -INFINITY : x[best]))
                    best = (int32_t)i;
            assert_int_equal(vd_scan_best(x, sizes[s]), best);
        }
    for (size_t i = 0; i < N_MAX; i++)
        x[i] = i % 2 == 0 ? NAN : -INFINITY;
    assert_int_equal(vd_scan_best(x, N_MAX), -1);
    assert_int_equal(vd_scan_best(x, 0), -1);
    x[1234] = INFINITY;
    assert_int_equal(vd_scan_best(x, N_MAX), 1234);
}

/* How many stand before i: the larger ones, and equal ones with lower indices. */
static size_t rank_of(const float *x, size_t n, size_t i)
{
    size_t rank = 0;
    for (size_t j = 0; j < n; j++)
        rank += x[j] > x[i] || (x[j] == x[i] && j < i);
    return rank;
}

static void the_top_are_the_largest_with_the_lowest_indices(void **state)
{
    static const size_t ks[] = {0, 1, 2, 7, 40, VD_SCAN_TOP_MAX};
    float x[N_MAX];
    int32_t top[VD_SCAN_TOP_MAX];
    for (size_t s = 0; s < N_SIZES; s++)
        for (size_t k = 0; k < sizeof(ks) / sizeof(*ks); k++) {
            size_t n = sizes[s], n_valid = 0;
            bool seen[N_MAX] = {false};
            fill(x, n, (unsigned)(s + k), false);
            for (size_t i = 0; i < n; i++)
                n_valid += x[i] > -INFINITY;
            size_t n_top = vd_scan_top(x, n, ks[k], top);
            assert_int_equal(n_top, ks[k] < n_valid ? ks[k] : n_valid);
            for (size_t i = 0; i < n_top; i++) {
                assert_false(seen[top[i]]);
                seen[top[i]] = true;
                assert_true(rank_of(x, n, (size_t)top[i]) < n_top);
            }
        }
}

static void those_above_a_floor_come_in_order(void **state)
{
    static const float floors[] = {-3e38f, -5, 0, 4.5f, 100};
    float x[N_MAX];
    int32_t index[N_MAX];
    for (size_t s = 0; s < N_SIZES; s++)
        for (size_t f = 0; f < sizeof(floors) / sizeof(*floors); f++) {
            size_t at = 0;
            fill(x, sizes[s], (unsigned)s, false);
            size_t n = vd_scan_from(x, sizes[s], floors[f], index);
            for (size_t i = 0; i < sizes[s]; i++)
                if (x[i] >= floors[f])
                    assert_int_equal(index[at++], i);
            assert_int_equal(at, n);
        }
}

static void weights_are_exponentials_of_distances(void **state)
{
    static const float temperatures[] = {1e-30f, 0.01f, 0.7f, 1, 2};
    float x[VD_SCAN_CHUNK], w[VD_SCAN_CHUNK];
    for (size_t s = 0; sizes[s] <= VD_SCAN_CHUNK; s++)
        for (size_t t = 0; t < sizeof(temperatures) / sizeof(*temperatures); t++) {
            size_t n = sizes[s];
            float T = temperatures[t];
            double sum = 0;
            fill(x, n, (unsigned)t, true);
            x[n / 2] = 7.25f;
            if (n > 2) {
                x[0] = NAN;
                x[1] = -INFINITY;
            }
            float got = vd_scan_weights(x, n, 7.25f, T, w);
            for (size_t i = 0; i < n; i++) {
                float d = (x[i] - 7.25f) / T;
                double want = isnan(x[i]) ? 0 : exp((double)d);
                sum += want;
                assert_true(fabs((double)w[i] - want) <= 1e-6 * want + 1e-37);
            }
            assert_true(fabs((double)got - sum) <= 1e-5 * sum);
        }
    for (int i = 0; i < 9000; i++) { /* all of the range */
        float one, d = -0.01f * (float)i;
        assert_true(fabs((double)vd_scan_weights(&d, 1, 0, 1, &one) - exp((double)d)) <=
                    1e-6 * exp((double)d) + 1e-37);
    }
    float both[] = {INFINITY, 3, NAN, INFINITY};
    assert_true(vd_scan_weights(both, 4, INFINITY, 1, w) == 2);
    assert_true(w[0] == 1 && w[1] == 0 && w[2] == 0 && w[3] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_is_the_first_of_the_largest),
        cmocka_unit_test(the_top_are_the_largest_with_the_lowest_indices),
        cmocka_unit_test(those_above_a_floor_come_in_order),
        cmocka_unit_test(weights_are_exponentials_of_distances),
    };
    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
