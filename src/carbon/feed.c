/* feed.c - see feed.h. */
#include "carbon/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "carbon/series.h"

#define S 1000000000ull

enum {
    PERIOD_S = 300,
    KEEP = 2016,
    BACKOFF_MS = 5000,
    HOPELESS_S = 900,       /* a key may be renewed, a zone added: look again, but seldom */
    RETRY_MAX_S = 86400,
    N_SAID = 64,
    N_RECENT = 4
};

/* What was answered from a moment on, until the next entry. */
typedef struct said {
    uint64_t at_ns;
    vd_intensity value;
} said;

struct vd_feed {
    vd_feed_options options;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock: */
    vd_series series;
    vd_feed_state state;
    said ring[N_SAID]; /* answers that differ from the one before; the newest at n_said - 1 */
    said recent[N_RECENT]; /* the last answers, whatever they were */
    size_t n_said, n_recent;
};

/* ---- answering -------------------------------------------------------------------------------*/

static int64_t wall_s(uint64_t at_ns)
{
    uint64_t now_ns = vd_now_ns(), wall_ns = vd_wall_ns();
    return (int64_t)((wall_ns + at_ns - now_ns) / S);
}

/* Under the lock. */
static vd_intensity look_up(const vd_feed *f, int64_t at_s)
{
    vd_intensity value;
    if (vd_intensity_at(f->series.value, f->series.n, at_s, f->state.failing, &value))
        return value;
    value = vd_zone_intensity(f->options.zone, at_s);
    value.stale = f->state.failing; /* a better source was asked for and gives nothing */
    return value;
}

static bool same_answer(const vd_intensity *a, const vd_intensity *b)
{
    return vd_intensity_alike(a, b) && a->g_per_kwh == b->g_per_kwh &&
           a->estimated == b->estimated && a->stale == b->stale &&
           a->valid_from_s == b->valid_from_s;
}

/* The account and the ledger ask for the end of one window, one after the other: a value that came
 * in between must not part their sums. Under the lock. */
static const said *find_recent(const vd_feed *f, uint64_t at_ns)
{
    for (size_t i = 0; i < VD_MIN(f->n_recent, (size_t)N_RECENT); i++)
        if (f->recent[i].at_ns == at_ns)
            return &f->recent[i];
    return NULL;
}

vd_intensity vd_feed_at(vd_feed *f, uint64_t at_ns)
{
    int64_t at_s = wall_s(at_ns);
    pthread_mutex_lock(&f->lock);
    const said *again = find_recent(f, at_ns);
    vd_intensity value = again != NULL ? again->value : look_up(f, at_s);
    if (again == NULL)
        f->recent[f->n_recent++ % N_RECENT] = (said){at_ns, value};
    const said *last = &f->ring[(f->n_said + N_SAID - 1) % N_SAID];
    if (f->n_said == 0 || (at_ns >= last->at_ns && !same_answer(&last->value, &value)))
        f->ring[f->n_said++ % N_SAID] = (said){at_ns, value};
    pthread_mutex_unlock(&f->lock);
    return value;
}

vd_intensity vd_feed_over(vd_feed *f, uint64_t from_ns, uint64_t to_ns)
{
    vd_intensity sum = vd_feed_at(f, to_ns);
    pthread_mutex_lock(&f->lock);
    size_t oldest = f->n_said > N_SAID ? f->n_said - N_SAID : 0;
    for (size_t i = f->n_said; i-- > oldest;) {
        const said *s = &f->ring[i % N_SAID];
        if (s->at_ns > to_ns)
            continue;
        sum.estimated |= s->value.estimated;
        sum.stale |= s->value.stale;
        sum.mixed |= !vd_intensity_alike(&s->value, &sum);
        if (s->at_ns <= from_ns)
            break;
    }
    pthread_mutex_unlock(&f->lock);
    return sum;
}

void vd_feed_state_get(vd_feed *f, vd_feed_state *ret_state)
{
    pthread_mutex_lock(&f->lock);
    *ret_state = f->state;
    pthread_mutex_unlock(&f->lock);
}

vd_status vd_feed_history(vd_feed *f, int64_t from_s, int64_t to_s, vd_intensity **ret_values,
                          size_t *ret_n, vd_err *err)
{
    vd_series found = {0};
    vd_status st = VD_OK;
    pthread_mutex_lock(&f->lock);
    size_t i = vd_series_find(&f->series, from_s);
    for (i = i == f->series.n ? 0 : i; st == VD_OK && i < f->series.n; i++)
        if (f->series.value[i].valid_to_s > from_s && f->series.value[i].valid_from_s < to_s)
            st = vd_series_add(&found, &f->series.value[i], err);
    pthread_mutex_unlock(&f->lock);
    if (st == VD_OK)
        vd_series_take(&found, ret_values, ret_n);
    vd_series_done(&found);
    return st;
}

/* ---- asking ----------------------------------------------------------------------------------*/

/* Puts what came among what is there, and lets go of the oldest. Under the lock. */
static vd_status take_in(vd_feed *f, const vd_intensity *values, size_t n, int64_t now_s,
                         vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < n; i++)
        st = vd_series_add(&f->series, &values[i], err);
    vd_series_tidy(&f->series);
    size_t now = vd_series_find(&f->series, now_s);
    if (now < f->series.n && now > f->options.keep) {
        size_t drop = now - f->options.keep;
        memmove(f->series.value, f->series.value + drop,
                (f->series.n - drop) * sizeof(f->series.value[0]));
        f->series.n -= drop;
    }
    return st;
}

