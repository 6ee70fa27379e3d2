/* test_sample.c - drawing tokens: each filter by its definition, determinism, bad rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/sample.h"

enum { V = 1000 };

static int setup(void **state)
{
    vd_sampler *s = NULL;
    if (vd_sampler_create(V, &s, NULL) != VD_OK)
        return -1;
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    vd_sampler_free(*state);
    return 0;
}

/* log of a geometric distribution over a shuffled vocabulary: token perm[i] has rank i. */
static void fill(float *logits, int *perm, double ratio)
{
    for (int i = 0; i < V; i++)
        perm[i] = (i * 379) % V;
    for (int i = 0; i < V; i++)
        logits[perm[i]] = (float)(i * log(ratio));
}

static int32_t draw(vd_sampler *s, const vd_sampling *how, const float *logits, uint64_t index)
{
    float copy[V];
    vd_token_counts none = {0};
    memcpy(copy, logits, sizeof(copy));
    return vd_sampler_draw(s, how, &none, index, copy);
}

/* Draws 20,000 times and returns the largest rank seen; ranks by perm. */
static int largest_rank(vd_sampler *s, const vd_sampling *how, const float *logits, const int *perm)
{
    int rank[V], worst = 0;
    for (int i = 0; i < V; i++)
        rank[perm[i]] = i;
    for (uint64_t i = 0; i < 20000; i++) {
        int32_t t = draw(s, how, logits, i);
        assert_in_range(t, 0, V - 1);
        worst = rank[t] > worst ? rank[t] : worst;
    }
    return worst;
}

static void greedy_takes_the_largest_logit(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    how.temperature = 0;
    fill(logits, perm, 0.9);
    assert_int_equal(draw(*state, &how, logits, 0), perm[0]);
}

static void top_k_keeps_exactly_k(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    fill(logits, perm, 0.99);
    how.top_k = 7;
    assert_int_equal(largest_rank(*state, &how, logits, perm), 6);
}

static void top_k_finds_the_best_in_any_order_and_among_equals(void **state)
{
    float logits[V];
    vd_top_token top[20];
    uint64_t x = 1;
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < V; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            logits[i] = (float)(x >> 40 & (round % 2 ? 0xffff : 3)); /* every other: many equal */
        }
        size_t n_top = 1 + (x >> 33) % 20;
        vd_sampler_logprob(*state, logits, 0, n_top, top);
        for (size_t i = 0; i < n_top; i++) {
            size_t n_better = 0; /* larger, or equal with a smaller number */
            for (int t = 0; t < V; t++)
                n_better += logits[t] > logits[top[i].token] ||
                            (logits[t] == logits[top[i].token] && t < top[i].token);
            assert_int_equal(n_better, i);
        }
    }
}

static void top_p_keeps_the_smallest_set_that_reaches_the_mass(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    fill(logits, perm, 0.5); /* masses 1/2, 1/4, 1/8, ...: 0.9 needs four tokens */
    how.top_p = 0.9f;
    assert_int_equal(largest_rank(*state, &how, logits, perm), 3);
    how.top_p = 0;
    assert_int_equal(largest_rank(*state, &how, logits, perm), 0);
}

static void top_p_is_exact_where_the_mass_is_spread_thin(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    fill(logits, perm, 0.9999); /* nearly uniform: 0.5 needs about half of all tokens */
    how.top_p = 0.5f;
    double sum = 0, total = (1 - pow(0.9999, V)) / (1 - 0.9999);
    int need = 0;
    while (sum < 0.5 * total)
        sum += pow(0.9999, need++);
    int worst = largest_rank(*state, &how, logits, perm);
    assert_true(worst <= need && worst >= need - 3);
}

static void min_p_drops_what_lies_below_a_share_of_the_best(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    fill(logits, perm, 0.5);
    how.min_p = 0.2f; /* 1, 1/2, 1/4 stay */
    assert_int_equal(largest_rank(*state, &how, logits, perm), 2);
}

static void typical_drops_what_is_too_likely_as_well(void **state)
{
    /* One token of probability 0.4 and 400 that share 0.6: the entropy is 4.27 nats, the one
     * surprises by 0.92 (3.35 away), each of the many by 6.50 (2.23 away). */
    float logits[V];
    vd_sampling how = vd_sampling_default();
    for (int i = 0; i < V; i++)
        logits[i] = i == 0 ? logf(0.4f) : i <= 400 ? logf(0.6f / 400) : -INFINITY;
    how.typical_p = 0.3f;
    for (uint64_t i = 0; i < 2000; i++)
        assert_true(draw(*state, &how, logits, i) != 0);
}

static void temperature_changes_the_odds_as_it_should(void **state)
{
    float logits[V];
    vd_sampling how = vd_sampling_default();
    for (int i = 0; i < V; i++)
        logits[i] = i < 2 ? (float)-i : -INFINITY;
    how.temperature = 0.5f; /* odds e^2 : 1 */
    int n = 0;
    for (uint64_t i = 0; i < 20000; i++)
        n += draw(*state, &how, logits, i) == 0;
    assert_true(fabs(n / 20000.0 - 1 / (1 + exp(-2))) < 0.01);
}

static void the_lowest_temperatures_are_greedy(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    fill(logits, perm, 0.9);
    for (int i = 0; i < V; i++)
        logits[i] += 30; /* several above 0 */
    const float temperatures[] = {1e-3f, 1e-37f, 1e-44f};
    for (size_t i = 0; i < 3; i++) {
        how.temperature = temperatures[i];
        for (uint64_t index = 0; index < 100; index++)
            assert_int_equal(draw(*state, &how, logits, index), perm[0]);
    }
}

