/* test_feed.c - the grid feed: it answers from memory at once, keeps the last known value and says
 * what it was. Its source is a file that the test rewrites. */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "carbon/calendar.h"
#include "carbon/feed.h"

#define MS 1000000ull

static char path[64];

static int64_t now_s(void)
{
    return (int64_t)(vd_wall_ns() / 1000000000u);
}

static const vd_zone *german(void)
{
    const vd_zone *zone = NULL;
    assert_int_equal(vd_zone_find("DE", &zone, NULL), VD_OK);
    return zone;
}

/* Hours from `first` hours before now on, each with 100 g more. NULL text: a broken file. */
static void write_hours(int first, int n, const char *broken)
{
    char temporary[80], at[VD_TIME_TEXT];
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "w");
    assert_non_null(file);
    fprintf(file, "time,intensity_g_per_kwh\n%s", broken);
    for (int i = 0; i < n; i++) {
        vd_time_text(now_s() / 3600 * 3600 + (int64_t)(i - first) * 3600, at);
        fprintf(file, "%s,%d\n", at, 100 * (i + 1));
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(temporary, path), 0);
}

typedef struct told {
    atomic_int n_bad, n_good;
} told;

static void on_change(void *ctx, const vd_feed_state *state)
{
    told *t = ctx;
    atomic_fetch_add(state->failing ? &t->n_bad : &t->n_good, 1);
}

static vd_feed *open_feed(told *t)
{
    vd_feed_options o = {.zone = german(), .period_s = 1, .backoff_ms = 20, .ctx = t,
                         .on_change = t != NULL ? on_change : NULL};
    const vd_provider_options p = {.name = "csv", .zone = "here", .file = path};
    vd_feed *feed = NULL;
    assert_int_equal(vd_provider_open(&p, &o.provider, NULL), VD_OK);
    assert_int_equal(vd_feed_open(&o, &feed, NULL), VD_OK);
    return feed;
}

/* The feed's thread has no other way to say that it is done. */
static vd_feed_state wait_asked(vd_feed *feed, uint64_t n)
{
    vd_feed_state state;
    uint64_t end_ns = vd_now_ns() + 20000 * MS;
    do {
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
        vd_feed_state_get(feed, &state);
        assert_true(vd_now_ns() < end_ns);
    } while (state.n_asked < n);
    return state;
}

