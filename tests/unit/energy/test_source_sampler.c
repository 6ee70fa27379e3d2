/*
 * test_source_sampler.c - the thread of a slow source and its mailbox, with devices that count,
 * hang and burn.
 */
#include "source_test.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "energy/sources/sampler.h"

typedef struct device {
    atomic_uint n_samples, n_freed;
    atomic_bool gap, hangs, burns, lost, deaf; /* deaf: hangs also when it is being closed */
    atomic_uint burn_ms;
    atomic_bool stopping;
} device;

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* 7 uJ a sample. */
static void sample(void *self, uint64_t now_ns, vd_sample *out)
{
    device *d = self;
    (void)now_ns;
    atomic_fetch_add(&d->n_samples, 1);
    while (atomic_load(&d->hangs) && (!atomic_load(&d->stopping) || atomic_load(&d->deaf)))
        sleep_ms(5);
    for (uint64_t begun_ns = thread_cpu_ns();
         atomic_load(&d->burns) && thread_cpu_ns() - begun_ns < atomic_load(&d->burn_ms) * MS;)
        continue;
    out->uj[VD_PART_GPU] = 7;
    out->gap = atomic_load(&d->gap);
    out->lost = atomic_load(&d->lost);
    if (out->gap)
        snprintf(out->why, sizeof(out->why), "the device has hiccups");
}

static void free_device(void *self)
{
    atomic_fetch_add(&((device *)self)->n_freed, 1);
}

static vd_status start(device *d, uint64_t period_ns, vd_source *source, vd_err *err)
{
    const vd_source_env env = {.now_ns = vd_now_ns()};
    const vd_source made = {.method = "test", .refresh_ns = period_ns};
    const vd_sampler_plan plan = {.sample = sample,
                                  .free = free_device,
                                  .self = d,
                                  .period_ns = period_ns,
                                  .stopping = &d->stopping};
    return vd_sampler_start(&plan, &env, &made, source, err);
}

static bool read_now(vd_source *source, uint64_t *ret_uj)
{
    uint64_t uj[VD_PART_N] = {0};
    bool seen = source->ops->read(source, vd_now_ns(), uj);
    *ret_uj = uj[VD_PART_GPU];
    return seen;
}

static void what_the_thread_saw_is_handed_out_once(void **state)
{
    device d = {0};
    vd_source source = {0};
    vd_err err = {0};
    uint64_t uj, sum = 0;
    assert_int_equal(start(&d, MS, &source, &err), VD_OK);
    while (atomic_load(&d.n_samples) < 50) {
        assert_true(read_now(&source, &uj));
        sum += uj;
        sleep_ms(1);
    }
    atomic_store(&d.gap, true);
    unsigned before = atomic_load(&d.n_samples);
    while (atomic_load(&d.n_samples) < before + 3)
        sleep_ms(1);
    atomic_store(&d.gap, false);
    assert_false(read_now(&source, &uj)); /* a gap lasts until it is read, and no longer */
    sum += uj;
    assert_string_equal(source.last_gap, "the device has hiccups");
    before = atomic_load(&d.n_samples);
    while (atomic_load(&d.n_samples) < before + 2)
        sleep_ms(1);
    (void)read_now(&source, &uj);
    sum += uj;
    before = atomic_load(&d.n_samples);
    while (atomic_load(&d.n_samples) < before + 2)
        sleep_ms(1);
    before = atomic_load(&d.n_samples);
    assert_true(read_now(&source, &uj));
    sum += uj;
    source.ops->close(&source);
    assert_int_equal(atomic_load(&d.n_freed), 1);
    /* The first began the counting, and one may have been under way. */
    assert_true(sum % 7 == 0);
    assert_in_range(sum / 7, before - 2, atomic_load(&d.n_samples) - 1);
}

static void a_device_that_hangs_is_a_gap_and_so_is_what_it_brings_late(void **state)
{
    device d = {0};
    vd_source source = {0};
    vd_err err = {0};
    uint64_t uj;
    assert_int_equal(start(&d, MS, &source, &err), VD_OK);
    atomic_store(&d.hangs, true);
    sleep_ms(50);
    (void)read_now(&source, &uj);
    sleep_ms(2100);
    assert_false(read_now(&source, &uj));
    assert_int_equal(uj, 0);
    assert_non_null(strstr(source.last_gap, "no answer for"));
    assert_true(source.lost_since_ns != 0);
    unsigned before = atomic_load(&d.n_samples);
    atomic_store(&d.hangs, false);
    while (atomic_load(&d.n_samples) < before + 2)
        sleep_ms(1);
    assert_false(read_now(&source, &uj));
    assert_true(uj >= 7);
    assert_non_null(strstr(source.last_gap, "no sample was taken for"));
    assert_int_equal(source.lost_since_ns, 0);
    source.ops->close(&source);
}