static void the_same_seed_and_index_give_the_same_token(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling a = vd_sampling_default(), b = a;
    fill(logits, perm, 0.99);
    a.seed = 1;
    b.seed = 2;
    int n_same = 0;
    for (uint64_t i = 0; i < 500; i++) {
        assert_int_equal(draw(*state, &a, logits, i), draw(*state, &a, logits, i));
        n_same += draw(*state, &a, logits, i) == draw(*state, &b, logits, i);
    }
    assert_true(n_same < 50);
}

static void bias_bans_and_forces(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    fill(logits, perm, 0.5);
    vd_logit_bias bias[] = {{perm[0], -100}, {perm[5], 100}};
    how.bias = bias;
    how.n_bias = 1;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_not_equal(draw(*state, &how, logits, i), perm[0]);
    how.n_bias = 2;
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(draw(*state, &how, logits, i), perm[5]);
}

static void penalties_push_down_what_was_said(void **state)
{
    float logits[V] = {2.0f, 1.5f, -1.0f};
    uint16_t in_answer[V] = {2};
    uint8_t seen[V] = {1, 0, 1};
    vd_token_counts counts = {in_answer, seen};
    for (int i = 3; i < V; i++)
        logits[i] = -50;
    vd_sampling how = vd_sampling_default();
    how.temperature = 0;
    how.frequency_penalty = 0.2f;
    how.presence_penalty = 0.2f;
    assert_int_equal(vd_sampler_draw(*state, &how, &counts, 0, logits), 1);
    assert_true(fabsf(logits[0] - 1.4f) < 1e-6f);
    how = vd_sampling_default();
    how.repetition_penalty = 2;
    vd_sampler_draw(*state, &how, &counts, 0, logits);
    assert_true(fabsf(logits[0] - 0.7f) < 1e-6f && fabsf(logits[2] + 2) < 1e-6f);
}

static void logprobs_sum_to_one_and_the_best_come_first(void **state)
{
    float logits[V];
    int perm[V];
    vd_top_token top[20];
    fill(logits, perm, 0.5);
    float lp = vd_sampler_logprob(*state, logits, perm[3], 20, top);
    assert_true(fabsf(lp - logf(1.0f / 16)) < 1e-4f);
    for (int i = 0; i < 20; i++)
        assert_int_equal(top[i].token, perm[i]);
    assert_true(fabsf(top[0].logprob - logf(0.5f)) < 1e-4f);
}

static void rows_of_nan_and_infinity_are_survived(void **state)
{
    float logits[V];
    vd_top_token top[20];
    vd_sampling how = vd_sampling_default();
    for (int i = 0; i < V; i++)
        logits[i] = NAN;
    assert_int_equal(draw(*state, &how, logits, 0), -1);
    vd_sampler_logprob(*state, logits, 1, 20, top);
    logits[17] = 1;
    how.top_p = 0.9f;
    how.top_k = 5;
    how.typical_p = 0.9f;
    how.min_p = 0.1f;
    assert_int_equal(draw(*state, &how, logits, 0), 17);
}

static void values_out_of_range_are_named(void **state)
{
    vd_err err = {0};
    vd_sampling how = vd_sampling_default();
    how.temperature = NAN;
    assert_int_equal(vd_sampling_check(&how, V, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "temperature"));
    how = vd_sampling_default();
    how.top_p = 1.5f;
    assert_int_equal(vd_sampling_check(&how, V, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "top_p"));
    how = vd_sampling_default();
    vd_logit_bias bias = {V, 1};
    how.bias = &bias;
    how.n_bias = 1;
    assert_int_equal(vd_sampling_check(&how, V, &err), VD_ERR_ARG);
    assert_non_null(strstr(err.message, "logit_bias"));
}

static void drawing_allocates_nothing(void **state)
{
    float logits[V];
    int perm[V];
    vd_sampling how = vd_sampling_default();
    fill(logits, perm, 0.99);
    how.top_p = 0.9f;
    how.typical_p = 0.9f;
    uint64_t before = vd_alloc_stats_get().n_calls;
    draw(*state, &how, logits, 0);
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest_logit),
        cmocka_unit_test(top_k_keeps_exactly_k),
        cmocka_unit_test(top_k_finds_the_best_in_any_order_and_among_equals),
        cmocka_unit_test(top_p_keeps_the_smallest_set_that_reaches_the_mass),
        cmocka_unit_test(top_p_is_exact_where_the_mass_is_spread_thin),
        cmocka_unit_test(min_p_drops_what_lies_below_a_share_of_the_best),
        cmocka_unit_test(typical_drops_what_is_too_likely_as_well),
        cmocka_unit_test(temperature_changes_the_odds_as_it_should),
        cmocka_unit_test(the_lowest_temperatures_are_greedy),
        cmocka_unit_test(the_same_seed_and_index_give_the_same_token),
        cmocka_unit_test(bias_bans_and_forces),
        cmocka_unit_test(penalties_push_down_what_was_said),
        cmocka_unit_test(logprobs_sum_to_one_and_the_best_come_first),
        cmocka_unit_test(rows_of_nan_and_infinity_are_survived),
        cmocka_unit_test(values_out_of_range_are_named),
        cmocka_unit_test(drawing_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