/* xorshift (Marsaglia 2003): retries of many machines must not come together. */
static double jitter(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return 0.5 + (double)(*state >> 11) / (double)(1ull << 53) / 2; /* [0.5, 1) */
}

static uint64_t wait_ns(const vd_feed *f, vd_status st, const vd_retry *retry, unsigned n_failures,
                        uint64_t *random)
{
    uint64_t period_ns = f->options.period_s * S;
    if (st == VD_OK)
        return period_ns - (uint64_t)((double)(period_ns / 10) * (1 - jitter(random)));
    uint64_t backoff_ns = f->options.backoff_ms * (S / 1000);
    for (unsigned i = 1; i < n_failures && backoff_ns < period_ns; i++)
        backoff_ns *= 2;
    if (retry->hopeless)
        backoff_ns = VD_MAX(period_ns, HOPELESS_S * S);
    else
        backoff_ns = VD_MIN(backoff_ns, period_ns);
    uint64_t asked_ns = VD_MIN(retry->after_s, (uint32_t)RETRY_MAX_S) * S;
    return asked_ns + (uint64_t)((double)backoff_ns * jitter(random));
}

/* Sleeps; true when the feed is to end. */
static bool sleep_ns(vd_feed *f, uint64_t duration_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t end_ns = (uint64_t)until.tv_sec * S + (uint64_t)until.tv_nsec + duration_ns;
    until = (struct timespec){.tv_sec = (time_t)(end_ns / S), .tv_nsec = (long)(end_ns % S)};
    pthread_mutex_lock(&f->lock);
    int failed = 0;
    while (!atomic_load_explicit(&f->stop, memory_order_acquire) && failed != ETIMEDOUT)
        failed = pthread_cond_timedwait(&f->wake, &f->lock, &until);
    pthread_mutex_unlock(&f->lock);
    return atomic_load_explicit(&f->stop, memory_order_acquire);
}

static void *feed_main(void *arg)
{
    vd_feed *f = arg;
    unsigned n_failures = 0;
    uint64_t random = vd_now_ns() | 1;
    for (bool ended = false; !ended;) {
        vd_intensity *values = NULL;
        size_t n = 0;
        vd_retry retry = {0};
        vd_err why = {0};
        vd_status st =
            vd_provider_latest(f->options.provider, &f->stop, &values, &n, &retry, &why);
        if (st == VD_ERR_CANCELLED)
            break;
        pthread_mutex_lock(&f->lock);
        int64_t now_s = wall_s(vd_now_ns());
        if (st == VD_OK)
            st = take_in(f, values, n, now_s, &why);
        bool failed_before = f->state.failing;
        f->state.failing = st != VD_OK;
        f->state.n_asked++;
        f->state.n_failed += st != VD_OK;
        n_failures = st == VD_OK ? 0 : n_failures + 1;
        if (st == VD_OK)
            f->state.last_good_s = now_s;
        memcpy(f->state.why, why.message, sizeof(f->state.why));
        snprintf(f->state.note, sizeof(f->state.note), "%s",
                 vd_provider_note(f->options.provider));
        uint64_t pause_ns = wait_ns(f, st, &retry, n_failures, &random);
        f->state.next_s = now_s + (int64_t)(pause_ns / S);
        vd_feed_state told = f->state;
        pthread_mutex_unlock(&f->lock);
        vd_free(values);
        if (f->options.on_change != NULL && told.failing != failed_before)
            f->options.on_change(f->options.ctx, &told);
        ended = sleep_ns(f, pause_ns);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------*/

static void fill(vd_feed_options *o)
{
    if (o->zone == NULL)
        o->zone = vd_zone_list(&(size_t){0});
    o->period_s = o->period_s != 0 ? o->period_s : PERIOD_S;
    o->keep = o->keep != 0 ? o->keep : KEEP;
    o->backoff_ms = o->backoff_ms != 0 ? o->backoff_ms : BACKOFF_MS;
}

static vd_status start(vd_feed *f, vd_err *err)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (f->options.provider == NULL)
        return VD_OK;
    f->state.has_thread = true; /* before there is one that reads it */
    int failed = pthread_create(&f->thread, NULL, feed_main, f);
    if (failed != 0) {
        f->state.has_thread = false;
        errno = failed;
        return VD_FAIL(err, VD_ERR_IO, "no thread for the grid feed: %s", strerror(failed));
    }
    return VD_OK;
}

vd_status vd_feed_open(const vd_feed_options *options, vd_feed **ret_feed, vd_err *err)
{
    vd_feed *f = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*f), "the grid feed", &f, err);
    if (st != VD_OK) {
        vd_provider_close(options->provider);
        return st;
    }
    f->options = *options;
    fill(&f->options);
    f->state.provider = options->provider != NULL ? vd_provider_name(options->provider) : "table";
    st = start(f, err);
    if (st != VD_OK)
        goto out;
    *ret_feed = f;
    f = NULL;
out:
    vd_feed_close(f);
    return st;
}

void vd_feed_close(vd_feed *f)
{
    if (f == NULL)
        return;
    pthread_mutex_lock(&f->lock);
    atomic_store_explicit(&f->stop, true, memory_order_release);
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    if (f->state.has_thread)
        pthread_join(f->thread, NULL);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    vd_provider_close(f->options.provider);
    vd_series_done(&f->series);
    vd_free(f);
}
