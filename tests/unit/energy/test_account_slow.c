/* test_account_slow.c - attribution with a meter that is read seldom: who leaves gets an estimate
 * and, when the window closes, the exact bill. */
#include "books.h"

/* A meter of counters that move only every `refresh_ns`, as slow ones do. */
typedef struct slow {
    fake_tree tree;
    vd_meter *meter;
    vd_account *account;
    uint64_t package_uj, dram_uj, shown_ns, refresh_ns;
    books *books;
} slow;

static void slow_open(slow *s, uint64_t refresh_ns, size_t max_residents)
{
    memset(s, 0, sizeof(*s));
    s->refresh_ns = refresh_ns;
    s->books = calloc(1, sizeof(*s->books));
    s->books->g_per_kwh = 360;
    tree_make(&s->tree);
    zone_add(&s->tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&s->tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 0);
    s->shown_ns = s->tree.now_ns;
    s->meter = tree_meter(&s->tree);
    vd_account_options options = {.max_residents = max_residents,
                                  .refresh_ns = refresh_ns,
                                  .observer = books_observer(s->books)};
    assert_int_equal(vd_account_create(s->meter, &options, &s->account, NULL), VD_OK);
}

/* Ends with everything settled: the books and the meter agree to the microjoule. */
static void slow_close(slow *s)
{
    vd_account_free(s->account);
    vd_reading r;
    vd_meter_read(s->meter, &r);
    assert_true(r.uj[0] + r.uj[1] + r.uj[2] == s->books->meter_uj);
    assert_true(s->books->requests_uj + s->books->idle_uj + s->books->unattributed_uj ==
                s->books->meter_uj);
    vd_meter_close(s->meter);
    tree_remove(&s->tree);
    free(s->books);
}

/* `watts` in all, 2 of them in the memory. */
static void draw_power(slow *s, uint64_t ns, uint64_t watts)
{
    s->tree.now_ns += ns;
    s->package_uj += ns / 1000 * (watts - 2);
    s->dram_uj += ns / 1000 * 2;
    if (s->tree.now_ns - s->shown_ns >= s->refresh_ns) {
        s->shown_ns = s->tree.now_ns;
        zone_set(&s->tree, "intel-rapl:0", s->package_uj);
        zone_set(&s->tree, "intel-rapl:0:0", s->dram_uj);
    }
}

static void step(slow *s, const vd_step_share *share, size_t n, uint64_t ns, uint64_t watts)
{
    vd_step x = {.begin_ns = s->tree.now_ns, .share = share, .n_share = n};
    vd_account_step_begin(s->account, &x);
    draw_power(s, ns, watts);
    x.end_ns = s->tree.now_ns;
    vd_account_step(s->account, &x);
}

static void join(slow *s, uint64_t id)
{
    assert_int_equal(vd_account_join(s->account, id, NULL), VD_OK);
}

static vd_energy leave(slow *s, uint64_t id)
{
    vd_energy e = {0};
    assert_int_equal(vd_account_leave(s->account, id, &e, NULL), VD_OK);
    assert_true(e.prefill_uj + e.decode_uj == e.active_uj);
    assert_true(e.active_uj + e.idle_share_uj == e.total_uj);
    assert_true(e.cpu_uj + e.dram_uj + e.gpu_uj == e.total_uj);
    return e;
}

static void quiet_time(slow *s)
{
    for (int i = 0; i < 5; i++) {
        vd_account_tick(s->account);
        draw_power(s, SECOND, 10);
    }
    vd_account_tick(s->account);
}

