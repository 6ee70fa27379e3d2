/* test_account_laws.c - the laws of docs/energy.md under random schedules: more than ten thousand
 * steps of several engines, fast and slow meters, with and without faults. */
#include "schedule.h"

#include <math.h>

#include "base/alloc.h"

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* Laws 1, 2, 3 and 6, of a life that is over. */
static void check_life(const schedule *s)
{
    const books *b = s->books;
    uint64_t settled_uj = 0;
    for (uint64_t id = 1; id < s->next_id; id++) {
        uint64_t name = name_of(s, id), twin = s->twin_of[id];
        assert_true(b->settled[name]);
        assert_true(b->settled_uj[name] == b->shares_uj[name]);
        settled_uj += b->settled_uj[name];
        if (!s->stepped[id])
            assert_true(b->energy[name].active_uj == 0);
        if (twin != 0) {
            assert_true(distance(b->settled_uj[name], b->settled_uj[name_of(s, twin)]) <= 1);
            assert_true(distance(b->energy[name].active_uj,
                                 b->energy[name_of(s, twin)].active_uj) <= 2);
        }
        double grams = (double)b->settled_uj[name] * b->g_per_kwh / 3.6e6;
        assert_true(fabs(b->energy[name].operational_ug - grams) <= 1e-9 * grams);
    }
    assert_int_equal(b->n_settled, s->next_id - 1);
    assert_true(settled_uj == b->requests_uj);
    assert_true(settled_uj + b->idle_uj + b->unattributed_uj == b->meter_uj);
    vd_reading r;
    vd_meter_read(s->meter, &r);
    assert_true(b->meter_uj == r.uj[0] + r.uj[1] + r.uj[2]);
    for (size_t c = 0; c < VD_PART_N; c++)
        assert_true(b->part_uj[c] == r.uj[c]);
}

static void every_microjoule_is_booked_once_in_any_life(void **state)
{
    size_t n_steps = 0, n_overlaps = 0, n_inside = 0, n_faults = 0, n_gaps = 0, n_late = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        static schedule s;
        const schedule_options options = {
            .seed = seed,
            .refresh_ns = seed % 2 == 0 ? 0 : SECOND / 50 * (1 + seed % 13),
            .faults = seed % 3 == 0,
            .alone = seed % 5 == 0,
            .shuffled = true,
            .max_residents = seed % 4 == 0 ? LIVING_MAX : 0,
        };
        schedule_open(&s, &options);
        uint64_t n_calls = vd_alloc_stats_get().n_calls;
        schedule_run(&s, 200);
        assert_true(vd_alloc_stats_get().n_calls == n_calls); /* nothing took memory */
        check_life(&s);
        n_steps += s.n_steps;
        n_overlaps += s.n_overlaps;
        n_inside += s.n_cancelled_inside;
        n_faults += s.n_faults;
        n_gaps += s.books->n_gaps;
        n_late += s.next_id - 1 - s.n_said_settled;
        schedule_close(&s);
    }
    /* The lives were eventful enough. */
    assert_true(n_steps >= 10000);
    assert_true(n_overlaps > 1000 && n_inside > 100 && n_faults > 30 && n_gaps > 20);
    assert_true(n_late > 500);
}

/* Law 4: the same life with shares in another order and, for half of the seeds, other names. */
static void neither_order_nor_names_matter(void **state)
{
    for (uint64_t seed = 100; seed < 116; seed++) {
        static schedule plain, other;
        schedule_options options = {.seed = seed, .refresh_ns = seed % 4 < 2 ? 0 : SECOND / 10};
        schedule_open(&plain, &options);
        options.shuffled = true;
        options.renamed = seed % 2 == 0 ? 0 : 7919;
        schedule_open(&other, &options);
        schedule_run(&plain, 150);
        schedule_run(&other, 150);
        check_life(&plain);
        check_life(&other);
        assert_true(plain.next_id == other.next_id && plain.next_id > 20);
        assert_true(plain.books->meter_uj == other.books->meter_uj);
        for (uint64_t id = 1; id < plain.next_id; id++) {
            uint64_t a = plain.books->settled_uj[id];
            uint64_t b = other.books->settled_uj[name_of(&other, id)];
            /* Ties of fractions are broken by name, so names may move a unit to and fro. */
            assert_true(distance(a, b) <= (options.renamed == 0 ? 0 : 2));
            assert_true(options.renamed != 0 || plain.said_uj[id] == other.said_uj[id]);
        }
        schedule_close(&plain);
        schedule_close(&other);
    }
}

/* Law 5, once the idle power has been measured. */
static void doubling_the_meter_doubles_every_bill(void **state)
{
    for (uint64_t seed = 200; seed < 212; seed++) {
        static schedule once, twice;
        schedule_options options = {.seed = seed, .refresh_ns = seed % 2 == 0 ? 0 : SECOND / 10};
        schedule_open(&once, &options);
        options.factor = 2;
        schedule_open(&twice, &options);
        schedule_warm(&once);
        schedule_warm(&twice);
        schedule_run(&once, 150);
        schedule_run(&twice, 150);
        for (uint64_t id = 1; id < once.next_id; id++) {
            const vd_energy *a = &once.books->energy[id], *b = &twice.books->energy[id];
            assert_true(distance(2 * a->total_uj, b->total_uj) <= 4);
            assert_true(distance(2 * a->active_uj, b->active_uj) <= 6);
            assert_true(distance(2 * a->dram_uj, b->dram_uj) <= 6);
            assert_true(a->machine_ns == b->machine_ns);
        }
        schedule_close(&once);
        schedule_close(&twice);
    }
}

