/* sampler.c - see sampler.h. */
#include "energy/sources/sampler.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"

static const uint64_t late_least_ns = UINT64_C(2000000000);
/* A driver that hangs must not keep the program from ending. */
static const uint64_t patience_ns = UINT64_C(2000000000);

typedef struct sampler {
    vd_sampler_plan plan;
    bool in_read; /* no thread: the read samples */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock: */
    bool stopping;
    bool ended;     /* the thread touches nothing more */
    bool abandoned; /* and when it ends it frees everything itself */
    vd_sample box;       /* since the last read */
    uint64_t sampled_ns; /* when the last sample was begun */
    uint64_t due_ns;     /* when the next one is to be, where that is later than a period */
} sampler;

/* How long there has been no sample, beyond what its cost asks for; 0 where that is no matter.
 * Under the lock. */
static uint64_t late_ns(const sampler *s, uint64_t now_ns)
{
    uint64_t from_ns = VD_MAX(s->sampled_ns, s->due_ns);
    uint64_t ns = now_ns > from_ns ? now_ns - from_ns : 0;
    return ns > VD_MAX(10 * s->plan.period_ns, late_least_ns) ? ns : 0;
}

/* Takes one sample and puts it in the box. Where the device took its time, or nobody asked it for
 * long, readings meanwhile were gaps, and so is what comes now. */
static void take(sampler *s, uint64_t now_ns)
{
    vd_sample one = {0};
    s->plan.sample(s->plan.self, now_ns, &one);
    uint64_t ended_ns = s->in_read ? now_ns : vd_now_ns();
    pthread_mutex_lock(&s->lock);
    uint64_t since_ns = late_ns(s, ended_ns);
    if (since_ns > 0 && !one.gap) {
        one.gap = true;
        snprintf(one.why, sizeof(one.why), "no sample was taken for %.1f s",
                 (double)since_ns * 1e-9);
    }
    for (size_t i = 0; i < VD_PART_N; i++)
        s->box.uj[i] += one.uj[i];
    if (one.gap)
        memcpy(s->box.why, one.why, sizeof(s->box.why));
    s->box.gap |= one.gap;
    s->box.lost = one.lost;
    s->sampled_ns = now_ns;
    pthread_mutex_unlock(&s->lock);
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

/* Waits until `due_ns` of vd_now_ns; false when the end came first. */
static bool wait_until(sampler *s, uint64_t due_ns)
{
    struct timespec until = timespec_of(due_ns);
    pthread_mutex_lock(&s->lock);
    s->due_ns = due_ns;
    while (!s->stopping && pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0)
        continue;
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return !stopping;
}

static void destroy(sampler *s)
{
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    vd_free(s);
}

static void sample_until_stopped(sampler *s)
{
    uint64_t begun_ns = vd_now_ns(), cpu_ns = thread_cpu_ns();
    for (;;) {
        uint64_t least_ns = (thread_cpu_ns() - cpu_ns) * 100 / VD_SAMPLER_CPU_PCT;
        if (!wait_until(s, begun_ns + VD_MAX(s->plan.period_ns, least_ns)))
            return;
        cpu_ns = thread_cpu_ns();
        begun_ns = vd_now_ns();
        take(s, begun_ns);
    }
}

static void *run(void *arg)
{
    sampler *s = arg;
    sample_until_stopped(s);
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    bool abandoned = s->abandoned;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (abandoned) {
        s->plan.free(s->plan.self);
        destroy(s);
    }
    return NULL;
}

static bool read_box(vd_source *source, uint64_t now_ns, uint64_t uj[VD_PART_N])
{
    sampler *s = source->self;
    if (s->in_read)
        take(s, now_ns);
    pthread_mutex_lock(&s->lock);
    bool gap = s->box.gap, lost = s->box.lost;
    for (size_t i = 0; i < VD_PART_N; i++)
        uj[i] += s->box.uj[i];
    if (gap)
        memcpy(source->last_gap, s->box.why, sizeof(source->last_gap));
    s->box = (vd_sample){.lost = lost};
    uint64_t silent_ns = late_ns(s, now_ns);
    pthread_mutex_unlock(&s->lock);

    if (silent_ns > 0) {
        gap = lost = true;
        snprintf(source->last_gap, sizeof(source->last_gap), "no answer for %.1f s",
                 (double)silent_ns * 1e-9);
    }
    if (!lost)
        source->lost_since_ns = 0;
    else if (source->lost_since_ns == 0)
        source->lost_since_ns = now_ns;
    return !gap;
}

/* False: the thread is in a call that does not return, and has been left to itself. */
static bool stop_thread(sampler *s)
{
    pthread_t thread = s->thread;
    struct timespec until = timespec_of(vd_now_ns() + patience_ns);
    if (s->plan.stopping != NULL)
        atomic_store(s->plan.stopping, true);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->wake);
    while (!s->ended && pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0)
        continue;
    bool ended = s->ended;
    s->abandoned = !ended;
    pthread_mutex_unlock(&s->lock); /* an abandoned sampler may be gone behind this line */
    if (ended)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
    return ended;
}

static void stop(vd_source *source)
{
    sampler *s = source->self;
    if (!s->in_read && !stop_thread(s))
        return;
    s->plan.free(s->plan.self);
    destroy(s);
}

static const vd_source_ops ops = {.read = read_box, .close = stop};

static sampler *create(const vd_sampler_plan *plan, const vd_source_env *env)
{
    pthread_condattr_t monotonic;
    sampler *s = vd_calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->plan = *plan;
    s->in_read = env->sample_in_read;
    s->sampled_ns = env->now_ns;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC); /* the clock of vd_now_ns */
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

/* The signals of the program are for its other threads. */
static int start_thread(sampler *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        pthread_setname_np(s->thread, "vd-meter");
    return failed;
}

vd_status vd_sampler_start(const vd_sampler_plan *plan, const vd_source_env *env,
                           const vd_source *source, vd_source *ret_source, vd_err *err)
{
    sampler *s = create(plan, env);
    if (s == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter %s", source->method);
    take(s, env->now_ns);
    vd_sample first = s->box;
    s->box = (vd_sample){.lost = first.lost}; /* counting begins here */
    vd_status st = VD_OK;
    if (first.lost && !plan->may_begin_lost)
        st = VD_FAIL(err, VD_ERR_IO, "%s", first.why);
    else if (!s->in_read && start_thread(s) != 0)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no thread for the meter %s", source->method);
    if (st != VD_OK) {
        destroy(s);
        return st;
    }
    *ret_source = *source;
    ret_source->ops = &ops;
    ret_source->self = s;
    ret_source->lost_since_ns = first.lost ? env->now_ns : 0;
    memcpy(ret_source->last_gap, first.why, sizeof(first.why));
    return VD_OK;
}
