/* test_account.c - the laws of attribution, on a fake machine under thousands of random schedules.
 */
#include "fake_tree.h"

#include <math.h>

#include "base/alloc.h"
#include "energy/account/account.h"

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

/* A meter of the modelled machine: time and CPU time move it, and both are ours. */
typedef struct bench {
    fake_tree tree;
    vd_meter *meter;
    vd_account *account;
} bench;

static void bench_open(bench *b)
{
    memset(b, 0, sizeof(*b));
    b->tree.now_ns = 5 * SECOND;
    vd_meter_options options = {
        .sysfs = "/nonexistent", .now_ns = tree_now, .cpu_ns = tree_cpu, .ctx = &b->tree};
    vd_err err = {0};
    assert_int_equal(vd_meter_open(&options, &b->meter, &err), VD_OK);
    assert_int_equal(vd_account_create(b->meter, NULL, &b->account, &err), VD_OK);
}

static void bench_close(bench *b)
{
    vd_account_free(b->account);
    vd_meter_close(b->meter);
}

static void pass(bench *b, uint64_t ns, uint64_t cpu_ns)
{
    b->tree.now_ns += ns;
    b->tree.cpu_ns += cpu_ns;
}

static void join(bench *b, uint64_t id)
{
    vd_err err = {0};
    assert_int_equal(vd_account_join(b->account, id, &err), VD_OK);
}

static vd_energy leave(bench *b, uint64_t id)
{
    vd_energy e = {0};
    vd_err err = {0};
    assert_int_equal(vd_account_leave(b->account, id, &e, &err), VD_OK);
    assert_true(e.prefill_uj + e.decode_uj == e.active_uj);
    assert_true(e.active_uj + e.idle_share_uj == e.total_uj);
    assert_true(e.cpu_uj + e.dram_uj + e.gpu_uj == e.total_uj);
    assert_true(e.settled);
    return e;
}

static vd_account_totals totals(bench *b)
{
    vd_account_totals t;
    vd_account_totals_get(b->account, &t);
    assert_true(t.requests_uj + t.idle_uj + t.unattributed_uj == t.meter_uj);
    assert_true(t.part_uj[0] + t.part_uj[1] + t.part_uj[2] == t.meter_uj);
    return t;
}

/* The meter's own figure, which the account's settled and open energy must equal. */
static uint64_t metered(vd_account_totals t)
{
    return t.meter_uj + t.open_uj;
}

static void step(bench *b, const vd_step_share *share, size_t n, uint64_t ns)
{
    uint64_t begin = b->tree.now_ns;
    pass(b, ns, ns * 2 / 3);
    vd_step s = {.begin_ns = begin, .end_ns = b->tree.now_ns, .share = share, .n_share = n};
    vd_account_step(b->account, &s);
}

static void one_request_alone_pays_for_everything_while_it_is_there(void **state)
{
    bench b;
    bench_open(&b);
    pass(&b, 3 * SECOND, 0);
    join(&b, 7);
    vd_account_totals before = totals(&b);
    assert_true(before.idle_uj > 0 && before.requests_uj == 0);
    step(&b, &(vd_step_share){7, 20, 0, 210}, 1, SECOND / 10);
    for (int i = 0; i < 10; i++)
        step(&b, &(vd_step_share){7, 0, 1, 20}, 1, SECOND / 50);
    vd_energy e = leave(&b, 7);
    vd_account_totals after = totals(&b);
    assert_true(e.total_uj == after.meter_uj - before.meter_uj);
    assert_int_equal(after.open_uj, 0);
    assert_true(e.prefill_uj > 0 && e.decode_uj > e.prefill_uj && e.idle_share_uj > 0);
    assert_true(e.dram_uj > 0 && e.gpu_uj == 0);
    assert_true(e.machine_ns <= SECOND * 3 / 10 && e.machine_ns >= SECOND * 3 / 10 - 2);
    assert_string_equal(e.method, "model");
    assert_true(e.uncertainty_pct > 20 && e.common_pct > 0 && e.independent_pct > 0);
    assert_false(e.incomplete);
    bench_close(&b);
}

