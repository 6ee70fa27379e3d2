/* test_draw.c - draws against the distribution they are from, by chi-square, for every combination
 * of what shapes it; and that similar distributions give the same token, as guesses need it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample.h"
#include "sanitizer.h"

enum { V = 24, DRAWS = 20000, PARTS = 7, APART = SANITIZED ? 11 : 1 };

static float logits[V];
static uint16_t in_answer[V];
static uint8_t seen[V];
static const vd_logit_bias bias[] = {{3, 1.5f}, {7, -100}, {11, -0.7f}};

/* Part k of the ways is on where bit k of `mask` is. */
static vd_sampling way(unsigned mask)
{
    vd_sampling s = vd_sampling_default();
    s.seed = 1000 + mask;
    if (mask & 1)
        s.temperature = 0.6f;
    if (mask & 2)
        s.top_k = 12;
    if (mask & 4)
        s.typical_p = 0.85f;
    if (mask & 8)
        s.top_p = 0.8f;
    if (mask & 16)
        s.min_p = 0.08f;
    if (mask & 32) {
        s.repetition_penalty = 1.3f;
        s.frequency_penalty = 0.2f;
        s.presence_penalty = 0.4f;
    }
    if (mask & 64) {
        s.bias = bias;
        s.n_bias = 3;
    }
    return s;
}

/* ---- the distribution, by its definition, in double ------------------------------------------*/

typedef struct token {
    int id;
    double logit, p, key;
} token;

static int by_key(const void *a, const void *b)
{
    const token *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? 1 : -1;
    return x->id - y->id;
}

static void normalize(token *t, size_t n, double temperature)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, t[i].logit);
    for (size_t i = 0; i < n; i++)
        sum += t[i].p = exp((t[i].logit - max) / temperature);
    for (size_t i = 0; i < n; i++)
        t[i].p /= sum;
}

/* Keeps the first ones by key until their mass reaches `mass`. */
static size_t keep_mass(token *t, size_t n, double mass)
{
    double sum = 0;
    size_t kept = 0;
    qsort(t, n, sizeof(*t), by_key);
    while (kept < n && sum < mass)
        sum += t[kept++].p;
    return kept;
}

static void expected(const vd_sampling *s, double *p)
{
    token t[V];
    size_t n = 0, kept = 0;
    for (int i = 0; i < V; i++) {
        double x = (double)logits[i];
        if (s->repetition_penalty != 1 && seen[i])
            x = x > 0 ? x / (double)s->repetition_penalty : x * (double)s->repetition_penalty;
        if (in_answer[i] > 0)
            x -= in_answer[i] * (double)s->frequency_penalty + (double)s->presence_penalty;
        for (size_t k = 0; k < s->n_bias; k++)
            if (s->bias[k].token == i)
                x = s->bias[k].bias <= -100 ? -INFINITY : x + (double)s->bias[k].bias;
        if (x > -INFINITY)
            t[n++] = (token){.id = i, .logit = x};
    }
    for (size_t i = 0; i < n; i++)
        t[i].key = t[i].logit;
    qsort(t, n, sizeof(*t), by_key);
    if (s->top_k != 0 && s->top_k < n)
        n = s->top_k;
    if (s->typical_p < 1) {
        double entropy = 0;
        normalize(t, n, 1);
        for (size_t i = 0; i < n; i++)
            entropy -= t[i].p * log(t[i].p);
        for (size_t i = 0; i < n; i++)
            t[i].key = -fabs(-log(t[i].p) - entropy);
        n = keep_mass(t, n, (double)s->typical_p);
    }
    if (s->top_p < 1) {
        normalize(t, n, 1);
        for (size_t i = 0; i < n; i++)
            t[i].key = t[i].p;
        n = keep_mass(t, n, (double)s->top_p);
    }
    normalize(t, n, 1);
    double max = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, t[i].p);
    for (size_t i = 0; i < n; i++)
        if (t[i].p >= (double)s->min_p * max)
            t[kept++] = t[i];
    normalize(t, kept, (double)s->temperature);
    memset(p, 0, V * sizeof(*p));
    for (size_t i = 0; i < kept; i++)
        p[t[i].id] = t[i].p;
}

