/* test_power.c - the curve, its fit, its intervals: on machines made up from known truths. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "energy/power/power.h"

static uint64_t seed;

static double uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / 9007199254740992.0;
}

/* Box and Muller 1958. */
static double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

static const vd_power_base base = {.full_w = 200, .idle_w = 40};

/* A machine as the prior says they are. */
static vd_power draw_machine(const vd_power_prior *prior)
{
    vd_power truth = {.base = base, .noise = prior->noise};
    for (int k = 0; k < VD_POWER_N; k++)
        truth.parameter[k] = prior->mean[k] + prior->sd[k] * normal();
    return truth;
}

static vd_power_point draw_point(const vd_power *truth, double noise)
{
    vd_power_point at = {.load = uniform(), .clock = 0.5 + 0.6 * uniform()};
    at.spread = at.load + (1 - at.load) * uniform();
    at.watts = vd_power_watts(truth, &at) * exp(noise * normal());
    return at;
}

static void power_rises_with_load_from_idle_to_full(void **state)
{
    vd_power_prior prior;
    vd_power power;
    vd_power_shipped(&prior);
    vd_power_guess(&base, &prior, &power);
    double full = base.full_w * exp(prior.mean[VD_POWER_FULL]);
    double idle = base.idle_w * exp(prior.mean[VD_POWER_IDLE]), before = 0;
    assert_true(fabs(vd_power_watts(&power, &(vd_power_point){0}) / idle - 1) < 0.01);
    idle = vd_power_watts(&power, &(vd_power_point){0});
    assert_true(fabs(vd_power_watts(&power, &(vd_power_point){.load = 1}) - full) < 1e-9);
    for (int i = 0; i <= 20; i++) {
        double watts = vd_power_watts(&power, &(vd_power_point){.load = i / 20.0});
        assert_true(watts > before);
        /* Concave: above the straight line. */
        assert_true(watts >= idle + (full - idle) * i / 20.0 - 1e-9);
        before = watts;
    }
    /* The same load costs more on few threads that work all the time than on all, but for a clock
     * that is lower there. */
    vd_power_point few = {.load = 0.3, .spread = 0.3}, all = {.load = 0.3, .spread = 1};
    assert_true(vd_power_watts(&power, &few) > vd_power_watts(&power, &all));
    vd_power_point slow = {.load = 0.3, .spread = 0.3, .clock = 0.5};
    assert_true(vd_power_watts(&power, &slow) < vd_power_watts(&power, &few));
    /* What lies outside is taken to the edge. */
    vd_power_point outside = {.load = 7, .spread = -3};
    assert_true(fabs(vd_power_watts(&power, &outside) - full) < 1e-9);
}

static void parts_of_the_uncertainty_make_up_the_whole(void **state)
{
    vd_power_prior prior;
    vd_power power;
    vd_power_shipped(&prior);
    vd_power_guess(&base, &prior, &power);
    for (int i = 0; i <= 10; i++) {
        vd_power_estimate e;
        vd_power_predict(&power, &(vd_power_point){.load = i / 10.0}, &e);
        assert_true(fabs(e.pct - hypot(e.common_pct, e.independent_pct)) < 1e-9);
        assert_true(e.pct > 15 && e.pct < 120);
        assert_true(e.independent_pct >= 100 * 1.64 * prior.noise);
    }
    /* A base that is less sure makes the common part larger, and only that. */
    vd_power_base vague = base;
    vague.sd = 0.5;
    vd_power unsure;
    vd_power_estimate sure_e, unsure_e;
    vd_power_guess(&vague, &prior, &unsure);
    vd_power_predict(&power, &(vd_power_point){.load = 1}, &sure_e);
    vd_power_predict(&unsure, &(vd_power_point){.load = 1}, &unsure_e);
    assert_true(unsure_e.common_pct > 2 * sure_e.common_pct);
    assert_true(fabs(unsure_e.independent_pct - sure_e.independent_pct) < 1);
}