static void equal_requests_pay_equal_shares(void **state)
{
    bench b;
    bench_open(&b);
    for (uint64_t id = 1; id <= 7; id++)
        join(&b, id);
    for (int i = 0; i < 3000; i++) {
        vd_step_share share[7];
        for (size_t k = 0; k < 7; k++)
            share[k] = (vd_step_share){k + 1, i == 0 ? 13 : 0, i > 0, (uint64_t)i};
        step(&b, share, 7, 1000000 + draw(7000000));
    }
    vd_account_tick(b.account); /* one settling for all; what follows is of no length */
    uint64_t low = UINT64_MAX, high = 0;
    for (uint64_t id = 1; id <= 7; id++) {
        uint64_t uj = leave(&b, id).total_uj;
        low = uj < low ? uj : low;
        high = uj > high ? uj : high;
    }
    assert_true(high - low <= 1);
    assert_true(low > 0);
    totals(&b);
    bench_close(&b);
}

/* Residents with a life of their own in a random schedule. */
typedef struct player {
    uint64_t id;
    uint32_t prompt_left, position;
    uint64_t total_uj;
} player;

enum { PLAYERS_MAX = 24 };

/* Joins, steps, leaves, cancels (also before the first step and between steps), strangers, ticks,
 * quiet times. Every law is checked after every event. Gives the sum of all bills. */
static uint64_t play(bench *b, int n_events)
{
    player p[PLAYERS_MAX];
    size_t n = 0;
    uint64_t next_id = 1, billed = 0, machine_ns = 0;
    for (int event = 0; event < n_events; event++) {
        uint64_t what = draw(100);
        if (what < 15 && n < PLAYERS_MAX) {
            p[n++] = (player){.id = next_id, .prompt_left = 1 + (uint32_t)draw(600)};
            join(b, next_id++);
        } else if (what < 25 && n > 0) {
            size_t k = draw(n);
            vd_energy e = leave(b, p[k].id);
            billed += e.total_uj;
            machine_ns += e.machine_ns;
            p[k] = p[--n];
        } else if (what < 90 && n > 0) {
            vd_step_share share[PLAYERS_MAX + 1];
            size_t n_share = 0;
            for (size_t k = 0; k < n; k++) {
                if (draw(4) == 0)
                    continue; /* waits in the queue */
                vd_step_share *s = &share[n_share++];
                uint32_t m = p[k].prompt_left < 128 ? p[k].prompt_left : 128;
                *s = (vd_step_share){p[k].id, m, m == 0, (uint64_t)p[k].position * (m ? m : 1)};
                p[k].prompt_left -= m;
                p[k].position += m ? m : 1;
            }
            if (draw(20) == 0)
                share[n_share++] = (vd_step_share){1000000 + draw(9), 3, 1, 5};
            step(b, share, n_share, draw(10) == 0 ? draw(2 * SECOND) : draw(SECOND / 20));
        } else if (what < 95) {
            vd_account_tick(b->account);
        } else {
            pass(b, draw(3 * SECOND), draw(SECOND));
        }
        if (draw(3) == 0)
            pass(b, draw(2000000), draw(1000000));
        vd_account_totals t = totals(b);
        uint64_t left = t.prefill_uj + t.decode_uj + t.idle_share_uj;
        assert_true(left == billed);
        assert_int_equal(t.n_resident, n);
    }
    while (n > 0) {
        vd_energy e = leave(b, p[--n].id);
        billed += e.total_uj;
        machine_ns += e.machine_ns;
    }
    vd_account_totals t = totals(b);
    assert_true(t.requests_uj == billed);
    assert_int_equal(t.open_uj, 0);
    assert_true(machine_ns <= b->tree.now_ns - 5 * SECOND);
    vd_reading r;
    vd_meter_read(b->meter, &r);
    uint64_t all = r.uj[0] + r.uj[1] + r.uj[2];
    assert_true(all >= metered(t));
    return billed;
}

static void the_sums_hold_after_every_event_of_random_schedules(void **state)
{
    for (uint64_t round = 1; round <= 400; round++) {
        seed = round * UINT64_C(0x9e3779b97f4a7c15);
        bench b;
        bench_open(&b);
        assert_true(play(&b, 150) > 0);
        bench_close(&b);
    }
}

