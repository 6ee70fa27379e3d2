/* test_account_threads.c - the account under many threads, as in a server: engines that step,
 * clients that join, a timer, and a scraper. For the thread sanitizer above all. */
#include "books.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"

enum { ENGINES = 3, REQUESTS = 300, SHARES = 6, IDS_EACH = 4096 };

typedef struct server {
    vd_meter *meter;
    vd_account *account;
    books books;
    atomic_bool over;
    atomic_uint n_bad;
    atomic_ulong said_uj, n_said;
} server;

typedef struct engine {
    server *server;
    uint32_t number;
    pthread_t thread;
} engine;

static void note(server *s, bool good)
{
    atomic_fetch_add(&s->n_bad, !good);
}

static void leave(server *s, uint64_t id)
{
    vd_energy e = {0};
    note(s, vd_account_leave(s->account, id, &e, NULL) == VD_OK);
    note(s, e.active_uj + e.idle_share_uj == e.total_uj);
    if (e.settled) {
        atomic_fetch_add(&s->said_uj, e.total_uj);
        atomic_fetch_add(&s->n_said, 1);
    }
}

/* Its requests come and go between steps; each is in about six steps. */
static void *run_engine(void *arg)
{
    const engine *e = arg;
    server *s = e->server;
    uint64_t first = 1 + e->number * IDS_EACH, next = first, oldest = first;
    volatile double work = 1;
    while (oldest < first + REQUESTS) {
        while (next < first + REQUESTS && next - oldest < SHARES)
            note(s, vd_account_join(s->account, next++, NULL) == VD_OK);
        vd_step_share share[SHARES];
        vd_step step = {.begin_ns = vd_now_ns(), .share = share, .model = e->number};
        for (uint64_t id = oldest; id < next; id++)
            share[step.n_share++] = (vd_step_share){id, id % 2 ? 7 : 0, 1, id % 100, 0};
        if (oldest % 5 != 0)
            vd_account_step_begin(s->account, &step);
        for (int i = 0; i < 20000; i++)
            work = work * 1.0000001;
        step.end_ns = vd_now_ns();
        vd_account_step(s->account, &step);
        leave(s, oldest++);
    }
    return NULL;
}

/* Clients whose requests never compute: cancelled in the queue. */
static void *run_client(void *arg)
{
    const engine *e = arg;
    uint64_t first = 1 + e->number * IDS_EACH;
    for (uint64_t id = first; id < first + REQUESTS; id++) {
        note(e->server, vd_account_join(e->server->account, id, NULL) == VD_OK);
        leave(e->server, id);
    }
    return NULL;
}

static void *run_timer(void *arg)
{
    server *s = arg;
    while (!atomic_load(&s->over)) {
        vd_account_tick(s->account);
        vd_account_flush(s->account);
        vd_account_totals t;
        vd_account_totals_get(s->account, &t);
        note(s, t.requests_uj + t.idle_uj + t.unattributed_uj == t.meter_uj);
        note(s, vd_account_cost(s->account, 1).fixed_ns > 0);
    }
    return NULL;
}

static void serve(uint64_t refresh_ns)
{
    static server s;
    engine e[ENGINES + 2];
    pthread_t timer;
    memset(&s, 0, sizeof(s));
    const vd_meter_options meter = {.sysfs = "/nonexistent", .spec = "model"};
    assert_int_equal(vd_meter_open(&meter, &s.meter, NULL), VD_OK);
    const vd_account_options options = {.observer = books_observer(&s.books),
                                        .refresh_ns = refresh_ns};
    assert_int_equal(vd_account_create(s.meter, &options, &s.account, NULL), VD_OK);
    assert_int_equal(pthread_create(&timer, NULL, run_timer, &s), 0);
    for (uint32_t i = 0; i < ENGINES + 2; i++) {
        e[i] = (engine){.server = &s, .number = i};
        assert_int_equal(
            pthread_create(&e[i].thread, NULL, i < ENGINES ? run_engine : run_client, &e[i]), 0);
    }
    for (uint32_t i = 0; i < ENGINES + 2; i++)
        assert_int_equal(pthread_join(e[i].thread, NULL), 0);
    atomic_store(&s.over, true);
    assert_int_equal(pthread_join(timer, NULL), 0);
    vd_account_free(s.account);
    vd_reading r;
    vd_meter_read(s.meter, &r);
    vd_meter_close(s.meter);
    assert_int_equal(atomic_load(&s.n_bad), 0);
    assert_int_equal(s.books.n_settled, (ENGINES + 2) * REQUESTS);
    assert_int_equal(atomic_load(&s.n_said), refresh_ns == 0 ? s.books.n_settled : 0);
    assert_true(refresh_ns != 0 || atomic_load(&s.said_uj) == s.books.requests_uj);
    assert_true(s.books.requests_uj + s.books.idle_uj + s.books.unattributed_uj ==
                s.books.meter_uj);
    /* The model's reading after the account's last one is of a moment later. */
    assert_true(r.uj[0] + r.uj[1] + r.uj[2] >= s.books.meter_uj && s.books.requests_uj > 0);
}

static void many_threads_share_one_account(void **state)
{
    serve(0);
}

static void also_with_a_slow_meter(void **state)
{
    serve(1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_share_one_account),
        cmocka_unit_test(also_with_a_slow_meter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