static int32_t draw(vd_sampler *sampler, const vd_sampling *s, const float *from, uint64_t index)
{
    static const vd_token_counts none;
    const vd_token_counts counts = {in_answer, seen};
    float copy[V];
    memcpy(copy, from, sizeof(copy));
    return vd_sampler_draw(sampler, s, s->repetition_penalty != 1 ? &counts : &none, index, copy);
}

/* Of 128 tests one in 10,000 would fail by chance once in 80 seeds; the seeds are fixed. */
static double chi_square_limit(int degrees)
{
    double z = 3.72, d = degrees, h = 2 / (9 * d), x = 1 - h + z * sqrt(h); /* Wilson-Hilferty */
    return d * x * x * x;
}

static void draws_have_the_distribution_for_every_combination(void **state)
{
    for (unsigned mask = 0; mask < 1u << PARTS; mask += APART) {
        vd_sampling s = way(mask);
        double p[V], chi = 0, rest = 0;
        int n[V] = {0}, degrees = -1, rest_n = 0;
        expected(&s, p);
        for (uint64_t i = 0; i < DRAWS; i++)
            n[draw(*state, &s, logits, i)]++;
        for (int i = 0; i < V; i++) {
            if (p[i] == 0 && n[i] > 0)
                fail_msg("ways %x: token %d was drawn and cannot be", mask, i);
            if (p[i] * DRAWS < 10) { /* too rare for the test alone */
                rest += p[i];
                rest_n += n[i];
                continue;
            }
            chi += pow(n[i] - p[i] * DRAWS, 2) / (p[i] * DRAWS);
            degrees++;
        }
        if (rest * DRAWS >= 10) {
            chi += pow(rest_n - rest * DRAWS, 2) / (rest * DRAWS);
            degrees++;
        }
        if (degrees > 0 && chi > chi_square_limit(degrees))
            fail_msg("ways %x: chi-square %g with %d degrees of freedom", mask, chi, degrees);
    }
}

/* What a guess x of p(x) is worth, and what two draws that follow each other have in common. */
static void draws_that_follow_each_other_are_independent(void **state)
{
    vd_sampling s = way(0);
    double p[V], same = 0;
    int n_same = 0;
    expected(&s, p);
    for (int i = 0; i < V; i++)
        same += p[i] * p[i];
    for (uint64_t i = 0; i < DRAWS; i++)
        n_same += draw(*state, &s, logits, i) == draw(*state, &s, logits, i + 1);
    assert_true(fabs(n_same - same * DRAWS) < 4 * sqrt(same * (1 - same) * DRAWS));
}

static void similar_distributions_give_the_same_token_as_often_as_promised(void **state)
{
    for (unsigned mask = 0; mask < 1u << PARTS; mask += APART) {
        vd_sampling s = way(mask);
        float other[V], ours[V];
        double p[V], q[V], distance = 0;
        memcpy(ours, logits, sizeof(ours));
        for (int i = 0; i < V; i++)
            other[i] = logits[i] + 0.4f * (float)sin(i * 1.7);
        expected(&s, p);
        memcpy(logits, other, sizeof(logits));
        expected(&s, q);
        memcpy(logits, ours, sizeof(logits));
        for (int i = 0; i < V; i++)
            distance += fabs(p[i] - q[i]) / 2;
        int n_same = 0;
        for (uint64_t i = 0; i < DRAWS; i++)
            n_same += draw(*state, &s, ours, i) == draw(*state, &s, other, i);
        double least = (1 - distance) / (1 + distance);
        if (n_same < least * DRAWS - 4 * sqrt(least * (1 - least) * DRAWS))
            fail_msg("ways %x: %g of the draws agree, %g are promised", mask,
                     (double)n_same / DRAWS, least);
    }
}

static int setup(void **state)
{
    vd_sampler *s = NULL;
    for (int i = 0; i < V; i++) {
        logits[i] = (float)(1.6 * sin(i * 2.3) + 0.07 * i);
        in_answer[i] = i % 5 == 0 ? (uint16_t)(i / 5) : 0;
        seen[i] = i % 3 == 0;
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_have_the_distribution_for_every_combination),
        cmocka_unit_test(draws_that_follow_each_other_are_independent),
        cmocka_unit_test(similar_distributions_give_the_same_token_as_often_as_promised),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