/* A slow meter gives other windows and the same laws; over a life the sums of bills stay near. */
static void slow_and_fast_meters_agree_on_the_whole(void **state)
{
    for (uint64_t seed = 300; seed < 306; seed++) {
        static schedule fast, slow;
        schedule_options options = {.seed = seed};
        schedule_open(&fast, &options);
        options.refresh_ns = SECOND / 10;
        schedule_open(&slow, &options);
        schedule_warm(&fast);
        schedule_warm(&slow);
        schedule_run(&fast, 300);
        schedule_run(&slow, 300);
        uint64_t most = fast.books->requests_uj > slow.books->requests_uj
                            ? fast.books->requests_uj : slow.books->requests_uj;
        assert_true(distance(fast.books->requests_uj, slow.books->requests_uj) < most / 5);
        schedule_close(&fast);
        schedule_close(&slow);
    }
}

/* ---- children and parents --------------------------------------------------------------------*/

static bool same_integers(const vd_energy *a, const vd_energy *b)
{
    return a->total_uj == b->total_uj && a->active_uj == b->active_uj &&
           a->idle_share_uj == b->idle_share_uj && a->prefill_uj == b->prefill_uj &&
           a->decode_uj == b->decode_uj && a->cpu_uj == b->cpu_uj && a->dram_uj == b->dram_uj &&
           a->gpu_uj == b->gpu_uj && a->machine_ns == b->machine_ns;
}

/* Answers of a request, inputs of an embedding, lines of a batch file, ranks: however they are
 * grouped and in whatever order, their sum is the parent, in every integer. */
static void children_sum_to_their_parents_exactly(void **state)
{
    static schedule s;
    schedule_open(&s, &(schedule_options){.seed = 77, .faults = true});
    schedule_run(&s, 600);
    const books *b = s.books;
    assert_true(s.next_id > 100);
    for (int round = 0; round < 300; round++) {
        uint64_t first = 1 + pick(&s, s.next_id - 2), n = 1 + pick(&s, 12), total = 0;
        vd_energy forth = {0}, back = {0}, groups[3] = {{0}}, grouped = {0};
        if (first + n > s.next_id)
            n = s.next_id - first;
        for (uint64_t i = 0; i < n; i++) {
            vd_energy_add(&forth, &b->energy[first + i]);
            vd_energy_add(&back, &b->energy[first + n - 1 - i]);
            vd_energy_add(&groups[pick(&s, 3)], &b->energy[first + i]);
            total += b->shares_uj[first + i];
        }
        for (int i = 0; i < 3; i++)
            if (groups[i].method != NULL)
                vd_energy_add(&grouped, &groups[i]);
        assert_true(forth.total_uj == total);
        assert_true(forth.prefill_uj + forth.decode_uj == forth.active_uj);
        assert_true(forth.active_uj + forth.idle_share_uj == forth.total_uj);
        assert_true(forth.cpu_uj + forth.dram_uj + forth.gpu_uj == forth.total_uj);
        assert_true(same_integers(&forth, &back) && same_integers(&forth, &grouped));
        assert_true(forth.settled && forth.incomplete == back.incomplete);
        assert_true(fabs(forth.uncertainty_pct - back.uncertainty_pct) < 1e-9);
        assert_true(fabs(forth.operational_ug - grouped.operational_ug) <=
                    1e-9 * forth.operational_ug);
    }
    schedule_close(&s);
}

static void independent_errors_of_children_average_out_and_common_ones_do_not(void **state)
{
    vd_energy sum = {0};
    const vd_energy one = {.total_uj = 1000, .active_uj = 1000, .decode_uj = 1000, .cpu_uj = 1000,
                           .method = "rapl", .common_pct = 3, .independent_pct = 4,
                           .uncertainty_pct = 5, .settled = true};
    for (int i = 0; i < 16; i++)
        vd_energy_add(&sum, &one);
    assert_true(sum.common_pct == 3 && fabs(sum.independent_pct - 1) < 1e-12);
    assert_true(fabs(sum.uncertainty_pct - sqrt(10)) < 1e-12);
    vd_energy late = one, torn = one;
    late.settled = false;
    vd_energy_add(&sum, &late);
    assert_false(sum.settled);
    assert_false(sum.incomplete);
    torn.incomplete = true;
    vd_energy_add(&sum, &torn);
    assert_true(sum.incomplete && sum.uncertainty_pct == 100);
    vd_energy_add(&sum, &one);
    assert_true(sum.incomplete && sum.uncertainty_pct == 100 && !sum.settled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_microjoule_is_booked_once_in_any_life),
        cmocka_unit_test(neither_order_nor_names_matter),
        cmocka_unit_test(doubling_the_meter_doubles_every_bill),
        cmocka_unit_test(slow_and_fast_meters_agree_on_the_whole),
        cmocka_unit_test(children_sum_to_their_parents_exactly),
        cmocka_unit_test(independent_errors_of_children_average_out_and_common_ones_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