static void leaving_gives_an_estimate_and_the_closed_window_the_exact_bill(void **state)
{
    slow s;
    slow_open(&s, SECOND / 10, 0);
    quiet_time(&s);
    join(&s, 1);
    for (int i = 0; i < 20; i++) /* a window of work, so that the power is known */
        step(&s, &(vd_step_share){1, 0, 1, 10}, 1, SECOND / 20, 30);
    assert_int_equal(books_check(s.books, s.account).n_departed, 0);
    for (int i = 0; i < 6; i++)
        step(&s, &(vd_step_share){1, 0, 1, 10}, 1, SECOND / 20, 30);
    vd_energy told = leave(&s, 1);
    assert_false(told.settled);
    vd_account_totals t = books_check(s.books, s.account);
    assert_int_equal(t.n_departed, 1);
    assert_int_equal(t.n_resident, 0);
    assert_int_equal(t.n_left, 0);
    assert_false(s.books->settled[1]);
    vd_energy again;
    assert_int_equal(vd_account_leave(s.account, 1, &again, NULL), VD_ERR_NOT_FOUND);
    assert_int_equal(vd_account_join(s.account, 1, NULL), VD_ERR_EXISTS);
    draw_power(&s, SECOND, 10);
    vd_account_tick(s.account);
    assert_true(s.books->settled[1]);
    const vd_energy *exact = &s.books->energy[1];
    /* 1.3 s at 30 W, of which 10 W are idle power: 39 J. After it left it pays nothing more. */
    assert_int_equal(exact->total_uj, 39000000);
    assert_int_equal(exact->idle_share_uj, 13000000);
    assert_true(llabs((int64_t)told.total_uj - 39000000) < 1000);
    assert_true(llabs((int64_t)told.idle_share_uj - 13000000) < 1000);
    assert_true(told.independent_pct > exact->independent_pct);
    assert_true(told.operational_ug == (double)told.total_uj * 360 / 3.6e6 ||
                llabs((int64_t)(told.operational_ug - 3900)) < 1);
    assert_int_equal(exact->machine_ns, told.machine_ns);
    assert_true(exact->operational_ug > 0 && exact->operational_ug == 39e6 * 360 / 3.6e6);
    assert_int_equal(books_check(s.books, s.account).n_departed, 0);
    slow_close(&s);
}

/* A request may have any number, those of the lines of `idle` and `unattributed` among them. */
static void every_number_is_a_requests(void **state)
{
    static const uint64_t ids[] = {0, UINT64_MAX, UINT64_MAX - 1};
    slow s;
    slow_open(&s, SECOND / 10, 0);
    s.books->any_id = true;
    quiet_time(&s);
    uint64_t before_uj = books_check(s.books, s.account).requests_uj;
    for (size_t i = 0; i < 3; i++)
        join(&s, ids[i]);
    for (int i = 0; i < 20; i++)
        step(&s, (vd_step_share[]){{0, 0, 1, 9}, {UINT64_MAX, 0, 1, 9}, {UINT64_MAX - 1, 0, 1, 9}},
             3, SECOND / 20, 30);
    for (size_t i = 0; i < 3; i++)
        leave(&s, ids[i]);
    draw_power(&s, SECOND, 10);
    vd_account_tick(s.account);
    vd_account_totals t;
    vd_account_totals_get(s.account, &t);
    assert_int_equal(t.n_left, 3);
    assert_int_equal(t.requests_uj - before_uj, 30000000);
    assert_true(t.requests_uj + t.idle_uj + t.unattributed_uj == t.meter_uj);
    slow_close(&s);
}

static void windows_last_a_second_and_ten_refreshes(void **state)
{
    for (uint64_t refresh = SECOND / 50; refresh <= SECOND / 2; refresh *= 5) {
        slow s;
        slow_open(&s, refresh, 0);
        for (uint64_t id = 1; id <= 200; id++) {
            join(&s, id);
            step(&s, &(vd_step_share){id, 5, 1, 30}, 1, SECOND / 20, 40);
            vd_account_tick(s.account);
            leave(&s, id);
        }
        uint64_t least = 10 * refresh > SECOND ? 10 * refresh : SECOND;
        assert_true(s.books->shortest_ns >= least * 9 / 10);
        assert_true(s.books->shortest_ns >= 10 * refresh);
        assert_true(s.books->n_windows >= 10 * SECOND / least / 2);
        vd_account_flush(s.account);
        assert_int_equal(s.books->n_settled, 200);
        slow_close(&s);
    }
}

/* Two at once, one leaves early: it pays for its time at half speed, the other for the rest. */
static void who_left_slows_nobodys_clock(void **state)
{
    slow s;
    slow_open(&s, SECOND / 10, 0);
    quiet_time(&s);
    join(&s, 1);
    join(&s, 2);
    draw_power(&s, SECOND / 2, 10);
    leave(&s, 1);
    draw_power(&s, SECOND / 2, 10);
    leave(&s, 2);
    draw_power(&s, SECOND, 10);
    vd_account_flush(s.account);
    assert_int_equal(s.books->energy[1].idle_share_uj, 2500000);
    assert_int_equal(s.books->energy[2].idle_share_uj, 7500000);
    assert_int_equal(s.books->energy[1].machine_ns, SECOND / 4);
    assert_int_equal(s.books->energy[2].machine_ns, SECOND * 3 / 4);
    assert_int_equal(s.books->energy[1].active_uj + s.books->energy[2].active_uj, 0);
    slow_close(&s);
}

