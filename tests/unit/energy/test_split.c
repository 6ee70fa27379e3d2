/* test_split.c - whole units out of fractions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "energy/account/split.h"

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static void fill(vd_split_entry *entry, size_t *n, uint64_t amount, const uint64_t *weight,
                 size_t n_weight)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n_weight; i++)
        sum += weight[i];
    *n = 0;
    for (size_t i = 0; i < n_weight; i++) {
        vd_wide share = vd_split_share(amount, weight[i], sum);
        if (share != 0)
            entry[(*n)++] = (vd_split_entry){.id = i + 1, .share = share};
    }
}

static void nothing_is_lost_or_made_whatever_the_weights(void **state)
{
    for (int round = 0; round < 20000; round++) {
        uint64_t weight[40];
        vd_split_entry entry[40];
        size_t n_weight = 1 + draw(40), n;
        uint64_t amount = draw(UINT64_C(1) << (1 + draw(49))), sum = 0;
        for (size_t i = 0; i < n_weight; i++) {
            weight[i] = draw(3) == 0 ? 0 : draw(UINT64_C(1) << (1 + draw(50)));
            sum += weight[i];
        }
        if (sum == 0 || amount == 0)
            continue;
        fill(entry, &n, amount, weight, n_weight);
        vd_split(amount, entry, n);
        uint64_t got = 0;
        for (size_t i = 0; i < n; i++) {
            got += entry[i].got;
            double exact = (double)amount * ((double)weight[entry[i].id - 1] / (double)sum);
            double miss = (double)entry[i].got - exact;
            assert_true(miss < 1 + exact * 1e-12 && miss > -1 - exact * 1e-12);
        }
        assert_true(got == amount);
    }
}

/* A meter that jumps by more than any machine draws, steps as long as a clock that was wrong. */
static void numbers_of_any_size_are_handed_out_whole(void **state)
{
    for (int round = 0; round < 5000; round++) {
        uint64_t weight[8];
        vd_split_entry entry[8];
        size_t n, n_weight = 1 + draw(8);
        uint64_t amount = draw(2) == 0 ? UINT64_MAX - draw(1000) : UINT64_MAX / (1 + draw(1000));
        for (size_t i = 0; i < n_weight; i++)
            weight[i] = draw(4) == 0 ? 1 : UINT64_MAX / 8 - draw(1000);
        fill(entry, &n, amount, weight, n_weight);
        vd_split(amount, entry, n);
        uint64_t left = amount;
        for (size_t i = 0; i < n; i++) {
            assert_true(entry[i].got <= left);
            left -= entry[i].got;
        }
        assert_true(left == 0);
    }
    assert_true(vd_split_share(UINT64_MAX, UINT64_MAX, UINT64_MAX) ==
                (vd_wide)UINT64_MAX << VD_SPLIT_BITS);
}

static void the_order_of_payers_does_not_matter(void **state)
{
    for (int round = 0; round < 2000; round++) {
        uint64_t weight[12], by_id[2][13] = {{0}};
        vd_split_entry entry[12];
        size_t n;
        for (size_t i = 0; i < 12; i++)
            weight[i] = 1 + draw(5); /* many ties */
        uint64_t amount = 1 + draw(1000);
        for (int pass = 0; pass < 2; pass++) {
            fill(entry, &n, amount, weight, 12);
            for (size_t i = n; pass == 1 && i > 1; i--) {
                size_t k = draw(i);
                vd_split_entry t = entry[i - 1];
                entry[i - 1] = entry[k];
                entry[k] = t;
            }
            vd_split(amount, entry, n);
            for (size_t i = 0; i < n; i++)
                by_id[pass][entry[i].id] = entry[i].got;
        }
        assert_memory_equal(by_id[0], by_id[1], sizeof(by_id[0]));
    }
}

static void equal_payers_never_drift_apart(void **state)
{
    int64_t carry[4] = {0};
    uint64_t total[4] = {0};
    const uint64_t weight[4] = {7, 7, 3, 7};
    for (int round = 0; round < 5000; round++) {
        vd_split_entry entry[4];
        size_t n;
        uint64_t amount = 1 + draw(50);
        fill(entry, &n, amount, weight, 4);
        for (size_t i = 0; i < n; i++)
            entry[i].carry = carry[entry[i].id - 1];
        vd_split(amount, entry, n);
        for (size_t i = 0; i < n; i++) {
            total[entry[i].id - 1] += entry[i].got;
            carry[entry[i].id - 1] = entry[i].carry;
        }
        uint64_t low = total[0] < total[1] ? total[0] : total[1];
        uint64_t high = total[0] > total[1] ? total[0] : total[1];
        low = total[3] < low ? total[3] : low;
        high = total[3] > high ? total[3] : high;
        assert_true(high - low <= 1);
    }
}

static void small_splits_sum_exactly_also_beyond_what_doubles_hold(void **state)
{
    for (int round = 0; round < 20000; round++) {
        double weight[3];
        uint64_t part[3];
        for (size_t i = 0; i < 3; i++)
            weight[i] = draw(4) == 0 ? 0 : (double)draw(UINT64_C(1) << 60) / 1e6;
        uint64_t amount = draw(UINT64_MAX >> draw(63));
        vd_split_small(amount, weight, part, 3);
        assert_true(part[0] + part[1] + part[2] == amount);
        for (size_t i = 0; i < 3; i++)
            if (weight[i] == 0 && weight[0] + weight[1] + weight[2] > 0)
                assert_true(part[i] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_made_whatever_the_weights),
        cmocka_unit_test(numbers_of_any_size_are_handed_out_whole),
        cmocka_unit_test(the_order_of_payers_does_not_matter),
        cmocka_unit_test(equal_payers_never_drift_apart),
        cmocka_unit_test(small_splits_sum_exactly_also_beyond_what_doubles_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
