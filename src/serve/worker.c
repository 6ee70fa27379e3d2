/* worker.c - see worker.h: a ring, a mutex, a condition. */
#include "serve/worker.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"

struct vd_workers {
    vd_job_fn fn;
    pthread_t *threads;
    size_t n_threads;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock: */
    void **ring;
    size_t n_ring, head, n_queued;
    bool ending;
};

static void *worker_main(void *arg)
{
    vd_workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->n_queued == 0 && !w->ending)
            pthread_cond_wait(&w->wake, &w->lock);
        if (w->n_queued == 0)
            break;
        void *job = w->ring[w->head];
        w->head = (w->head + 1) % w->n_ring;
        w->n_queued--;
        pthread_mutex_unlock(&w->lock);
        w->fn(job);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

vd_status vd_workers_create(size_t n_threads, size_t queue_max, vd_job_fn fn,
                            vd_workers **ret_workers, vd_err *err)
{
    vd_workers *w = vd_calloc(1, sizeof(*w));
    if (w == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the workers");
    w->fn = fn;
    w->n_ring = queue_max;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    vd_status st = vd_alloc_array(queue_max, sizeof(void *), "a queue", &w->ring, err);
    if (st != VD_OK)
        goto out;
    st = vd_alloc_array(n_threads, sizeof(pthread_t), "threads", &w->threads, err);
    if (st != VD_OK)
        goto out;
    for (; w->n_threads < n_threads; w->n_threads++) {
        int failed = pthread_create(&w->threads[w->n_threads], NULL, worker_main, w);
        if (failed != 0) {
            st = VD_FAIL(err, VD_ERR_NOMEM, "cannot start a thread: %s", strerror(failed));
            goto out;
        }
    }
    *ret_workers = w;
    w = NULL;
out:
    vd_workers_free(w);
    return st;
}

bool vd_workers_push(vd_workers *w, void *job)
{
    pthread_mutex_lock(&w->lock);
    bool room = !w->ending && w->n_queued < w->n_ring;
    if (room) {
        w->ring[(w->head + w->n_queued++) % w->n_ring] = job;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return room;
}

void vd_workers_free(vd_workers *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    vd_free(w->threads);
    vd_free(w->ring);
    vd_free(w);
}
