/* test_account_models.c - several models in one account: each learns its own cost, and steps at the
 * same time share the machine's time. */
#include "books.h"

#include <math.h>

/* A machine that draws what it is told, to the microjoule, and has been seen idle at 10 W. */
typedef struct plant {
    fake_tree tree;
    vd_meter *meter;
    vd_account *account;
    books *books;
    uint64_t package_uj, dram_uj;
} plant;

static void draw_power(plant *p, uint64_t ns, uint64_t watts)
{
    p->tree.now_ns += ns;
    p->package_uj += ns / 1000 * (watts - 2);
    p->dram_uj += ns / 1000 * 2;
    zone_set(&p->tree, "intel-rapl:0", p->package_uj);
    zone_set(&p->tree, "intel-rapl:0:0", p->dram_uj);
}

static void plant_open(plant *p)
{
    memset(p, 0, sizeof(*p));
    p->books = calloc(1, sizeof(*p->books));
    tree_make(&p->tree);
    zone_add(&p->tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&p->tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 0);
    p->meter = tree_meter(&p->tree);
    const vd_account_options options = {.observer = books_observer(p->books)};
    assert_int_equal(vd_account_create(p->meter, &options, &p->account, NULL), VD_OK);
    for (int i = 0; i < 5; i++) {
        vd_account_tick(p->account);
        draw_power(p, SECOND, 10);
    }
    vd_account_tick(p->account);
}

static void plant_close(plant *p)
{
    vd_account_free(p->account);
    vd_meter_close(p->meter);
    tree_remove(&p->tree);
    free(p->books);
}

static vd_energy leave(plant *p, uint64_t id)
{
    vd_energy e = {0};
    assert_int_equal(vd_account_leave(p->account, id, &e, NULL), VD_OK);
    return e;
}

static void join(plant *p, uint64_t id)
{
    assert_int_equal(vd_account_join(p->account, id, NULL), VD_OK);
}

static const vd_step_share one[] = {{1, 0, 1, 10}}, two[] = {{2, 0, 1, 10}};

static vd_step begin(plant *p, uint32_t model, const vd_step_share *share)
{
    vd_step s = {.begin_ns = p->tree.now_ns, .share = share, .n_share = share != NULL,
                 .model = model};
    vd_account_step_begin(p->account, &s);
    return s;
}

static void end(plant *p, vd_step s)
{
    s.end_ns = p->tree.now_ns;
    vd_account_step(p->account, &s);
}

static void every_model_learns_its_own_cost(void **state)
{
    plant p;
    plant_open(&p);
    join(&p, 1);
    uint64_t x = 9;
    for (int i = 0; i < 3000; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint32_t model = i % 2 == 0 ? 1 : 4, n = 1 + (uint32_t)(x >> 33) % 100;
        const vd_step_share share = {.request_id = 1, .n_prefill = n};
        vd_step s = begin(&p, model, &share);
        p.tree.now_ns += model == 1 ? 2000000 + 100000 * n : 30000000 + 900000 * n;
        end(&p, s);
    }
    vd_step_cost small = vd_account_cost(p.account, 1), large = vd_account_cost(p.account, 4);
    assert_true(fabs(small.fixed_ns / 2e6 - 1) < 0.05 && fabs(small.prefill_ns / 1e5 - 1) < 0.05);
    assert_true(fabs(large.fixed_ns / 3e7 - 1) < 0.05 && fabs(large.prefill_ns / 9e5 - 1) < 0.05);
    assert_int_equal(small.n_steps, 1500);
    assert_int_equal(vd_account_cost(p.account, 0).n_steps, 0);
    assert_true(small.miss_pct < 1 && large.miss_pct < 1);
    /* Numbers above the last share the last one's. */
    end(&p, begin(&p, VD_ACCOUNT_MODELS_MAX + 100, one));
    assert_int_equal(vd_account_cost(p.account, VD_ACCOUNT_MODELS_MAX - 1).n_steps, 1);
    plant_close(&p);
}

/* 30 W, 10 of them idle: 20 J of active energy in every second. */
static void steps_at_the_same_time_share_every_nanosecond(void **state)
{
    plant p;
    plant_open(&p);
    join(&p, 1);
    join(&p, 2);
    vd_step a = begin(&p, 0, one);
    draw_power(&p, SECOND * 2 / 10, 30); /* alone */
    vd_step b = begin(&p, 1, two);
    draw_power(&p, SECOND / 10, 30); /* both */
    end(&p, b);
    end(&p, a);
    vd_energy first = leave(&p, 1), second = leave(&p, 2);
    assert_int_equal(first.active_uj, 5000000);
    assert_int_equal(second.active_uj, 1000000);
    assert_int_equal(first.idle_share_uj, 1500000);
    plant_close(&p);
}

/* More models than the account tells apart share the last place: a step that begins beside another
 * of them ends neither, and weighs its whole length. */
static void models_beyond_the_table_do_not_end_each_others_steps(void **state)
{
    plant p;
    plant_open(&p);
    join(&p, 1);
    join(&p, 2);
    vd_step a = begin(&p, VD_ACCOUNT_MODELS_MAX + 3, one);
    draw_power(&p, SECOND / 10, 30);
    vd_step b = begin(&p, VD_ACCOUNT_MODELS_MAX + 7, two);
    draw_power(&p, SECOND / 10, 30);
    end(&p, b);
    draw_power(&p, SECOND / 10, 30);
    end(&p, a);
    vd_energy first = leave(&p, 1), second = leave(&p, 2);
    assert_int_equal(first.active_uj, 4500000); /* of 6 J: 0.3 s of 0.4 */
    assert_int_equal(second.active_uj, 1500000);
    plant_close(&p);
}

