/* test_step_fit.c - a step's energy over its batch: truths come back, shares are Shapley's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "step_fit.h"

enum { PLAYERS = 6 };

static double power_of(const vd_step_fit *truth, double batch)
{
    return truth->fixed + truth->per_token * batch + truth->concave * sqrt(batch);
}

static vd_step_fit fit_of(const vd_step_fit *truth, const double *batch, size_t n)
{
    vd_step_point points[16];
    for (size_t i = 0; i < n; i++)
        points[i] = (vd_step_point){batch[i], power_of(truth, batch[i]) / batch[i]};
    vd_step_fit fit;
    assert_int_equal(vd_step_fit_solve(points, n, &fit, NULL), VD_OK);
    return fit;
}

static void an_affine_step_is_found_exactly(void **state)
{
    static const double batch[] = {256, 8, 64, 16, 128, 32};
    vd_step_fit truth = {.fixed = 3.32, .per_token = 0.065};
    vd_step_fit fit = fit_of(&truth, batch, 6);
    assert_true(fabs(fit.fixed - truth.fixed) < 1e-9);
    assert_true(fabs(fit.per_token - truth.per_token) < 1e-9);
    assert_true(fit.concave < 1e-9);

    /* Two batch sizes are enough for two coefficients. */
    fit = fit_of(&truth, batch, 2);
    assert_true(fabs(vd_step_fit_energy(&fit, 64) / power_of(&truth, 64) - 1) < 1e-6);
}

static void a_concave_step_is_predicted_between_and_beside_its_points(void **state)
{
    static const double batch[] = {8, 16, 32, 128, 256};
    vd_step_fit truth = {.fixed = 2, .per_token = 0.05, .concave = 1.5};
    vd_step_fit fit = fit_of(&truth, batch, 5);
    assert_true(fit.concave > 0.5);
    assert_true(fabs(vd_step_fit_energy(&fit, 64) / power_of(&truth, 64) - 1) < 0.01);
    assert_true(fabs(vd_step_fit_energy(&fit, 512) / power_of(&truth, 512) - 1) < 0.1);
}

static void coefficients_stay_at_or_above_zero_and_scale_with_the_energy(void **state)
{
    uint64_t random = 1;
    for (int round = 0; round < 2000; round++) {
        vd_step_point points[8];
        size_t n = 2 + (size_t)round % 7;
        for (size_t i = 0; i < n; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            points[i].batch = (double)(1u << (i + (random >> 60) % 2));
            points[i].j_per_token = 0.01 + (double)(random >> 40) / 1e6;
        }
        if (points[0].batch == points[n - 1].batch)
            continue;
        vd_step_fit fit, scaled;
        assert_int_equal(vd_step_fit_solve(points, n, &fit, NULL), VD_OK);
        assert_true(fit.fixed >= 0 && fit.per_token >= 0 && fit.concave >= 0);
        assert_true(fit.fixed + fit.per_token + fit.concave > 0);
        for (size_t i = 0; i < n; i++)
            points[i].j_per_token *= 1000;
        assert_int_equal(vd_step_fit_solve(points, n, &scaled, NULL), VD_OK);
        double ratio = vd_step_fit_energy(&scaled, 10) / vd_step_fit_energy(&fit, 10);
        assert_true(fabs(ratio - 1000) < 1e-4);
    }
}

static void what_cannot_be_fitted_is_refused(void **state)
{
    vd_step_fit fit = {.fixed = 7};
    vd_err err = {0};
    vd_step_point points[] = {{8, 1}, {8, 1.1}, {8, 0.9}};
    assert_int_equal(vd_step_fit_solve(points, 3, &fit, &err), VD_ERR_ARG);
    assert_int_equal(vd_step_fit_solve(points, 0, &fit, &err), VD_ERR_ARG);
    static const double bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        vd_step_point batch[] = {{8, 1}, {bad[i], 1}}, energy[] = {{8, 1}, {16, bad[i]}};
        assert_int_equal(vd_step_fit_solve(batch, 2, &fit, &err), VD_ERR_ARG);
        assert_int_equal(vd_step_fit_solve(energy, 2, &fit, &err), VD_ERR_ARG);
    }
    assert_true(fit.fixed == 7); /* untouched */
}

/* The mean marginal cost of each player over all orders, from the definition: over all sets S
 * without i, |S|! (n - |S| - 1)! / n! times what i adds to S. */
static void shapley(const vd_step_fit *fit, const double weight[PLAYERS], double ret[PLAYERS])
{
    static const double factorial[] = {1, 1, 2, 6, 24, 120, 720};
    for (int i = 0; i < PLAYERS; i++) {
        ret[i] = 0;
        for (unsigned set = 0; set < 1u << PLAYERS; set++) {
            if (set >> i & 1)
                continue;
            double sum = 0;
            int size = 0;
            for (int k = 0; k < PLAYERS; k++)
                if (set >> k & 1) {
                    sum += weight[k];
                    size++;
                }
            double adds = vd_step_fit_energy(fit, sum + weight[i]) - vd_step_fit_energy(fit, sum);
            ret[i] += factorial[size] * factorial[PLAYERS - size - 1] / factorial[PLAYERS] * adds;
        }
    }
}

static void shares_sum_and_are_shapley_values(void **state)
{
    static const vd_step_fit fit = {.fixed = 3, .per_token = 0.2, .concave = 1},
                             linear = {.fixed = 3, .per_token = 0.2};
    static const double equal[PLAYERS] = {1, 1, 1, 1, 1, 1}, uneven[PLAYERS] = {1, 1, 1, 2, 4, 16};
    double share[PLAYERS], exact[PLAYERS], sum = 0;

    vd_step_fit_shares(&fit, equal, PLAYERS, share);
    shapley(&fit, equal, exact);
    for (int i = 0; i < PLAYERS; i++)
        assert_true(fabs(share[i] - exact[i]) < 1e-12);

    vd_step_fit_shares(&linear, uneven, PLAYERS, share);
    shapley(&linear, uneven, exact);
    for (int i = 0; i < PLAYERS; i++)
        assert_true(fabs(share[i] - exact[i]) < 1e-12);

    /* Uneven weights and a concave term: Aumann-Shapley, near the value and exact in sum. */
    vd_step_fit_shares(&fit, uneven, PLAYERS, share);
    shapley(&fit, uneven, exact);
    for (int i = 0; i < PLAYERS; i++) {
        assert_true(fabs(share[i] - exact[i]) < 0.1 * vd_step_fit_energy(&fit, 25));
        sum += share[i];
    }
    assert_true(fabs(sum - vd_step_fit_energy(&fit, 25)) < 1e-12);

    /* Who has no token pays nothing, not even of the fixed part. */
    static const double some[PLAYERS] = {1, 0, 0, 0, 0, 1};
    vd_step_fit_shares(&fit, some, PLAYERS, share);
    shapley(&fit, some, exact);
    for (int i = 0; i < PLAYERS; i++)
        assert_true(fabs(share[i] - exact[i]) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_affine_step_is_found_exactly),
        cmocka_unit_test(a_concave_step_is_predicted_between_and_beside_its_points),
        cmocka_unit_test(coefficients_stay_at_or_above_zero_and_scale_with_the_energy),
        cmocka_unit_test(what_cannot_be_fitted_is_refused),
        cmocka_unit_test(shares_sum_and_are_shapley_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
