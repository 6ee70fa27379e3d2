/* pool.c - see pool.h. Every worker has a counter of its jobs and waits for it to change. */
#include "base/pool.h"

#include <assert.h>
#include <errno.h>
#include <hwloc.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

/* About 20 microseconds: longer than the gap between two products of one step, shorter than a
 * scheduler's slice. */
enum { SPIN_LIMIT = 1000 };

typedef struct worker {
    /* How many jobs it has had a part in. The owner raises it (release) after publishing the job;
     * those that sit a job out are not disturbed. */
    _Alignas(64) atomic_uint jobs;
    atomic_uint n_parked; /* 1: it waits for `jobs` in the kernel */
    vd_pool *pool;
    size_t thread;
    pthread_t id;
} worker;

struct vd_pool {
    size_t n_threads, n_pinned, n_started;
    size_t n_active; /* threads of the next job */
    worker *workers; /* n_threads - 1 of them, thread numbers from 1 */
    hwloc_topology_t topology;
    bool has_topology;
    /* What the owner publishes by raising `jobs` and workers read after (acquire). */
    vd_pool_fn fn;
    void *ctx;
    _Alignas(64) atomic_uint n_running; /* workers that have not finished the job */
    _Alignas(64) atomic_uint n_arrived; /* at the barrier */
    atomic_uint barrier_round;
    _Alignas(64) atomic_uint n_parked; /* in the kernel, at the barrier or for n_running */
    atomic_uint n_long_waits;
    atomic_bool ending;
};

static void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* Call after changing *word. The counter and the word are both sequentially consistent: either the
 * waker sees the parked thread, or that thread's last look sees the new word. */
static void wake_all(atomic_uint *word, atomic_uint *n_parked)
{
    if (atomic_load_explicit(n_parked, memory_order_seq_cst) != 0)
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Returns once *word differs from `value`; spins, then parks, and says whether it parked. n_parked
 * counts those in the kernel: a waker may skip the system call. */
static bool wait_change(atomic_uint *word, unsigned value, atomic_uint *n_parked)
{
    for (int i = 0; i < SPIN_LIMIT; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != value)
            return false;
        cpu_relax();
    }
    atomic_fetch_add_explicit(n_parked, 1, memory_order_seq_cst);
    while (atomic_load_explicit(word, memory_order_seq_cst) == value)
        futex_wait(word, value);
    atomic_fetch_sub_explicit(n_parked, 1, memory_order_seq_cst);
    return true;
}

/* Flushes denormals to zero and returns the state before, for restore_floats. */
static unsigned flush_denormals(void)
{
#if defined(__SSE__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040u); /* FTZ | DAZ */
    return before;
#else
    return 0;
#endif
}

static void restore_floats(unsigned before)
{
#if defined(__SSE__)
    _mm_setcsr(before);
#endif
}

static void *worker_main(void *arg)
{
    worker *self = arg;
    vd_pool *pool = self->pool;
    unsigned seen = 0;
    flush_denormals();
    for (;;) {
        (void)wait_change(&self->jobs, seen, &self->n_parked);
        seen++;
        if (atomic_load_explicit(&pool->ending, memory_order_acquire))
            return NULL;
        pool->fn(pool->ctx, self->thread, pool->n_active);
        if (atomic_fetch_sub_explicit(&pool->n_running, 1, memory_order_seq_cst) == 1)
            wake_all(&pool->n_running, &pool->n_parked);
    }
}

static void call_worker(worker *w)
{
    atomic_fetch_add_explicit(&w->jobs, 1, memory_order_seq_cst);
    wake_all(&w->jobs, &w->n_parked);
}

size_t vd_pool_n_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return (size_t)VD_MAX(CPU_COUNT(&set), 1);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
}

/* Thread i to the i-th core this process may use. Failing to pin costs speed, not correctness. */
static void pin_thread(vd_pool *pool, size_t thread, pthread_t id)
{
    /* What the cgroup allows and taskset or a job scheduler left us: the creator's own binding. */
    hwloc_cpuset_t allowed = hwloc_bitmap_alloc();
    hwloc_cpuset_t one = NULL;
    if (allowed == NULL || hwloc_get_cpubind(pool->topology, allowed, HWLOC_CPUBIND_THREAD) != 0)
        goto out;
    hwloc_bitmap_and(allowed, allowed, hwloc_topology_get_allowed_cpuset(pool->topology));
    int n_cores = hwloc_get_nbobjs_inside_cpuset_by_type(pool->topology, allowed, HWLOC_OBJ_CORE);
    if (n_cores < 0 || (size_t)n_cores < pool->n_threads)
        goto out;
    hwloc_obj_t core = hwloc_get_obj_inside_cpuset_by_type(pool->topology, allowed,
                                                           HWLOC_OBJ_CORE, (unsigned)thread);
    if (core == NULL || (one = hwloc_bitmap_dup(core->cpuset)) == NULL)
        goto out;
    hwloc_bitmap_and(one, one, allowed);
    hwloc_bitmap_singlify(one);
    if (hwloc_set_thread_cpubind(pool->topology, id, one, HWLOC_CPUBIND_THREAD) == 0)
        pool->n_pinned++;
out:
    hwloc_bitmap_free(one);
    hwloc_bitmap_free(allowed);
}