static void the_meter_and_the_account_agree_to_the_microjoule(void **state)
{
    seed = 4711;
    bench b;
    bench_open(&b);
    play(&b, 3000);
    pass(&b, 2 * SECOND, 0);
    vd_account_tick(b.account);
    vd_account_totals t = totals(&b);
    vd_reading r;
    vd_meter_read(b.meter, &r);
    assert_true(metered(t) == r.uj[0] + r.uj[1] + r.uj[2]);
    bench_close(&b);
}

static void the_order_in_which_requests_stand_in_a_step_does_not_matter(void **state)
{
    uint64_t bill[2][9] = {{0}};
    for (int reversed = 0; reversed < 2; reversed++) {
        bench b;
        bench_open(&b);
        seed = 99;
        for (uint64_t i = 0; i < 8; i++)
            join(&b, reversed ? 8 - i : i + 1);
        for (int k = 0; k < 500; k++) {
            vd_step_share share[8], forward[8];
            for (uint64_t i = 0; i < 8; i++)
                forward[i] =
                    (vd_step_share){i + 1, (uint32_t)draw(9), (uint32_t)draw(2), draw(900)};
            for (size_t i = 0; i < 8; i++)
                share[i] = forward[reversed ? 7 - i : i];
            step(&b, share, 8, 1 + draw(SECOND / 30));
        }
        vd_account_tick(b.account);
        for (uint64_t i = 0; i < 8; i++) {
            uint64_t id = reversed ? 8 - i : i + 1;
            bill[reversed][id] = leave(&b, id).total_uj;
        }
        bench_close(&b);
    }
    assert_memory_equal(bill[0], bill[1], sizeof(bill[0]));
}

/* ---- with counters ----------------------------------------------------------------------------*/

typedef struct counters {
    fake_tree tree;
    vd_meter *meter;
    vd_account *account;
    uint64_t package_uj, dram_uj, factor;
} counters;

static void counters_open(counters *c, uint64_t factor)
{
    memset(c, 0, sizeof(*c));
    c->factor = factor;
    tree_make(&c->tree);
    zone_add(&c->tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&c->tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 0);
    c->meter = tree_meter(&c->tree);
    vd_err err = {0};
    assert_int_equal(vd_account_create(c->meter, NULL, &c->account, &err), VD_OK);
}

static void counters_close(counters *c)
{
    vd_account_free(c->account);
    vd_meter_close(c->meter);
    tree_remove(&c->tree);
}

/* A package that draws `watts` and memory that draws 3 W, for `ns`. */
static void draw_power(counters *c, uint64_t ns, uint64_t watts)
{
    c->tree.now_ns += ns;
    c->package_uj += c->factor * (ns / 1000 * watts);
    c->dram_uj += c->factor * (ns / 1000 * 3);
    zone_set(&c->tree, "intel-rapl:0", c->package_uj);
    zone_set(&c->tree, "intel-rapl:0:0", c->dram_uj);
}

static void counter_step(counters *c, const vd_step_share *share, size_t n, uint64_t ns,
                         uint64_t watts)
{
    uint64_t begin = c->tree.now_ns;
    draw_power(c, ns, watts);
    vd_step s = {.begin_ns = begin, .end_ns = c->tree.now_ns, .share = share, .n_share = n};
    vd_account_step(c->account, &s);
}

static vd_energy counter_leave(counters *c, uint64_t id)
{
    vd_energy e = {0};
    assert_int_equal(vd_account_leave(c->account, id, &e, NULL), VD_OK);
    return e;
}

static void quiet_time(counters *c)
{
    for (int i = 0; i < 5; i++) {
        vd_account_tick(c->account);
        draw_power(c, SECOND, 10);
    }
    vd_account_tick(c->account);
}

