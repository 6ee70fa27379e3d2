/*
 * doctor_ladder.c - see doctor_ladder.h.
 *
 *   rest | 1 thread | 2 | 4 | ... | all | all, 3/4 of their time | 1/2 | 1/4 | rest
 *
 * A thread that works multiplies a row of weights with activations again and again, by the kernel
 * that a model uses; one that works a part of its time does so in slices of 20 ms.
 */
#include "cli/doctor_ladder.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/progress.h"
#include "energy/power/cpufreq.h"
#include "kernels/kernels.h"

enum { THREADS_MAX = 1024, ROW = 4096, COUNTS_MAX = 8 };

static const uint64_t slice_ns = 20000000;

typedef struct ladder {
    const vd_kernels *kernels;
    size_t n_threads, n_started;
    pthread_t thread[THREADS_MAX];
    atomic_size_t n_working; /* the first of them work */
    atomic_int duty;         /* this many percent of their time */
    atomic_bool stop;
    atomic_size_t next_index;
} ladder;

static void rest_ns(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    nanosleep(&t, NULL);
}

static void *work(void *ctx)
{
    ladder *l = ctx;
    size_t index = atomic_fetch_add(&l->next_index, 1);
    _Alignas(64) float row[ROW], x[ROW], scratch[ROW];
    for (size_t i = 0; i < ROW; i++)
        row[i] = x[i] = 1.0f / (float)(i + 1);
    volatile float sink = 0;
    while (!atomic_load(&l->stop)) {
        uint64_t begin_ns = vd_now_ns();
        if (index >= atomic_load(&l->n_working)) {
            rest_ns(slice_ns);
            continue;
        }
        int duty = atomic_load(&l->duty);
        uint64_t until_ns = begin_ns + slice_ns * (uint64_t)duty / 100;
        while (vd_now_ns() < until_ns)
            for (int i = 0; i < 16; i++)
                sink = sink + l->kernels->dot_row(VD_DTYPE_F32, row, x, ROW, scratch);
        if (duty < 100)
            rest_ns(slice_ns - slice_ns * (uint64_t)duty / 100);
    }
    return NULL;
}

/* CPU time of all CPUs from /proc/stat, in clock ticks: used, and used or not. Guests' time is part
 * of user's; what a hypervisor stole is not there to be used. */
static bool machine_ticks(double *ret_used, double *ret_all)
{
    double v[8] = {0};
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL)
        return false;
    int n = fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
                   &v[6]);
    fclose(f);
    *ret_used = v[0] + v[1] + v[2] + v[5] + v[6];
    *ret_all = *ret_used + v[3] + v[4];
    return n == 7;
}