/* Its step was under way when it was cancelled: its account is still open, so it pays. */
static void who_left_in_the_middle_of_its_step_pays_for_the_step(void **state)
{
    slow s;
    slow_open(&s, SECOND / 10, 0);
    quiet_time(&s);
    join(&s, 1);
    join(&s, 2);
    uint64_t before = s.books->unattributed_uj;
    const vd_step_share share[2] = {{1, 0, 1, 10}, {2, 0, 1, 10}};
    vd_step x = {.begin_ns = s.tree.now_ns, .share = share, .n_share = 2};
    vd_account_step_begin(s.account, &x);
    draw_power(&s, SECOND / 4, 30);
    leave(&s, 1);
    draw_power(&s, SECOND / 4, 30);
    x.end_ns = s.tree.now_ns;
    vd_account_step(s.account, &x);
    leave(&s, 2);
    vd_account_flush(s.account);
    assert_int_equal(s.books->energy[1].active_uj, 5000000);
    assert_int_equal(s.books->energy[2].active_uj, 5000000);
    assert_int_equal(s.books->unattributed_uj, before);
    slow_close(&s);
}

static void the_departed_count_and_a_full_account_closes_its_window_early(void **state)
{
    slow s;
    slow_open(&s, SECOND / 10, 3);
    quiet_time(&s);
    uint64_t windows = s.books->n_windows;
    for (uint64_t id = 1; id <= 3; id++)
        join(&s, id);
    leave(&s, 1);
    leave(&s, 2);
    assert_int_equal(s.books->n_windows, windows);
    join(&s, 4);
    assert_int_equal(s.books->n_windows, windows + 1);
    assert_int_equal(s.books->n_settled, 2);
    join(&s, 5);
    assert_int_equal(vd_account_join(s.account, 6, NULL), VD_ERR_LIMIT);
    leave(&s, 4);
    join(&s, 6);
    slow_close(&s);
}

static void freeing_settles_who_left(void **state)
{
    slow s;
    slow_open(&s, SECOND, 0);
    quiet_time(&s);
    join(&s, 1);
    step(&s, &(vd_step_share){1, 10, 0, 45}, 1, SECOND / 10, 30);
    vd_energy told = leave(&s, 1);
    assert_false(told.settled);
    books *b = s.books;
    vd_account_free(s.account);
    s.account = NULL;
    assert_true(b->settled[1]);
    assert_true(b->energy[1].settled);
    slow_close(&s);
}

static void a_gap_in_the_window_makes_the_late_bill_incomplete(void **state)
{
    slow s;
    slow_open(&s, SECOND / 10, 0);
    quiet_time(&s);
    join(&s, 1);
    step(&s, &(vd_step_share){1, 10, 0, 45}, 1, SECOND / 10, 30);
    assert_false(leave(&s, 1).incomplete);
    zone_delete(&s.tree, "intel-rapl:0");
    s.tree.now_ns += 2 * SECOND;
    vd_account_tick(s.account);
    assert_true(s.books->energy[1].incomplete);
    assert_int_equal(s.books->energy[1].total_uj, 0);
    assert_true(s.books->energy[1].uncertainty_pct == 100);
    assert_int_equal(s.books->n_gaps, 1);
    vd_account_free(s.account);
    vd_meter_close(s.meter);
    tree_remove(&s.tree);
    free(s.books);
}

/* A reading tells of a gap once: whoever reads must not forget it. */
static void a_gap_that_any_reading_saw_is_the_windows(void **state)
{
    enum { JOIN, STEP, TICK, LEAVE, WAYS };
    for (int way = 0; way < WAYS; way++) {
        slow s;
        slow_open(&s, SECOND / 10, 0);
        quiet_time(&s);
        join(&s, 1);
        step(&s, &(vd_step_share){1, 10, 0, 45}, 1, SECOND / 10, 30);
        s.package_uj = 1; /* a counter that starts anew */
        zone_set(&s.tree, "intel-rapl:0", s.package_uj);
        if (way == JOIN)
            join(&s, 2);
        else if (way == STEP)
            vd_account_step(s.account, &(vd_step){.begin_ns = s.tree.now_ns - 1000,
                                                  .end_ns = s.tree.now_ns,
                                                  .share = &(vd_step_share){1, 0, 1, 10},
                                                  .n_share = 1});
        else if (way == TICK)
            vd_account_tick(s.account);
        else
            leave(&s, 1);
        if (way != LEAVE)
            leave(&s, 1);
        assert_int_equal(s.books->n_gaps, 0);
        draw_power(&s, SECOND, 30);
        vd_account_flush(s.account);
        assert_int_equal(s.books->n_gaps, 1);
        assert_true(s.books->energy[1].incomplete && s.books->energy[1].total_uj == 0);
        slow_close(&s);
    }
}