static void quiet_seconds_teach_the_idle_power(void **state)
{
    counters c;
    counters_open(&c, 1);
    vd_account_totals t;
    vd_account_totals_get(c.account, &t);
    assert_false(t.idle_measured);
    quiet_time(&c);
    vd_account_totals_get(c.account, &t);
    assert_true(t.idle_measured);
    assert_int_equal(t.idle_uw[VD_PART_CPU], 10000000);
    assert_int_equal(t.idle_uw[VD_PART_DRAM], 3000000);

    /* 30 W for a second: 10 + 3 of them idle power, shared by who is there. */
    assert_int_equal(vd_account_join(c.account, 1, NULL), VD_OK);
    counter_step(&c, &(vd_step_share){1, 10, 0, 45}, 1, SECOND / 2, 30);
    counter_step(&c, &(vd_step_share){1, 0, 1, 10}, 1, SECOND / 2, 30);
    vd_energy e = counter_leave(&c, 1);
    assert_int_equal(e.total_uj, 33000000);
    assert_int_equal(e.idle_share_uj, 13000000);
    assert_int_equal(e.active_uj, 20000000);
    assert_int_equal(e.cpu_uj, 30000000);
    assert_int_equal(e.dram_uj, 3000000);
    assert_string_equal(e.method, "rapl");
    assert_true(e.common_pct == 5 && e.uncertainty_pct >= 5 && e.uncertainty_pct < 5.1);
    counters_close(&c);
}

static void doubling_the_meter_doubles_every_share(void **state)
{
    vd_energy bill[2][6];
    for (uint64_t factor = 1; factor <= 2; factor++) {
        counters c;
        counters_open(&c, factor);
        quiet_time(&c);
        seed = 31;
        for (uint64_t id = 1; id <= 6; id++)
            assert_int_equal(vd_account_join(c.account, id, NULL), VD_OK);
        uint64_t windows_before, windows;
        vd_account_totals t;
        vd_account_totals_get(c.account, &t);
        windows_before = t.n_windows;
        for (int i = 0; i < 200; i++) {
            vd_step_share share[6];
            for (uint64_t k = 0; k < 6; k++)
                share[k] = (vd_step_share){k + 1, (uint32_t)draw(40), 1, draw(400)};
            counter_step(&c, share, 6, (1 + draw(40)) * 1000000, 20 + draw(30));
        }
        for (uint64_t id = 1; id <= 6; id++)
            bill[factor - 1][id - 1] = counter_leave(&c, id);
        vd_account_totals_get(c.account, &t);
        windows = t.n_windows - windows_before;
        assert_true(windows > 3);
        counters_close(&c);
    }
    for (size_t i = 0; i < 6; i++) {
        /* Whole microjoules: rounding moves a share by at most one either way. */
        int64_t miss = (int64_t)bill[1][i].total_uj - 2 * (int64_t)bill[0][i].total_uj;
        assert_true(llabs(miss) <= 3);
        miss = (int64_t)bill[1][i].active_uj - 2 * (int64_t)bill[0][i].active_uj;
        assert_true(llabs(miss) <= 4);
        miss = (int64_t)bill[1][i].dram_uj - 2 * (int64_t)bill[0][i].dram_uj;
        assert_true(llabs(miss) <= 4);
    }
}

static void a_meter_gap_is_unattributed_and_the_answer_says_so(void **state)
{
    counters c;
    counters_open(&c, 1);
    quiet_time(&c);
    assert_int_equal(vd_account_join(c.account, 1, NULL), VD_OK);
    counter_step(&c, &(vd_step_share){1, 10, 0, 45}, 1, SECOND / 2, 30);
    zone_delete(&c.tree, "intel-rapl:0:0");
    c.tree.now_ns += SECOND;
    vd_account_totals before, after;
    vd_account_totals_get(c.account, &before);
    vd_energy e = counter_leave(&c, 1);
    vd_account_totals_get(c.account, &after);
    assert_true(e.incomplete);
    assert_true(e.uncertainty_pct == 100);
    assert_int_equal(e.total_uj, 0);
    assert_int_equal(after.unattributed_uj - before.unattributed_uj, 16500000);
    assert_int_equal(after.n_gaps, before.n_gaps + 1);
    assert_true(after.requests_uj + after.idle_uj + after.unattributed_uj == after.meter_uj);
    counters_close(&c);
}

