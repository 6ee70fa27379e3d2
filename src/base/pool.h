/*
 * pool.h - a few pinned threads that run one function together, many thousand times a second.
 *
 * One product of a decode step takes tens of microseconds, so starting work must cost less than
 * one. Workers spin for a short while for the next job and then park on a futex: a machine
 * with other work to do gets its cores back (a pool that only spins loses more than half its speed
 * to one competing process). The caller is thread 0 and works too.
 *
 * Threads: vd_pool_run is called by one thread at a time, the pool's owner.
 */
#ifndef VD_BASE_POOL_H
#define VD_BASE_POOL_H

#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_pool vd_pool;

/* Called once per thread in use, thread = 0 .. n_threads-1. Must not call vd_pool_run. */
typedef void (*vd_pool_fn)(void *ctx, size_t thread, size_t n_threads);

enum { VD_POOL_THREADS_MAX = 256 };

/* Makes n_threads - 1 workers, each pinned by hwloc to a core of its own while there are enough
 * cores that this process may use; with more threads than cores nothing is pinned. 0 threads =
 * one per core. Workers start with FTZ and DAZ set (denormals cost 150 times more) and with all
 * signals blocked. VD_ERR_ARG above VD_POOL_THREADS_MAX, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_pool_create(size_t n_threads, vd_pool **ret_pool, vd_err *err);
/* Ends and joins the workers. NULL is a no-op. */
void vd_pool_free(vd_pool *pool);

size_t vd_pool_n_threads(const vd_pool *pool);
/* How many workers are pinned: n_threads - 1, or 0. Thread 0 is the caller and stays free. */
size_t vd_pool_n_pinned(const vd_pool *pool);
/* Cores this process may use. */
size_t vd_pool_n_cores(void);

/* The jobs that follow run on the first n_threads of the pool, 1 .. vd_pool_n_threads; the others
 * are not woken. Between jobs, by the owner. */
void vd_pool_use(vd_pool *pool, size_t n_threads);

/* Runs fn on the threads in use (all, unless vd_pool_use said less) and returns when all have
 * returned. Allocates nothing. */
void vd_pool_run(vd_pool *pool, vd_pool_fn fn, void *ctx);

/* Waits until all threads of the running job are here. Only inside a vd_pool_fn, by every thread
 * the same number of times. Allocates nothing. */
void vd_pool_barrier(vd_pool *pool);
/* How often a thread waited at a barrier for so long that it parked, modulo 2^32. Many such waits
 * in short jobs mean that the others do not get their cores. */
unsigned vd_pool_n_long_waits(const vd_pool *pool);

/* The half-open range of 0..n that `thread` works on, in units of `unit` (the last may be
 * short). */
void vd_pool_range(size_t n, size_t unit, size_t thread, size_t n_threads, size_t *ret_begin,
                   size_t *ret_end);

#endif