static int setup(void **state)
{
    while (now_s() % 3600 > 3585) /* the tests count in hours from this one */
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    snprintf(path, sizeof(path), "/tmp/verdant-feed-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    unlink(path);
    return 0;
}

static void without_a_provider_the_table_answers(void **state)
{
    vd_feed *feed = NULL;
    vd_feed_state s;
    assert_int_equal(vd_feed_open(&(vd_feed_options){.zone = german()}, &feed, NULL), VD_OK);
    vd_intensity v = vd_feed_at(feed, vd_now_ns());
    assert_true(v.g_per_kwh == 344 && !v.stale);
    assert_string_equal(v.zone, "DE");
    vd_feed_state_get(feed, &s);
    assert_string_equal(s.provider, "table");
    assert_true(!s.has_thread && !s.failing && s.n_asked == 0);
    vd_feed_close(feed);
    assert_int_equal(vd_feed_open(&(vd_feed_options){0}, &feed, NULL), VD_OK);
    assert_string_equal(vd_feed_at(feed, vd_now_ns()).zone, "WORLD");
    vd_feed_close(feed);
    vd_feed_close(NULL);
}

static void values_come_and_each_moment_has_its_own(void **state)
{
    told t = {0};
    write_hours(2, 5, "");
    vd_feed *feed = open_feed(&t);
    vd_feed_state s = wait_asked(feed, 1);
    assert_true(!s.failing && s.last_good_s > 0 && s.next_s >= s.last_good_s);
    uint64_t now_ns = vd_now_ns(), hour_ns = 3600000 * MS;
    vd_intensity v = vd_feed_at(feed, now_ns);
    assert_true(v.g_per_kwh == 300 && !v.estimated && !v.stale);
    assert_string_equal(v.zone, "here");
    assert_true(vd_feed_at(feed, now_ns + hour_ns).g_per_kwh == 400);
    if (now_ns > 5 * hour_ns) { /* since the machine started */
        assert_true(vd_feed_at(feed, now_ns - hour_ns).g_per_kwh == 200);
        assert_string_equal(vd_feed_at(feed, now_ns - 5 * hour_ns).zone, "DE"); /* before it all */
    }
    vd_intensity *values = NULL;
    size_t n = 0;
    assert_int_equal(vd_feed_history(feed, now_s() - 3600, now_s() + 1, &values, &n, NULL), VD_OK);
    assert_int_equal(n, 2);
    assert_true(values[0].g_per_kwh == 200 && values[1].g_per_kwh == 300);
    vd_free(values);
    assert_int_equal(vd_feed_history(feed, 0, 10, &values, &n, NULL), VD_OK);
    assert_int_equal(n, 0);
    vd_free(values);
    vd_feed_close(feed);
    assert_int_equal(t.n_bad + t.n_good, 0); /* it never failed */
}

static void the_last_known_value_stays_when_the_source_fails(void **state)
{
    told t = {0};
    write_hours(2, 2, ""); /* its last hour ended before this one began */
    vd_feed *feed = open_feed(&t);
    wait_asked(feed, 1);
    vd_intensity v = vd_feed_at(feed, vd_now_ns());
    assert_true(v.g_per_kwh == 200 && v.estimated && !v.stale); /* an hour late is usual */
    write_hours(2, 2, "what is this\n");
    vd_feed_state s = wait_asked(feed, 2);
    assert_true(s.failing && s.n_failed == 1 && strstr(s.why, ":2: ") != NULL);
    v = vd_feed_at(feed, vd_now_ns());
    assert_true(v.g_per_kwh == 200 && v.estimated && v.stale);
    s = wait_asked(feed, 4); /* backs off, and goes on */
    assert_true(s.n_failed == 3);
    write_hours(2, 3, "");
    while (s.failing)
        s = wait_asked(feed, s.n_asked + 1);
    v = vd_feed_at(feed, vd_now_ns());
    assert_true(v.g_per_kwh == 300 && !v.estimated && !v.stale);
    assert_string_equal(s.why, "");
    vd_feed_close(feed);
    assert_int_equal(t.n_bad, 1); /* told of the change, not of each try */
    assert_int_equal(t.n_good, 1);
}

static void a_source_that_never_answered_leaves_the_table_stale(void **state)
{
    write_hours(0, 0, "nothing\n");
    vd_feed *feed = open_feed(NULL);
    wait_asked(feed, 1);
    vd_intensity v = vd_feed_at(feed, vd_now_ns());
    assert_true(v.g_per_kwh == 344 && v.stale && v.estimated);
    vd_feed_close(feed);
}

/* What was answered over a time, not what is known of it now. */
static void a_sum_over_two_sources_is_mixed(void **state)
{
    write_hours(0, 0, "nothing\n");
    vd_feed *feed = open_feed(NULL);
    wait_asked(feed, 1);
    uint64_t begin_ns = vd_now_ns();
    assert_string_equal(vd_feed_at(feed, begin_ns).zone, "DE");
    write_hours(2, 5, "");
    vd_feed_state s = wait_asked(feed, 2);
    while (s.failing)
        s = wait_asked(feed, s.n_asked + 1);
    assert_string_equal(vd_feed_at(feed, begin_ns).zone, "DE"); /* as it said before */
    uint64_t middle_ns = vd_now_ns();
    assert_string_equal(vd_feed_at(feed, middle_ns).zone, "here");
    vd_intensity both = vd_feed_over(feed, begin_ns, vd_now_ns());
    assert_true(both.mixed && both.stale && both.estimated);
    assert_string_equal(both.zone, "here");
    vd_intensity later = vd_feed_over(feed, middle_ns, vd_now_ns());
    assert_true(!later.mixed && !later.stale && !later.estimated);
    vd_feed_close(feed);
}

typedef struct reader {
    vd_feed *feed;
    atomic_bool stop;
    atomic_ulong n;
} reader;

static void *read_on(void *arg)
{
    reader *r = arg;
    uint64_t begin_ns = vd_now_ns();
    while (!atomic_load(&r->stop)) {
        vd_intensity v = vd_feed_at(r->feed, vd_now_ns());
        vd_intensity over = vd_feed_over(r->feed, begin_ns, vd_now_ns());
        vd_feed_state s;
        vd_feed_state_get(r->feed, &s);
        if (!(v.g_per_kwh > 0) || over.kind == NULL)
            abort();
        atomic_fetch_add(&r->n, 1);
    }
    return NULL;
}

static void readers_and_the_source_do_not_meet(void **state)
{
    write_hours(2, 5, "");
    reader r = {.feed = open_feed(NULL)};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    for (int i = 0; i < 3; i++) {
        write_hours(2 + i, 5 + i, i == 1 ? "nothing\n" : "");
        vd_feed_state s;
        vd_feed_state_get(r.feed, &s);
        wait_asked(r.feed, s.n_asked + 1);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&r.n) > 100);
    vd_feed_close(r.feed);
}

static void short_memory_and_a_quick_end(void **state)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    vd_feed *feed = NULL;
    vd_provider *p = NULL;
    write_hours(2, 5, "");
    const vd_provider_options o = {.name = "csv", .file = path};
    assert_int_equal(vd_provider_open(&o, &p, NULL), VD_OK);
    vd_alloc_fail_at(1);
    assert_int_equal(vd_feed_open(&(vd_feed_options){.provider = p}, &feed, NULL), VD_ERR_NOMEM);
    vd_alloc_fail_at(0);
    assert_int_equal(vd_alloc_stats_get().n_live, live); /* the provider went too */
    assert_int_equal(vd_provider_open(&o, &p, NULL), VD_OK);
    assert_int_equal(vd_feed_open(&(vd_feed_options){.provider = p, .period_s = 3600}, &feed, NULL),
                     VD_OK);
    wait_asked(feed, 1);
    uint64_t begin_ns = vd_now_ns();
    vd_feed_close(feed); /* asleep for an hour */
    assert_true(vd_now_ns() - begin_ns < 5000 * MS);
    assert_int_equal(vd_alloc_stats_get().n_live, live);
}

int main(void)
{
    vd_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_provider_the_table_answers),
        cmocka_unit_test(values_come_and_each_moment_has_its_own),
        cmocka_unit_test(the_last_known_value_stays_when_the_source_fails),
        cmocka_unit_test(a_source_that_never_answered_leaves_the_table_stale),
        cmocka_unit_test(a_sum_over_two_sources_is_mixed),
        cmocka_unit_test(readers_and_the_source_do_not_meet),
        cmocka_unit_test(short_memory_and_a_quick_end),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
