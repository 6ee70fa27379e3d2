/*
 * test_shapley.c - the closed form of a request's part of a step against the definition of
 * Shapley's value (1953), the mean marginal cost over all orders of arrival, by enumeration.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "energy/account/cost.h"

enum { PLAYERS_MAX = 7 };

static uint64_t seed = 20261128;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static double uniform(void)
{
    return (double)draw(UINT64_C(1) << 52) * 0x1p-52;
}

/* The cost of a step with only the requests of `set` (a bit each) in it. */
static double cost_of(const vd_step_cost *cost, const vd_step *step, unsigned set)
{
    double prefill = 0, decode = 0, kv = 0;
    for (size_t i = 0; i < step->n_share; i++)
        if (set >> i & 1) {
            prefill += step->share[i].n_prefill;
            decode += (double)step->share[i].n_decode + step->share[i].n_rejected;
            kv += (double)step->share[i].n_kv_read;
        }
    return set == 0 ? 0
                    : cost->fixed_ns + cost->prefill_ns * prefill + cost->decode_ns * decode +
                          cost->kv_read_ns * kv;
}

/* All orders, by recursion: `set` has arrived. Adds each one's marginal costs to value. */
static void arrive(const vd_step_cost *cost, const vd_step *step, unsigned set, long double *value,
                   unsigned long *n_orders)
{
    if (set == (1u << step->n_share) - 1)
        ++*n_orders;
    for (size_t i = 0; i < step->n_share; i++) {
        if (set >> i & 1)
            continue;
        unsigned long before = *n_orders;
        arrive(cost, step, set | 1u << i, value, n_orders);
        /* This arrival stands in so many orders as end below it. */
        long double marginal = (long double)cost_of(cost, step, set | 1u << i) -
                               (long double)cost_of(cost, step, set);
        value[i] += marginal * (long double)(*n_orders - before);
    }
}

static void random_step(vd_step_share *share, size_t n)
{
    for (size_t i = 0; i < n; i++)
        share[i] = (vd_step_share){.request_id = i + 1,
                                   .n_prefill = draw(2) ? (uint32_t)draw(2000) : 0,
                                   .n_decode = (uint32_t)draw(3),
                                   .n_kv_read = draw(2) ? draw(4000000) : draw(50),
                                   .n_rejected = draw(3) == 0 ? (uint32_t)draw(6) : 0};
}

static void the_closed_form_is_the_mean_over_all_orders(void **state)
{
    double worst = 0;
    for (int round = 0; round < 400; round++) {
        vd_step_share share[PLAYERS_MAX];
        size_t n = 1 + draw(PLAYERS_MAX);
        const vd_step_cost cost = {.fixed_ns = uniform() * 1e8,
                                   .prefill_ns = uniform() * 1e6,
                                   .decode_ns = uniform() * 5e6,
                                   .kv_read_ns = uniform() * 1e3};
        random_step(share, n);
        const vd_step step = {.share = share, .n_share = n};
        long double value[PLAYERS_MAX] = {0};
        unsigned long n_orders = 0, factorial = 1;
        arrive(&cost, &step, 0, value, &n_orders);
        for (size_t i = 2; i <= n; i++)
            factorial *= i;
        assert_true(n_orders == factorial);
        double whole = cost_of(&cost, &step, (1u << n) - 1), sum = 0;
        double expected = vd_cost_expected_ns(&cost, &step);
        assert_true(fabs(expected - whole) <= 1e-12 * whole);
        for (size_t i = 0; i < n; i++) {
            double prefill, decode;
            vd_cost_part(&cost, expected, &step, i, &prefill, &decode);
            double exact = (double)(value[i] / (long double)n_orders / (long double)whole);
            double miss = fabs((prefill + decode) / exact - 1);
            worst = miss > worst ? miss : worst;
            assert_true(prefill >= 0 && decode >= 0);
            sum += prefill + decode;
        }
        assert_true(fabs(sum - 1) < 1e-12);
    }
    assert_true(worst <= 1e-12);
}

static void phases_are_cut_by_what_each_kind_of_token_costs(void **state)
{
    const vd_step_cost cost = {
        .fixed_ns = 100, .prefill_ns = 3, .decode_ns = 5, .kv_read_ns = 0.5};
    const vd_step_share share[3] = {
        {.n_prefill = 10, .n_kv_read = 40},
        {.n_decode = 1, .n_rejected = 3, .n_kv_read = 20},
        {.n_prefill = 10, .n_decode = 2, .n_kv_read = 20},
    };
    const vd_step step = {.share = share, .n_share = 3};
    double whole = vd_cost_expected_ns(&cost, &step), prefill, decode;
    assert_true(fabs(whole - (100 + 60 + 30 + 40)) < 1e-9);
    vd_cost_part(&cost, whole, &step, 0, &prefill, &decode);
    assert_true(fabs(prefill * whole - (100 / 3.0 + 30 + 20)) < 1e-9 && decode == 0);
    vd_cost_part(&cost, whole, &step, 1, &prefill, &decode);
    assert_true(fabs(decode * whole - (100 / 3.0 + 20 + 10)) < 1e-9 && prefill == 0);
    vd_cost_part(&cost, whole, &step, 2, &prefill, &decode);
    assert_true(fabs((prefill + decode) * whole - (100 / 3.0 + 40 + 10)) < 1e-9);
    assert_true(fabs(prefill / decode - 3) < 1e-12);
}

/* Drafts that were not taken cost what taken ones cost, and it is their own request that pays. */
static void rejected_drafts_are_paid_by_whom_they_were_for(void **state)
{
    const vd_step_cost cost = {
        .fixed_ns = 100, .prefill_ns = 3, .decode_ns = 5, .kv_read_ns = 0.5};
    vd_step_share share[2] = {{.request_id = 1, .n_decode = 5, .n_kv_read = 10},
                              {.request_id = 2, .n_decode = 1, .n_kv_read = 10}};
    const vd_step step = {.share = share, .n_share = 2};
    double prefill, taken, rejected, other, others;
    double whole = vd_cost_expected_ns(&cost, &step);
    vd_cost_part(&cost, whole, &step, 0, &prefill, &taken);
    vd_cost_part(&cost, whole, &step, 1, &prefill, &other);
    share[0].n_decode = 2;
    share[0].n_rejected = 3;
    assert_true(vd_cost_expected_ns(&cost, &step) == whole);
    vd_cost_part(&cost, whole, &step, 0, &prefill, &rejected);
    vd_cost_part(&cost, whole, &step, 1, &prefill, &others);
    assert_true(taken == rejected && other == others && prefill == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_closed_form_is_the_mean_over_all_orders),
        cmocka_unit_test(phases_are_cut_by_what_each_kind_of_token_costs),
        cmocka_unit_test(rejected_drafts_are_paid_by_whom_they_were_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