static void a_fit_finds_the_truth_of_its_points(void **state)
{
    vd_power_prior prior;
    vd_power_shipped(&prior);
    seed = 11;
    for (int round = 0; round < 50; round++) {
        vd_power truth = draw_machine(&prior), fit;
        vd_power_point points[60];
        for (int i = 0; i < 60; i++)
            points[i] = draw_point(&truth, 0.01);
        points[0].load = points[0].spread = 0;
        points[0].watts = vd_power_watts(&truth, &points[0]);
        assert_int_equal(vd_power_fit(&base, &prior, 1, points, 60, &fit,
                                      NULL),
                         VD_OK);
        for (int i = 0; i < 20; i++) {
            vd_power_point at = draw_point(&truth, 0);
            assert_true(fabs(vd_power_watts(&fit, &at) / at.watts - 1) < 0.05);
        }
        /* Much surer than the guess it began with. */
        vd_power guess;
        vd_power_estimate before, after;
        vd_power_guess(&base, &prior, &guess);
        vd_power_predict(&guess, &(vd_power_point){.load = 1}, &before);
        vd_power_predict(&fit, &(vd_power_point){.load = 1}, &after);
        assert_true(after.pct < before.pct / 3);
    }
}

/* Measured is measured: a machine far from what the table says is followed, even one that no curve
 * of ours can be, whose power does not depend on its load. */
static void a_fit_follows_what_is_far_from_the_table(void **state)
{
    const vd_power_base vague = {.full_w = 200, .idle_w = 40, .sd = 3};
    vd_power_prior prior;
    vd_power_shipped(&prior);
    static const double scales[] = {0.02, 0.1, 0.5, 2, 10, 50};
    for (size_t s = 0; s < sizeof(scales) / sizeof(scales[0]); s++)
        for (int flat = 0; flat < 2; flat++) {
            double scale = scales[s];
            vd_power_point points[9];
            for (int i = 0; i < 9; i++) {
                double load = i / 8.0, rise = flat ? 1 : 0.3 + 0.7 * (1 - pow(1 - load, 2));
                points[i] = (vd_power_point){.load = load, .watts = 120 * scale * rise};
            }
            vd_power fit;
            assert_int_equal(vd_power_fit(&vague, &prior, 1, points, 9, &fit,
                                          NULL),
                             VD_OK);
            for (int i = 0; i < 9; i++)
                assert_true(fabs(log(vd_power_watts(&fit, &points[i]) / points[i].watts)) < 0.2);
        }
}

/* 90 % intervals hold 90 %: of machines drawn from the prior, guessed; and of machines with a few
 * points of theirs, fitted. */
static void intervals_hold_as_many_as_they_say(void **state)
{
    enum { MACHINES = 400, QUESTIONS = 10 };
    vd_power_prior prior;
    vd_power_shipped(&prior);
    prior.dof = 1000; /* its spreads are the truth here */
    seed = 5;
    int guessed = 0, fitted = 0;
    for (int round = 0; round < MACHINES; round++) {
        vd_power truth = draw_machine(&prior), guess, fit;
        vd_power_point points[12];
        for (int i = 0; i < 12; i++)
            points[i] = draw_point(&truth, prior.noise);
        vd_power_guess(&base, &prior, &guess);
        assert_int_equal(vd_power_fit(&base, &prior, 1, points, 12, &fit, NULL), VD_OK);
        for (int i = 0; i < QUESTIONS; i++) {
            vd_power_point at = draw_point(&truth, prior.noise);
            vd_power_estimate e;
            vd_power_predict(&guess, &at, &e);
            guessed += fabs(at.watts - e.watts) <= e.watts * e.pct / 100;
            vd_power_predict(&fit, &at, &e);
            fitted += fabs(at.watts - e.watts) <= e.watts * e.pct / 100;
        }
    }
    double n = MACHINES * QUESTIONS;
    assert_in_range((uint64_t)(1000 * guessed / n), 840, 950);
    assert_in_range((uint64_t)(1000 * fitted / n), 860, 940);
}