static void load_while_nobody_is_there_is_unattributed_above_the_idle_power(void **state)
{
    counters c;
    counters_open(&c, 1);
    quiet_time(&c);
    vd_account_totals before, after;
    vd_account_totals_get(c.account, &before);
    draw_power(&c, SECOND, 110); /* another program, for a second */
    vd_account_tick(c.account);
    vd_account_totals_get(c.account, &after);
    assert_int_equal(after.idle_uj - before.idle_uj, 13000000);
    assert_int_equal(after.unattributed_uj - before.unattributed_uj, 100000000);
    counters_close(&c);
}

static void a_request_cancelled_during_a_step_leaves_the_step_to_those_in_it(void **state)
{
    counters c;
    counters_open(&c, 1);
    quiet_time(&c);
    assert_int_equal(vd_account_join(c.account, 1, NULL), VD_OK);
    assert_int_equal(vd_account_join(c.account, 2, NULL), VD_OK); /* waits in the queue */
    uint64_t begin = c.tree.now_ns;
    draw_power(&c, SECOND / 2, 30);
    vd_account_totals before;
    vd_account_totals_get(c.account, &before);
    vd_energy two = counter_leave(&c, 2); /* in the middle of the step of request 1 */
    vd_account_totals t;
    vd_account_totals_get(c.account, &t);
    assert_int_equal(two.active_uj, 0);
    assert_int_equal(two.idle_share_uj, 3250000); /* half of 13 W for half a second */
    assert_int_equal(t.open_uj, 10000000);
    assert_int_equal(t.unattributed_uj, before.unattributed_uj);
    draw_power(&c, SECOND / 2, 30);
    vd_step s = {begin, c.tree.now_ns, &(vd_step_share){1, 100, 0, 5000}, 1};
    vd_account_step(c.account, &s);
    vd_energy one = counter_leave(&c, 1);
    assert_int_equal(one.active_uj, 20000000);
    assert_int_equal(one.total_uj + two.total_uj, 33000000);
    counters_close(&c);
}

static void a_step_that_two_cancellations_cut_stays_open_as_a_whole(void **state)
{
    counters c;
    counters_open(&c, 1);
    quiet_time(&c);
    vd_account_totals before, t;
    vd_account_totals_get(c.account, &before);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(vd_account_join(c.account, id, NULL), VD_OK);
    uint64_t begin = c.tree.now_ns;
    for (uint64_t id = 2; id <= 3; id++) {
        draw_power(&c, SECOND / 4, 30);
        assert_int_equal(counter_leave(&c, id).active_uj, 0);
        vd_account_totals_get(c.account, &t);
        assert_int_equal(t.open_uj, 5000000 * (id - 1));
        assert_int_equal(t.unattributed_uj, before.unattributed_uj);
    }
    draw_power(&c, SECOND / 2, 30);
    vd_step s = {begin, c.tree.now_ns, &(vd_step_share){1, 100, 0, 5000}, 1};
    vd_account_step(c.account, &s);
    assert_int_equal(counter_leave(&c, 1).active_uj, 20000000);
    counters_close(&c);
}

static void the_idle_power_is_measured_before_the_first_request(void **state)
{
    vd_meter *meter = NULL;
    vd_account *account = NULL;
    fake_tree tree;
    tree_make(&tree);
    zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    vd_meter_options options = {.sysfs = tree.root};
    assert_int_equal(vd_meter_open(&options, &meter, NULL), VD_OK);
    assert_int_equal(vd_account_create(meter, NULL, &account, NULL), VD_OK);
    vd_account_measure_idle(account, SECOND / 2);
    vd_account_totals t;
    vd_account_totals_get(account, &t);
    assert_true(t.idle_measured);
    assert_int_equal(t.idle_uw[VD_PART_CPU], 0); /* this counter stood still */
    vd_account_free(account);
    vd_meter_close(meter);
    tree_remove(&tree);
}

/* ---- the rule itself --------------------------------------------------------------------------*/

