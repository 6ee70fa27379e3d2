/*
 * bench_child.h - a process that holds a model and answers its part of a trace. Private copies are
 * N of them, a shared server is one.
 *
 *   parent                child
 *     |---- fork ----------> opens the model, answers one request to warm up
 *     |<--- READY or FAILED, message
 *     |---- a moment ------> answers its requests from then on
 *     |<--- ENDED
 *     |---- asks ----------> sends the results
 *     |---- closes --------> exits
 *
 * Children die with their parent, whatever ends it. Single-owner.
 */
#ifndef VD_CLI_BENCH_CHILD_H
#define VD_CLI_BENCH_CHILD_H

#include <sys/types.h>
#include <verdant/engine.h>

#include "report/trace.h"

enum { VD_BENCH_COPIES_MAX = 64 };

typedef struct vd_bench_child {
    pid_t pid; /* 0: there is none */
    int to, from; /* pipes, -1 when closed */
    size_t number; /* which of them, from 0 */
    size_t n_requests; /* of the trace, its own */
    char what[48]; /* "copy 2 of 4", "the shared server" */
} vd_bench_child;

typedef struct vd_bench_share {
    const char *path; /* the model's file */
    const vd_trace *trace;
    size_t number, n_parts; /* answers the requests of clients with client % n_parts == number */
    vd_engine_options engine;
    bool bind; /* to cores [number * n_threads, ...) of its own */
    const vd_bench_child *sibling; /* [n_siblings] those that run already */
    size_t n_siblings;
} vd_bench_share;

/* What came of one request; times after the moment at which the trace began. */
typedef struct vd_bench_result {
    uint64_t index;
    uint64_t first_ns, last_ns; /* after the arrival */
    uint64_t n_tokens;
    uint64_t hash; /* of its tokens */
} vd_bench_result;

/* Forks. The caller must have no other threads that hold locks. */
VD_NODISCARD vd_status vd_bench_child_start(const vd_bench_share *share, const char *what,
                                            vd_bench_child *ret_child, vd_err *err);
/* Waits until all are ready; VD_ERR_... with the first one's own message, or how it died. */
VD_NODISCARD vd_status vd_bench_children_ready(vd_bench_child *child, size_t n, vd_err *err);
/* The same until all have answered all their requests. */
VD_NODISCARD vd_status vd_bench_children_ended(vd_bench_child *child, size_t n, vd_err *err);
/* The trace begins at `begin_ns` (vd_now_ns is the same clock in all processes). */
VD_NODISCARD vd_status vd_bench_child_go(vd_bench_child *child, uint64_t begin_ns, vd_err *err);
/* result[child->n_requests]. */
VD_NODISCARD vd_status vd_bench_child_results(vd_bench_child *child, vd_bench_result *result,
                                              vd_err *err);
/* CPU time of the process, nanoseconds. */
uint64_t vd_bench_child_cpu_ns(const vd_bench_child *child);
/* Ends and reaps it, now where it does not end by itself. {0} is fine. */
void vd_bench_child_stop(vd_bench_child *child);

#endif