/* Of a ratio of two figures of one machine, only the independent parts are left. */
static void the_common_part_cancels_in_a_ratio(void **state)
{
    enum { MACHINES = 2000 };
    vd_power_prior prior;
    vd_power guess;
    vd_power_shipped(&prior);
    prior.dof = 1000;
    vd_power_guess(&base, &prior, &guess);
    seed = 3;
    int held = 0, held_alone = 0;
    for (int round = 0; round < MACHINES; round++) {
        vd_power truth = draw_machine(&prior);
        vd_power_point a = {.load = 0.2 + 0.8 * uniform()}, b = {.load = 0.2 + 0.8 * uniform()};
        double wa = vd_power_watts(&truth, &a) * exp(prior.noise * normal());
        double wb = vd_power_watts(&truth, &b) * exp(prior.noise * normal());
        vd_power_estimate ea, eb;
        vd_power_predict(&guess, &a, &ea);
        vd_power_predict(&guess, &b, &eb);
        double off = fabs(log(wa / wb * eb.watts / ea.watts));
        held += off <= hypot(ea.independent_pct, eb.independent_pct) / 100;
        held_alone += fabs(log(wa / ea.watts)) <= ea.independent_pct / 100;
    }
    assert_true(held >= 0.88 * MACHINES);
    assert_true(held_alone < 0.75 * MACHINES); /* it is not the whole of one figure's */
}

static void machines_move_the_prior_and_few_of_them_only_a_little(void **state)
{
    vd_power_prior literature, none, one, many;
    vd_power_literature(&literature);
    vd_power machines[64];
    seed = 9;
    for (int i = 0; i < 64; i++) {
        machines[i] = (vd_power){.noise = 0.05};
        for (int k = 0; k < VD_POWER_N; k++)
            machines[i].parameter[k] = literature.mean[k] + 1 + 0.01 * normal();
    }
    vd_power_learn(&literature, machines, 0, &none);
    vd_power_learn(&literature, machines, 1, &one);
    vd_power_learn(&literature, machines, 64, &many);
    for (int k = 0; k < VD_POWER_N; k++) {
        assert_true(none.mean[k] == literature.mean[k] && none.sd[k] > literature.sd[k]);
        assert_true(fabs(one.mean[k] - literature.mean[k] - 0.25) < 0.02);
        assert_true(fabs(many.mean[k] - literature.mean[k] - 1) < 0.06);
        assert_true(one.sd[k] > literature.sd[k]); /* it disagrees: less sure than before */
        assert_true(many.sd[k] < one.sd[k]);
    }
    assert_true(many.noise < one.noise && one.noise < literature.noise);
    assert_true(none.dof == literature.dof && many.dof == literature.dof + 64);
}

static void points_that_cannot_be_are_refused(void **state)
{
    static const vd_power_point bad[] = {
        {.load = -0.1, .watts = 5},
        {.load = 1.1, .watts = 5},
        {.load = NAN, .watts = 5},
        {.load = 0.5, .watts = 0},
        {.load = 0.5, .watts = -1},
        {.load = 0.5, .watts = INFINITY},
        {.load = 0.5, .watts = NAN},
        {.load = 0.5, .spread = 2, .watts = 5},
        {.load = 0.5, .clock = -1, .watts = 5},
        {.load = 0.5, .clock = 1e9, .watts = 5},
    };
    vd_power_prior prior;
    vd_power_shipped(&prior);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        vd_power_point points[] = {{.load = 1, .watts = 90}, bad[i]};
        vd_power fit = {.dof = 77};
        vd_err err = {0};
        assert_int_equal(vd_power_fit(&base, &prior, 1, points, 2, &fit, &err), VD_ERR_ARG);
        assert_non_null(strstr(err.message, "point 2"));
        assert_true(fit.dof == 77);
    }
    /* No point at all leaves the prior. */
    vd_power fit, guess;
    assert_int_equal(vd_power_fit(&base, &prior, 1, NULL, 0, &fit, NULL), VD_OK);
    vd_power_guess(&base, &prior, &guess);
    vd_power_estimate a, b;
    vd_power_predict(&fit, &(vd_power_point){.load = 0.5}, &a);
    vd_power_predict(&guess, &(vd_power_point){.load = 0.5}, &b);
    assert_true(fabs(a.watts - b.watts) < 1e-6 && fabs(a.pct - b.pct) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_rises_with_load_from_idle_to_full),
        cmocka_unit_test(parts_of_the_uncertainty_make_up_the_whole),
        cmocka_unit_test(a_fit_finds_the_truth_of_its_points),
        cmocka_unit_test(a_fit_follows_what_is_far_from_the_table),
        cmocka_unit_test(intervals_hold_as_many_as_they_say),
        cmocka_unit_test(the_common_part_cancels_in_a_ratio),
        cmocka_unit_test(machines_move_the_prior_and_few_of_them_only_a_little),
        cmocka_unit_test(points_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