/* One engine answers many short requests, each of which closes a window, while a long step of the
 * other runs: it pays half in each of them, not all or nothing at its end. */
static void a_long_step_pays_in_every_window_that_closes_meanwhile(void **state)
{
    plant p;
    plant_open(&p);
    join(&p, 1);
    vd_step b = begin(&p, 1, one);
    for (uint64_t id = 10; id < 60; id++) {
        const vd_step_share share = {.request_id = id, .n_decode = 1, .n_kv_read = 5};
        join(&p, id);
        vd_step a = begin(&p, 0, &share);
        draw_power(&p, SECOND / 50, 30);
        end(&p, a);
        vd_energy e = leave(&p, id);
        assert_int_equal(e.active_uj, 200000);
    }
    end(&p, b);
    assert_int_equal(leave(&p, 1).active_uj, 10000000);
    vd_account_totals t = books_check(p.books, p.account);
    assert_int_equal(t.open_uj, 0);
    plant_close(&p);
}

static void a_step_whose_end_was_never_told_counts_up_to_the_next(void **state)
{
    plant p;
    plant_open(&p);
    join(&p, 1);
    join(&p, 2);
    begin(&p, 0, one);
    draw_power(&p, SECOND / 10, 30);
    vd_step s = begin(&p, 0, two);
    draw_power(&p, SECOND / 20, 30);
    vd_account_flush(p.account); /* in the middle of the second: the first is no part of it */
    draw_power(&p, SECOND / 20, 30);
    end(&p, s);
    assert_int_equal(leave(&p, 1).active_uj, 2000000);
    assert_int_equal(leave(&p, 2).active_uj, 2000000);
    plant_close(&p);
}

static void a_step_that_has_ended_is_no_part_of_the_next(void **state)
{
    plant p;
    plant_open(&p);
    join(&p, 1);
    join(&p, 2);
    vd_step s = begin(&p, 0, one);
    draw_power(&p, SECOND / 10, 30);
    end(&p, s);
    s = begin(&p, 0, two);
    draw_power(&p, SECOND / 10, 30);
    vd_account_flush(p.account); /* in the middle */
    draw_power(&p, SECOND / 10, 30);
    end(&p, s);
    assert_int_equal(leave(&p, 1).active_uj, 2000000);
    assert_int_equal(leave(&p, 2).active_uj, 4000000);
    plant_close(&p);
}

/* The rest of the step of somebody whose bill is out is nobody's; the other in it pays no more. */
static void what_a_gone_requests_step_still_does_is_unattributed(void **state)
{
    plant p;
    plant_open(&p);
    join(&p, 1);
    join(&p, 2);
    const vd_step_share both[] = {{1, 0, 1, 10}, {2, 0, 1, 10}};
    uint64_t before = p.books->unattributed_uj;
    vd_step s = {.begin_ns = p.tree.now_ns, .share = both, .n_share = 2};
    vd_account_step_begin(p.account, &s);
    draw_power(&p, SECOND / 10, 30);
    assert_int_equal(leave(&p, 1).active_uj, 1000000);
    draw_power(&p, SECOND / 10, 30);
    vd_account_flush(p.account); /* in the middle of it */
    draw_power(&p, SECOND / 10, 30);
    end(&p, s);
    assert_int_equal(leave(&p, 2).active_uj, 3000000);
    assert_int_equal(p.books->unattributed_uj - before, 2000000);
    plant_close(&p);
}

static void calibration_is_unattributed_and_teaches_no_idle_power(void **state)
{
    plant p;
    plant_open(&p);
    vd_account_totals before = books_check(p.books, p.account);
    assert_int_equal(before.idle_uw[VD_PART_CPU], 8000000);
    for (int i = 0; i < 40; i++) {
        const vd_step_share nobody = {.n_prefill = 16, .n_kv_read = 136};
        vd_step s = begin(&p, 0, &nobody);
        draw_power(&p, SECOND / 10, 110);
        end(&p, s);
    }
    vd_account_flush(p.account);
    vd_account_totals t = books_check(p.books, p.account);
    assert_int_equal(t.idle_uw[VD_PART_CPU], 8000000);
    assert_int_equal(t.unattributed_uj - before.unattributed_uj, 400000000);
    assert_int_equal(t.idle_uj - before.idle_uj, 40000000);
    assert_int_equal(t.requests_uj, 0);
    vd_step_cost cost = vd_account_cost(p.account, 0);
    assert_int_equal(cost.n_steps, 40);
    assert_true(fabs(cost.active_w - 100) < 1e-6);
    plant_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model_learns_its_own_cost),
        cmocka_unit_test(steps_at_the_same_time_share_every_nanosecond),
        cmocka_unit_test(models_beyond_the_table_do_not_end_each_others_steps),
        cmocka_unit_test(a_long_step_pays_in_every_window_that_closes_meanwhile),
        cmocka_unit_test(a_step_whose_end_was_never_told_counts_up_to_the_next),
        cmocka_unit_test(a_step_that_has_ended_is_no_part_of_the_next),
        cmocka_unit_test(what_a_gone_requests_step_still_does_is_unattributed),
        cmocka_unit_test(calibration_is_unattributed_and_teaches_no_idle_power),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