/* Shapley's value by its definition: the mean marginal cost over all orders of arrival. */
static void shapley(const double *marginal, double fixed, size_t n, double *value)
{
    size_t order[8], used, n_orders = 0;
    memset(value, 0, n * sizeof(*value));
    size_t total = 1;
    for (size_t i = 2; i <= n; i++)
        total *= i;
    for (size_t code = 0; code < total; code++) { /* the code-th permutation (Lehmer) */
        size_t rest = code, left[8], n_left = n;
        for (size_t i = 0; i < n; i++)
            left[i] = i;
        for (size_t i = 0; i < n; i++) {
            size_t pick = rest % n_left;
            rest /= n_left;
            order[i] = left[pick];
            memmove(&left[pick], &left[pick + 1], (n_left - pick - 1) * sizeof(left[0]));
            n_left--;
        }
        double cost = 0;
        used = 0;
        for (size_t i = 0; i < n; i++) {
            double with = used == 0 ? fixed : cost;
            with += marginal[order[i]];
            value[order[i]] += with - cost;
            cost = with;
            used++;
        }
        n_orders++;
    }
    for (size_t i = 0; i < n; i++)
        value[i] /= (double)n_orders;
}

static void active_shares_equal_shapleys_value_by_enumeration(void **state)
{
    seed = 5;
    for (int round = 0; round < 30; round++) {
        counters c;
        counters_open(&c, 1);
        quiet_time(&c);
        size_t n = 1 + draw(7);
        vd_step_share share[8];
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(vd_account_join(c.account, i + 1, NULL), VD_OK);
            share[i] = (vd_step_share){i + 1, (uint32_t)draw(300), (uint32_t)draw(2), draw(90000)};
        }
        counter_step(&c, share, n, 900000000, 50); /* 36 J above the idle power */
        vd_step_cost cost = vd_account_cost(c.account, 0);
        double marginal[8], value[8], whole = cost.fixed_ns;
        for (size_t i = 0; i < n; i++) {
            marginal[i] = cost.prefill_ns * share[i].n_prefill +
                          cost.decode_ns * share[i].n_decode +
                          cost.kv_read_ns * (double)share[i].n_kv_read;
            whole += marginal[i];
        }
        shapley(marginal, cost.fixed_ns, n, value);
        /* The last step taught the coefficients before it was weighed: these are the ones used. */
        for (size_t i = 0; i < n; i++) {
            double expected = 36e6 * value[i] / whole;
            assert_true(fabs((double)counter_leave(&c, i + 1).active_uj - expected) < 2);
        }
        counters_close(&c);
    }
}

static void a_request_that_computed_nothing_pays_no_marginal_part(void **state)
{
    bench b;
    bench_open(&b);
    join(&b, 1);
    join(&b, 2);
    for (int i = 0; i < 50; i++)
        step(&b, &(vd_step_share){1, 0, 1, 10}, 1, SECOND / 60);
    vd_energy two = leave(&b, 2);
    assert_int_equal(two.active_uj, 0);
    assert_true(two.idle_share_uj > 0);
    leave(&b, 1);
    bench_close(&b);
}

static void the_cost_of_a_step_is_learned_from_its_time(void **state)
{
    bench b;
    bench_open(&b);
    seed = 12;
    for (uint64_t id = 1; id <= 16; id++)
        join(&b, id);
    for (int i = 0; i < 4000; i++) {
        vd_step_share share[16];
        size_t n = 1 + draw(16);
        double ns = 9e6;
        for (size_t k = 0; k < n; k++) {
            uint32_t prefill = draw(6) == 0 ? 1 + (uint32_t)draw(128) : 0;
            share[k] = (vd_step_share){k + 1, prefill, prefill == 0, draw(3000)};
            ns += 3e5 * prefill + 4e5 * (prefill == 0) + 200 * (double)share[k].n_kv_read;
        }
        step(&b, share, n, (uint64_t)(ns * (0.97 + 0.06 * (double)draw(1000) / 1000)));
    }
    vd_step_cost cost = vd_account_cost(b.account, 0);
    assert_true(fabs(cost.fixed_ns / 9e6 - 1) < 0.1);
    assert_true(fabs(cost.prefill_ns / 3e5 - 1) < 0.05);
    assert_true(fabs(cost.decode_ns / 4e5 - 1) < 0.15);
    assert_true(fabs(cost.kv_read_ns / 200 - 1) < 0.15);
    for (uint64_t id = 1; id <= 16; id++)
        leave(&b, id);
    totals(&b);
    bench_close(&b);
}