static vd_status start_workers(vd_pool *pool, vd_err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    vd_status st = VD_OK;
    for (size_t i = 1; i < pool->n_threads && st == VD_OK; i++) {
        worker *w = &pool->workers[i - 1];
        w->pool = pool;
        w->thread = i;
        int failed = pthread_create(&w->id, NULL, worker_main, w);
        if (failed != 0) {
            st = VD_FAIL(err, VD_ERR_NOMEM, "cannot start thread %zu of %zu: %s", i,
                         pool->n_threads, strerror(failed));
            break;
        }
        pool->n_started++;
        if (pool->has_topology)
            pin_thread(pool, i, w->id);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return st;
}

vd_status vd_pool_create(size_t n_threads, vd_pool **ret_pool, vd_err *err)
{
    if (n_threads > VD_POOL_THREADS_MAX)
        return VD_FAIL(err, VD_ERR_ARG, "%zu threads asked for, at most %d are possible", n_threads,
                       VD_POOL_THREADS_MAX);
    vd_pool *pool = vd_alloc_aligned(sizeof(*pool), 64);
    if (pool == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the thread pool");
    memset(pool, 0, sizeof(*pool));
    pool->n_threads = n_threads != 0 ? n_threads : vd_pool_n_cores();
    pool->n_active = pool->n_threads;
    vd_status st = VD_OK;
    pool->workers = vd_alloc_aligned(pool->n_threads * sizeof(worker), 64);
    if (pool->workers == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for %zu threads", pool->n_threads);
        goto out;
    }
    memset(pool->workers, 0, pool->n_threads * sizeof(worker));
    /* hwloc reads /sys; where it cannot, threads simply run unpinned. */
    if (hwloc_topology_init(&pool->topology) == 0) {
        pool->has_topology = true;
        if (hwloc_topology_load(pool->topology) != 0) {
            hwloc_topology_destroy(pool->topology);
            pool->has_topology = false;
        }
    }
    st = start_workers(pool, err);
    if (st != VD_OK)
        goto out;
    *ret_pool = pool;
    pool = NULL;
out:
    vd_pool_free(pool);
    return st;
}

void vd_pool_free(vd_pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store_explicit(&pool->ending, true, memory_order_release);
    for (size_t i = 0; i < pool->n_started; i++)
        call_worker(&pool->workers[i]);
    for (size_t i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i].id, NULL);
    if (pool->has_topology)
        hwloc_topology_destroy(pool->topology);
    vd_free(pool->workers);
    vd_free(pool);
}

size_t vd_pool_n_threads(const vd_pool *pool)
{
    return pool->n_threads;
}

size_t vd_pool_n_pinned(const vd_pool *pool)
{
    return pool->n_pinned;
}

void vd_pool_use(vd_pool *pool, size_t n_threads)
{
    assert(n_threads >= 1 && n_threads <= pool->n_threads);
    pool->n_active = n_threads;
}

unsigned vd_pool_n_long_waits(const vd_pool *pool)
{
    return atomic_load_explicit(&pool->n_long_waits, memory_order_relaxed);
}

void vd_pool_run(vd_pool *pool, vd_pool_fn fn, void *ctx)
{
    unsigned floats = flush_denormals();
    size_t n = pool->n_active;
    if (n == 1) {
        fn(ctx, 0, 1);
        restore_floats(floats);
        return;
    }
    pool->fn = fn;
    pool->ctx = ctx;
    atomic_store_explicit(&pool->n_running, (unsigned)n - 1, memory_order_relaxed);
    for (size_t i = 0; i + 1 < n; i++)
        call_worker(&pool->workers[i]);
    fn(ctx, 0, n);
    unsigned left;
    while ((left = atomic_load_explicit(&pool->n_running, memory_order_acquire)) != 0)
        (void)wait_change(&pool->n_running, left, &pool->n_parked);
    restore_floats(floats);
}

void vd_pool_barrier(vd_pool *pool)
{
    size_t n = pool->n_active;
    if (n == 1)
        return;
    unsigned round = atomic_load_explicit(&pool->barrier_round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->n_arrived, 1, memory_order_acq_rel) + 1 == n) {
        atomic_store_explicit(&pool->n_arrived, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->barrier_round, 1, memory_order_seq_cst);
        wake_all(&pool->barrier_round, &pool->n_parked);
        return;
    }
    if (wait_change(&pool->barrier_round, round, &pool->n_parked))
        atomic_fetch_add_explicit(&pool->n_long_waits, 1, memory_order_relaxed);
}

void vd_pool_range(size_t n, size_t unit, size_t thread, size_t n_threads, size_t *ret_begin,
                   size_t *ret_end)
{
    size_t n_units = (n + unit - 1) / unit;
    *ret_begin = VD_MIN(n, n_units * thread / n_threads * unit);
    *ret_end = VD_MIN(n, n_units * (thread + 1) / n_threads * unit);
}