/* Somebody is there in every other half second: the odd microjoule of a window's idle energy goes
 * to `idle` as often as to them. */
static void the_idle_line_gets_its_share_of_odd_microjoules(void **state)
{
    slow s;
    slow_open(&s, SECOND / 10, 0);
    quiet_time(&s);
    uint64_t idle = s.books->idle_uj, requests = s.books->requests_uj;
    for (uint64_t id = 1; id <= 40; id++) {
        draw_power(&s, SECOND / 2, 10);
        join(&s, id);
        draw_power(&s, SECOND / 2, 10);
        s.package_uj -= 1; /* 9,999,999 uJ in all: less than the idle power */
        zone_set(&s.tree, "intel-rapl:0", s.package_uj);
        leave(&s, id);
        vd_account_flush(s.account);
    }
    idle = s.books->idle_uj - idle;
    requests = s.books->requests_uj - requests;
    assert_int_equal(idle + requests, 40 * 9999999);
    assert_true(llabs((int64_t)(idle - requests)) <= 2);
    slow_close(&s);
}

/* A quiet window of a refresh or two shows nothing or twice what was drawn. */
static void a_window_shorter_than_ten_refreshes_teaches_no_idle_power(void **state)
{
    slow s;
    slow_open(&s, SECOND, 0);
    vd_account_flush(s.account); /* the first window is the loading of models */
    uint64_t windows = s.books->n_windows;
    for (int i = 0; i < 30; i++) {
        draw_power(&s, SECOND * 9 / 10, 10);
        vd_account_flush(s.account);
    }
    assert_int_equal(s.books->n_windows, windows + 30);
    assert_false(books_check(s.books, s.account).idle_measured);
    vd_account_measure_idle(s.account, SECOND / 2); /* ten seconds would be needed */
    assert_int_equal(s.books->n_windows, windows + 30);
    draw_power(&s, 10 * SECOND, 10);
    vd_account_tick(s.account);
    vd_account_totals t = books_check(s.books, s.account);
    assert_true(t.idle_measured);
    assert_true(t.idle_uw[VD_PART_CPU] >= 7200000 && t.idle_uw[VD_PART_CPU] <= 8800000);
    slow_close(&s);
}

/* 30 W all the time, and no idea yet what of it is idle: who was there for a tenth of the window
 * pays for about a tenth. */
static void before_the_idle_power_is_known_empty_time_pays_its_part(void **state)
{
    slow s;
    slow_open(&s, SECOND, 0);
    vd_account_flush(s.account);
    uint64_t before = s.books->unattributed_uj;
    draw_power(&s, SECOND * 9 / 2, 30);
    join(&s, 1);
    step(&s, &(vd_step_share){1, 10, 0, 45}, 1, SECOND, 30);
    assert_int_equal(s.books->n_settled, 0);
    vd_energy told = leave(&s, 1);
    draw_power(&s, SECOND * 9 / 2, 30);
    vd_account_flush(s.account);
    assert_int_equal(s.books->energy[1].total_uj, 30000000);
    assert_true(s.books->unattributed_uj > before);
    assert_true(told.total_uj > 15000000 && told.total_uj < 60000000);
    assert_true(told.independent_pct > 90);
    slow_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaving_gives_an_estimate_and_the_closed_window_the_exact_bill),
        cmocka_unit_test(every_number_is_a_requests),
        cmocka_unit_test(windows_last_a_second_and_ten_refreshes),
        cmocka_unit_test(who_left_slows_nobodys_clock),
        cmocka_unit_test(who_left_in_the_middle_of_its_step_pays_for_the_step),
        cmocka_unit_test(the_departed_count_and_a_full_account_closes_its_window_early),
        cmocka_unit_test(freeing_settles_who_left),
        cmocka_unit_test(a_gap_in_the_window_makes_the_late_bill_incomplete),
        cmocka_unit_test(a_gap_that_any_reading_saw_is_the_windows),
        cmocka_unit_test(the_idle_line_gets_its_share_of_odd_microjoules),
        cmocka_unit_test(a_window_shorter_than_ten_refreshes_teaches_no_idle_power),
        cmocka_unit_test(before_the_idle_power_is_known_empty_time_pays_its_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
