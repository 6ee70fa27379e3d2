/* test_search.c - the parts of a search for types, and what a failed allocation leaves of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/json.h"
#include "compress/search/journal.h"
#include "compress/search/knapsack.h"
#include "compress/search/search.h"
#include "tiny_model.h"

/* ---- the knapsack -----------------------------------------------------------------------------*/

enum { ITEMS = 6, CHOICES = 5 };

static uint64_t state_of_draw = 7;

static uint32_t draw(uint32_t n)
{
    state_of_draw = state_of_draw * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_of_draw >> 33) % n;
}

/* All choices there are. */
static double try_all(const vd_item *item, size_t n, uint64_t budget)
{
    double best = INFINITY;
    size_t at[ITEMS] = {0};
    for (;;) {
        uint64_t bytes = 0;
        double cost = 0;
        for (size_t i = 0; i < n; i++) {
            bytes += item[i].choice[at[i]].bytes;
            cost += item[i].choice[at[i]].cost;
        }
        if (bytes <= budget && cost < best)
            best = cost;
        size_t i = 0;
        while (i < n && ++at[i] == item[i].n)
            at[i++] = 0;
        if (i == n)
            return best;
    }
}

static void the_knapsack_finds_the_least_cost(void **state)
{
    for (int round = 0; round < 200; round++) {
        vd_choice choice[ITEMS][CHOICES];
        vd_item item[ITEMS];
        uint64_t least = 0, most = 0;
        size_t picked[ITEMS];
        for (size_t i = 0; i < ITEMS; i++) {
            uint64_t low = UINT64_MAX, high = 0;
            uint32_t scale = i == 0 ? 4096 : 64; /* one item is most of it */
            item[i] = (vd_item){choice[i], 1 + draw(CHOICES)};
            for (size_t c = 0; c < item[i].n; c++) {
                choice[i][c] = (vd_choice){32 * (1 + (uint64_t)draw(scale)), draw(1000) / 64.0};
                low = VD_MIN(low, choice[i][c].bytes);
                high = VD_MAX(high, choice[i][c].bytes);
            }
            least += low;
            most += high;
        }
        uint64_t budget = least + draw((uint32_t)(most - least + 1));
        vd_pick pick = {.choice = picked};
        assert_int_equal(vd_knapsack_solve(item, ITEMS, budget, &pick, NULL), VD_OK);
        uint64_t bytes = 0;
        double cost = 0;
        for (size_t i = 0; i < ITEMS; i++) {
            assert_true(picked[i] < item[i].n);
            bytes += choice[i][picked[i]].bytes;
            cost += choice[i][picked[i]].cost;
        }
        assert_int_equal(bytes, pick.bytes);
        assert_true(bytes <= budget);
        assert_true(cost == pick.cost);
        assert_true(fabs(cost - try_all(item, ITEMS, budget)) < 1e-9);
        vd_err err = {0};
        assert_int_equal(vd_knapsack_solve(item, ITEMS, least - 1, &pick, &err), VD_ERR_LIMIT);
        assert_int_equal(pick.bytes, least);
    }
}

/* Sizes without a common measure, so that its table rounds: what it finds fits all the same, also
 * where the best that did is a byte too large, and is nearly always the best. */
static void a_rounded_knapsack_keeps_within_the_budget(void **state)
{
    enum { ROUNDS = 100 };
    int n_best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        vd_choice choice[ITEMS][CHOICES];
        vd_item item[ITEMS];
        size_t picked[ITEMS];
        vd_pick pick = {.choice = picked};
        uint64_t most = 0;
        for (size_t i = 0; i < ITEMS; i++) {
            item[i] = (vd_item){choice[i], CHOICES};
            for (size_t c = 0; c < CHOICES; c++) /* the larger, the better, more or less */
                choice[i][c] = (vd_choice){((uint64_t)c << 31) + draw(1 << 30),
                                           (double)(CHOICES - c) * 100 + draw(100)};
            most += choice[i][CHOICES - 1].bytes;
        }
        uint64_t budget = most / 2 + draw(1 << 30);
        assert_int_equal(vd_knapsack_solve(item, ITEMS, budget, &pick, NULL), VD_OK);
        assert_true(pick.bytes <= budget);
        budget = pick.bytes - 1;
        assert_int_equal(vd_knapsack_solve(item, ITEMS, budget, &pick, NULL), VD_OK);
        assert_true(pick.bytes <= budget);
        double best = try_all(item, ITEMS, budget);
        assert_true(pick.cost >= best - 1e-9 && pick.cost <= best * 1.05);
        n_best += pick.cost <= best + 1e-9;
    }
    assert_true(n_best >= ROUNDS * 19 / 20);
}

/* ---- goals ------------------------------------------------------------------------------------*/

static void goals_are_read_with_their_units(void **state)
{
    vd_target t = {0};
    assert_null(vd_target_parse("bytes=80M,bpw=4.5,tps=120,jpt=0.5,loss=1%", &t));
    assert_int_equal(t.bytes, 80000000);
    assert_true(t.bpw == 4.5 && t.tps == 120 && t.jpt == 0.5 && t.loss == 0.01);
    assert_null(vd_target_parse("bytes=1.5Gi", &t));
    assert_int_equal(t.bytes, 3ull << 29);
    assert_true(t.loss == 0);
    assert_null(vd_target_parse("loss=0.02", &t));
    assert_true(t.loss == 0.02);
    assert_non_null(vd_target_parse("loss=1%,", &t));
    assert_true(t.loss == 0.02); /* untouched */
}