/* ---- misuse and memory ------------------------------------------------------------------------*/

static void joining_twice_leaving_unknown_and_too_many_are_statuses(void **state)
{
    bench b;
    bench_open(&b);
    vd_account *small = NULL;
    vd_err err = {0};
    vd_energy e = {.total_uj = 77};
    join(&b, 1);
    assert_int_equal(vd_account_join(b.account, 1, &err), VD_ERR_EXISTS);
    assert_int_equal(vd_account_leave(b.account, 2, &e, &err), VD_ERR_NOT_FOUND);
    assert_int_equal(e.total_uj, 77);
    leave(&b, 1);
    assert_int_equal(vd_account_leave(b.account, 1, &e, &err), VD_ERR_NOT_FOUND);
    vd_account_free(b.account);
    b.account = NULL;

    vd_account_options options = {.max_residents = 3};
    assert_int_equal(vd_account_create(b.meter, &options, &small, &err), VD_OK);
    for (uint64_t id = 1; id <= 3; id++)
        assert_int_equal(vd_account_join(small, id, &err), VD_OK);
    assert_int_equal(vd_account_join(small, 4, &err), VD_ERR_LIMIT);
    assert_int_equal(vd_account_leave(small, 2, &e, &err), VD_OK);
    assert_int_equal(vd_account_join(small, 4, &err), VD_OK);
    vd_account_free(small);
    options.max_residents = SIZE_MAX;
    assert_int_equal(vd_account_create(b.meter, &options, &small, &err), VD_ERR_ARG);
    vd_account_free(NULL);
    bench_close(&b);
}

static void creating_fails_cleanly_at_every_allocation(void **state)
{
    bench b;
    bench_open(&b);
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        vd_account *account = NULL;
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = vd_account_create(b.meter, NULL, &account, &err);
        vd_alloc_fail_at(0);
        if (st == VD_OK) {
            assert_true(k > 3);
            vd_account_free(account);
            break;
        }
        assert_int_equal(st, VD_ERR_NOMEM);
        assert_null(account);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
    }
    bench_close(&b);
}

static void nothing_is_allocated_after_creation(void **state)
{
    bench b;
    bench_open(&b);
    seed = 8;
    uint64_t before = vd_alloc_stats_get().n_calls;
    play(&b, 2000);
    assert_int_equal(vd_alloc_stats_get().n_calls, before);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_request_alone_pays_for_everything_while_it_is_there),
        cmocka_unit_test(equal_requests_pay_equal_shares),
        cmocka_unit_test(the_sums_hold_after_every_event_of_random_schedules),
        cmocka_unit_test(the_meter_and_the_account_agree_to_the_microjoule),
        cmocka_unit_test(the_order_in_which_requests_stand_in_a_step_does_not_matter),
        cmocka_unit_test(quiet_seconds_teach_the_idle_power),
        cmocka_unit_test(doubling_the_meter_doubles_every_share),
        cmocka_unit_test(a_meter_gap_is_unattributed_and_the_answer_says_so),
        cmocka_unit_test(load_while_nobody_is_there_is_unattributed_above_the_idle_power),
        cmocka_unit_test(a_request_cancelled_during_a_step_leaves_the_step_to_those_in_it),
        cmocka_unit_test(a_step_that_two_cancellations_cut_stays_open_as_a_whole),
        cmocka_unit_test(the_idle_power_is_measured_before_the_first_request),
        cmocka_unit_test(active_shares_equal_shapleys_value_by_enumeration),
        cmocka_unit_test(a_request_that_computed_nothing_pays_no_marginal_part),
        cmocka_unit_test(the_cost_of_a_step_is_learned_from_its_time),
        cmocka_unit_test(joining_twice_leaving_unknown_and_too_many_are_statuses),
        cmocka_unit_test(creating_fails_cleanly_at_every_allocation),
        cmocka_unit_test(nothing_is_allocated_after_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