static double own_cpu_s(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
        return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct moment {
    uint64_t at_ns; /* the other one may be set while the ladder runs */
    double wall_s, cpu_s, used, all, uj;
    bool gap;
} moment;

static moment take_moment(vd_meter *meter)
{
    moment m = {.at_ns = vd_now_ns(), .wall_s = (double)vd_wall_ns() * 1e-9,
                .cpu_s = own_cpu_s()};
    (void)machine_ticks(&m.used, &m.all);
    if (meter != NULL) {
        vd_reading r;
        vd_meter_read(meter, &r);
        m.uj = (double)r.uj[VD_PART_CPU];
        m.gap = r.gap;
    }
    return m;
}

/* Waits till `until_ns`, showing how far the ladder is; the mean clock meanwhile, MHz. */
static double wait_until(uint64_t until_ns, vd_cpufreq *freq, vd_progress *progress,
                         uint64_t begin_ns, uint64_t end_ns)
{
    double sum = 0;
    size_t n = 0;
    for (uint64_t now = vd_now_ns(); now < until_ns; now = vd_now_ns()) {
        vd_progress_update(progress, now - begin_ns, end_ns - begin_ns, NULL);
        rest_ns(VD_MIN(until_ns - now, UINT64_C(110000000)));
        sum += vd_cpufreq_mhz(freq, vd_now_ns());
        n++;
    }
    return n > 0 ? sum / (double)n : 0;
}

/* How many threads work and how much, in percent, for each step. */
static size_t plan(size_t n_threads, size_t n_working[VD_LADDER_STEPS_MAX],
                   int duty[VD_LADDER_STEPS_MAX])
{
    size_t n = 0;
    n_working[n++] = 0;
    double factor = VD_MAX(2, pow((double)n_threads, 1.0 / (COUNTS_MAX - 1)));
    for (size_t count = 1; count < n_threads; count = (size_t)ceil((double)count * factor))
        n_working[n++] = count;
    for (size_t i = 0; i < n; i++)
        duty[i] = 100;
    for (int d = 100; d > 0; d -= 25) {
        n_working[n] = n_threads;
        duty[n++] = d;
    }
    n_working[n] = 0;
    duty[n++] = 100;
    return n;
}

static void climb(ladder *l, const vd_machine *machine, vd_meter *meter, double seconds,
                  vd_cpufreq *freq, vd_ladder *ret)
{
    size_t n_working[VD_LADDER_STEPS_MAX];
    int duty[VD_LADDER_STEPS_MAX];
    vd_progress progress;
    ret->n = plan(l->n_threads, n_working, duty);
    uint64_t begin_ns = vd_now_ns(), step_ns = (uint64_t)(seconds * 1e9 / (double)ret->n);
    uint64_t end_ns = begin_ns + step_ns * ret->n;
    vd_progress_init(&progress, "measuring");
    for (size_t i = 0; i < ret->n; i++) {
        vd_load_step *step = &ret->step[i];
        uint64_t from_ns = begin_ns + step_ns * i;
        atomic_store(&l->duty, duty[i]);
        atomic_store(&l->n_working, n_working[i]);
        step->begin_s = (double)vd_wall_ns() * 1e-9;
        wait_until(from_ns + step_ns / 4, freq, &progress, begin_ns, end_ns);
        moment a = take_moment(meter);
        double mhz = wait_until(from_ns + step_ns, freq, &progress, begin_ns, end_ns);
        moment b = take_moment(meter);
        step->end_s = b.wall_s;
        double cpus = machine->n_cpu, passed = VD_MAX((double)(b.at_ns - a.at_ns) * 1e-9, 1e-3);
        step->at = (vd_power_point){
            .load = VD_MIN((b.cpu_s - a.cpu_s) / (passed * cpus), 1),
            .spread = VD_MIN((double)n_working[i] / cpus, 1),
            .clock = machine->base_mhz > 0 ? VD_MIN(mhz / machine->base_mhz, 10) : 0,
            .watts = meter != NULL && !b.gap ? (b.uj - a.uj) * 1e-6 / passed : 0,
        };
        double ticks = b.all - a.all, hertz = 100; /* USER_HZ is 100 wherever Linux runs */
        if (ticks > 0)
            ret->strangers = VD_MAX(
                ret->strangers, (b.used - a.used - hertz * (b.cpu_s - a.cpu_s)) / ticks);
    }
    vd_progress_done(&progress);
}

vd_status vd_ladder_run(const vd_machine *machine, vd_meter *meter, double seconds,
                        vd_ladder *ret_ladder, vd_err *err)
{
    ladder *l = vd_calloc(1, sizeof(*l));
    if (l == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the ladder of loads");
    vd_cpufreq freq;
    vd_ladder result = {0};
    vd_status st = VD_OK;
    l->kernels = vd_kernels_get();
    l->n_threads = (size_t)VD_MIN(VD_MAX(ceil(machine->n_cpu), 1), THREADS_MAX);
    atomic_store(&l->duty, 100);
    for (; l->n_started < l->n_threads && st == VD_OK; l->n_started++)
        if (pthread_create(&l->thread[l->n_started], NULL, work, l) != 0) {
            st = VD_FAIL(err, VD_ERR_NOMEM, "cannot start thread %zu of %zu", l->n_started + 1,
                         l->n_threads);
            break;
        }
    if (st == VD_OK) {
        /* The sysfs tree that the meter reads is one of energy; clocks are this machine's. */
        vd_cpufreq_open(&freq, "/sys");
        climb(l, machine, meter, seconds, &freq, &result);
        vd_cpufreq_close(&freq);
    }
    atomic_store(&l->stop, true);
    for (size_t i = 0; i < l->n_started; i++)
        pthread_join(l->thread[i], NULL);
    vd_free(l);
    if (st == VD_OK)
        *ret_ladder = result;
    return st;
}