static void closing_tells_a_sample_that_waits(void **state)
{
    device d = {.hangs = true};
    vd_source source = {0};
    vd_err err = {0};
    atomic_store(&d.hangs, false);
    assert_int_equal(start(&d, MS, &source, &err), VD_OK);
    atomic_store(&d.hangs, true);
    sleep_ms(20);
    source.ops->close(&source); /* would never come back otherwise */
    assert_int_equal(atomic_load(&d.n_freed), 1);
}

static void a_driver_that_never_returns_does_not_hold_up_the_end(void **state)
{
    device d = {0};
    vd_source source = {0};
    vd_err err = {0};
    atomic_store(&d.deaf, true);
    assert_int_equal(start(&d, MS, &source, &err), VD_OK);
    atomic_store(&d.hangs, true);
    unsigned before = atomic_load(&d.n_samples);
    while (atomic_load(&d.n_samples) < before + 1)
        sleep_ms(1);
    sleep_ms(5);
    uint64_t begun_ns = vd_now_ns();
    source.ops->close(&source);
    assert_true(vd_now_ns() - begun_ns >= 1900 * MS);
    assert_int_equal(atomic_load(&d.n_freed), 0); /* it is in use */
    atomic_store(&d.hangs, false);
    uint64_t until_ns = vd_now_ns() + 20 * SECOND;
    while (vd_alloc_stats_get().n_live > 0 && vd_now_ns() < until_ns)
        sleep_ms(1);
    assert_int_equal(atomic_load(&d.n_freed), 1); /* by its thread */
    assert_int_equal(vd_alloc_stats_get().n_live, 0);
}

static void a_device_that_costs_is_asked_less_often(void **state)
{
    device d = {.burns = true, .burn_ms = 4}; /* of CPU time a sample: at 2 % one in 200 ms */
    vd_source source = {0};
    vd_err err = {0};
    assert_int_equal(start(&d, MS, &source, &err), VD_OK);
    sleep_ms(1000);
    source.ops->close(&source);
    assert_in_range(atomic_load(&d.n_samples), 1, 7);

    d = (device){.burns = true, .burn_ms = 55}; /* one in 2.75 s: that alone is no silence */
    assert_int_equal(start(&d, MS, &source, &err), VD_OK);
    while (atomic_load(&d.n_samples) < 2)
        sleep_ms(1);
    uint64_t uj;
    for (uint64_t until_ns = vd_now_ns() + 2400 * MS; vd_now_ns() < until_ns; sleep_ms(50))
        assert_true(read_now(&source, &uj));
    source.ops->close(&source);
}

static void a_beginning_that_fails_leaves_the_device_to_the_caller(void **state)
{
    device d = {.lost = true, .gap = true};
    vd_source source = {0};
    vd_err err = {0};
    assert_int_equal(start(&d, MS, &source, &err), VD_ERR_IO);
    assert_string_equal(err.message, "the device has hiccups");
    assert_null(source.ops);
    assert_int_equal(atomic_load(&d.n_freed), 0);
    vd_alloc_fail_at(1);
    assert_int_equal(start(&d, MS, &source, &err), VD_ERR_NOMEM);
    vd_alloc_fail_at(0);
    assert_int_equal(atomic_load(&d.n_freed), 0);
    assert_int_equal(vd_alloc_stats_get().n_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_thread_saw_is_handed_out_once),
        cmocka_unit_test(a_device_that_hangs_is_a_gap_and_so_is_what_it_brings_late),
        cmocka_unit_test(closing_tells_a_sample_that_waits),
        cmocka_unit_test(a_driver_that_never_returns_does_not_hold_up_the_end),
        cmocka_unit_test(a_device_that_costs_is_asked_less_often),
        cmocka_unit_test(a_beginning_that_fails_leaves_the_device_to_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