/* ---- a whole search ---------------------------------------------------------------------------*/

static char directory[64], source[96], target[96], text[96], journal[128];

static int make_model(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/verdant-search-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(source, sizeof(source), "%s/m.gguf", directory);
    snprintf(target, sizeof(target), "%s/q.gguf", directory);
    snprintf(text, sizeof(text), "%s/calib.txt", directory);
    snprintf(journal, sizeof(journal), "%s.search", target);
    vd_json_init();
    tiny_write(source, 3, "llama");
    FILE *f = fopen(text, "w");
    if (f == NULL)
        return 1;
    for (int i = 0; i < 40; i++)
        fputc('a' + i * 7 % 26, f);
    return fclose(f);
}

static int remove_model(void **state)
{
    unlink(source);
    unlink(target);
    unlink(text);
    unlink(journal);
    return rmdir(directory);
}

static vd_search_options options_of(const char *goal)
{
    vd_search_options options = {.calib = {.path = text, .ctx = 16}, .n_measured = 1,
                                 .n_threads = 1};
    options.type[VD_DTYPE_Q8_0] = true;
    assert_null(vd_target_parse(goal, &options.target));
    return options;
}

/* Every k-th allocation, of the later ones some: that is where thousands of measurements are. One
 * that can be done without (PCRE2's machine code) fails without harm. */
static void fail_each(vd_search_options options, uint64_t each, uint64_t step)
{
    uint64_t before = vd_alloc_stats_get().n_live, n_failed = 0, n_calls = UINT64_MAX;
    for (uint64_t k = 1; k <= n_calls; k += k < each ? 1 : step) {
        vd_search_result result = {.n_values = 7};
        vd_err err = {0};
        unlink(journal);
        unlink(target);
        n_calls = vd_alloc_stats_get().n_calls;
        vd_alloc_fail_at(k);
        vd_status st = vd_search_run(source, target, &options, &result, &err);
        vd_alloc_fail_at(0);
        n_calls = st == VD_OK ? vd_alloc_stats_get().n_calls - n_calls : UINT64_MAX;
        if (st == VD_OK) {
            vd_search_result_done(&result);
        } else {
            assert_int_equal(st, VD_ERR_NOMEM);
            assert_true(err.message[0] != '\0');
            assert_int_equal(result.n_values, 7);
            assert_int_not_equal(access(target, F_OK), 0);
            n_failed++;
        }
        assert_int_equal(vd_alloc_stats_get().n_live, before);
    }
    assert_true(n_failed > each);
    assert_int_not_equal(access(journal, F_OK), 0);
    unlink(target);
}

static void any_failed_allocation_leaves_no_file_and_no_memory(void **state)
{
    enum { EACH = 150, STEP = 71, FEW = 3, SPARSE_STEP = 113 };
    fail_each(options_of("bpw=20"), EACH, STEP);
    vd_search_options sparse = options_of("bpw=7.5");
    sparse.sparse = true;
    fail_each(sparse, FEW, SPARSE_STEP);
}

static bool stop_at_fifth(void *ctx, uint64_t done, uint64_t total, vd_str note)
{
    size_t *n = ctx;
    assert_true(done <= total && note.n > 0);
    return ++*n < 5;
}

static void a_caller_may_stop_it_and_it_goes_on(void **state)
{
    size_t n = 0;
    vd_search_options options = options_of("bpw=20");
    vd_search_result result;
    options.progress = stop_at_fifth;
    options.ctx = &n;
    assert_int_equal(vd_search_run(source, target, &options, &result, NULL), VD_ERR_CANCELLED);
    assert_int_not_equal(access(target, F_OK), 0);
    options.progress = NULL;
    assert_int_equal(vd_search_run(source, target, &options, &result, NULL), VD_OK);
    assert_int_equal(result.n_resumed, 4); /* the first call came before any measurement */
    assert_true(result.chosen.kl >= 0);
    vd_search_result_done(&result);
    unlink(target);
}

static void a_journal_has_one_owner(void **state)
{
    vd_journal *first = NULL, *second = NULL;
    double number[VD_JOURNAL_NUMBERS] = {0.1, 1e-9, 3}, found[VD_JOURNAL_NUMBERS];
    assert_int_equal(vd_journal_open(journal, "a", &first, NULL), VD_OK);
    assert_int_equal(vd_journal_open(journal, "a", &second, NULL), VD_ERR_BUSY);
    assert_int_equal(vd_journal_add(first, "x \"y\"", number, NULL), VD_OK);
    vd_journal_free(first);
    assert_int_equal(vd_journal_open(journal, "a", &second, NULL), VD_OK);
    assert_int_equal(vd_journal_n(second), 1);
    assert_true(vd_journal_find(second, "x \"y\"", found));
    assert_memory_equal(found, number, sizeof(number));
    assert_false(vd_journal_find(second, "x", found));
    vd_journal_remove(second);
    vd_journal_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_knapsack_finds_the_least_cost),
        cmocka_unit_test(a_rounded_knapsack_keeps_within_the_budget),
        cmocka_unit_test(goals_are_read_with_their_units),
        cmocka_unit_test(any_failed_allocation_leaves_no_file_and_no_memory),
        cmocka_unit_test(a_caller_may_stop_it_and_it_goes_on),
        cmocka_unit_test(a_journal_has_one_owner),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
