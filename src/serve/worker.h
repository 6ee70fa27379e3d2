/*
 * worker.h - a few threads that do what would hold up libmicrohttpd's: parse a body, render a
 * template, tokenize, submit. A bounded queue in front; when it is full the request gets a 503.
 */
#ifndef VD_SERVE_WORKER_H
#define VD_SERVE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_workers vd_workers;
typedef void (*vd_job_fn)(void *job);

VD_NODISCARD vd_status vd_workers_create(size_t n_threads, size_t queue_max, vd_job_fn fn,
                                         vd_workers **ret_workers, vd_err *err);
/* False when the queue is full or ending; the job stays the caller's then. Any thread. */
bool vd_workers_push(vd_workers *workers, void *job);
/* Finishes what is queued, joins, frees. NULL is fine. */
void vd_workers_free(vd_workers *workers);

#endif
