/* ledger.c - see ledger.h: two batches, one that fills and one that is written, and a thread. */
#include "energy/ledger/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "energy/ledger/pending.h"
#include "energy/ledger/write.h"

#define NS_PER_S UINT64_C(1000000000)

static const uint64_t retry_ns = NS_PER_S; /* after a failure */
static const uint64_t jump_ns = 2 * NS_PER_S;

struct vd_ledger {
    char *path, *program, *method;
    uint64_t flush_ns, idle_ns;
    pthread_t thread;
    bool has_thread;
    vd_writer writer; /* the thread's; before and after it, of who opens and closes */

    pthread_mutex_t lock;
    pthread_cond_t wake, written;
    /* guarded by lock: */
    vd_pending batch[2], *filling, *writing; /* what `writing` holds is the thread's, though */
    vd_ledger_intensity intensity;
    uint64_t wall_offset_ns; /* vd_now_ns + this is the wall clock */
    uint64_t next_answer;
    uint64_t asked, done; /* flushes asked for, and how many of them the thread has tried */
    bool ending;
    bool unwritten; /* `writing` holds a batch that could not be written yet */
    uint64_t unwritten_ns; /* when the oldest of it came */
    vd_ledger_stats stats;
    vd_err failure; /* of the last try; status VD_OK after one that went well */
};

/* ---- the thread ------------------------------------------------------------------------------*/

static struct timespec at(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

/* When the thread has to look again; 0: now. Under the lock. */
static uint64_t due_ns(const vd_ledger *l, uint64_t failed_ns)
{
    if (l->ending || l->asked != l->done)
        return 0;
    if (l->unwritten)
        return failed_ns + retry_ns;
    const vd_pending *p = l->filling;
    if (p->first_ns == 0)
        return UINT64_MAX;
    if (vd_pending_is_full(p))
        return 0;
    return p->first_ns + (p->busy ? l->flush_ns : l->idle_ns);
}

static void swap_batches(vd_ledger *l)
{
    vd_pending *full = l->filling;
    l->filling = l->writing;
    l->writing = full;
    l->unwritten_ns = full->first_ns;
    l->unwritten = full->first_ns != 0;
    l->stats.folded_uj += full->folded_uj;
    l->stats.n_folded += full->n_folded;
}

/* Writes what waits. The lock is held before and after, not meanwhile. */
static void flush_once(vd_ledger *l)
{
    uint64_t asked = l->asked;
    vd_err err = {0};
    vd_status st = VD_OK;
    for (int i = 0; i < 2 && st == VD_OK; i++) { /* what failed before, then what came since */
        if (!l->unwritten)
            swap_batches(l);
        if (!l->unwritten)
            break;
        uint64_t offset_ns = l->wall_offset_ns;
        pthread_mutex_unlock(&l->lock);
        st = vd_writer_write(&l->writer, l->writing, offset_ns, &err);
        if (st == VD_OK)
            vd_pending_clear(l->writing);
        pthread_mutex_lock(&l->lock);
        l->unwritten = st != VD_OK;
        l->stats.n_flushes += st == VD_OK;
        l->stats.n_failures += st != VD_OK;
    }
    l->stats.n_windows = l->writer.n_windows;
    l->stats.n_requests = l->writer.n_requests;
    l->stats.session = l->writer.session;
    l->failure = st == VD_OK ? (vd_err){0} : err;
    l->done = asked;
    pthread_cond_broadcast(&l->written);
}

static void *thread_main(void *arg)
{
    vd_ledger *l = arg;
    uint64_t failed_ns = 0;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        uint64_t due = due_ns(l, failed_ns), now = vd_now_ns();
        if (due == UINT64_MAX) {
            pthread_cond_wait(&l->wake, &l->lock);
            continue;
        }
        if (due > now) {
            struct timespec until = at(due);
            pthread_cond_timedwait(&l->wake, &l->lock, &until);
            continue;
        }
        bool ending = l->ending;
        flush_once(l);
        failed_ns = vd_now_ns();
        if (ending)
            break;
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- opening and closing ---------------------------------------------------------------------*/

static vd_status open_file(vd_ledger *l, bool lazy, vd_err *err)
{
    vd_err why = {0};
    vd_status st = vd_writer_open(&l->writer, &why);
    if (st == VD_OK)
        l->stats.session = l->writer.session;
    /* What is no ledger, or one of the future, stays so; the rest may pass. */
    bool passes = st == VD_ERR_IO || st == VD_ERR_PERM || st == VD_ERR_BUSY;
    if (st != VD_OK && lazy && passes) {
        l->failure = why;
        l->stats.n_failures++;
        return VD_OK;
    }
    if (st != VD_OK && err != NULL)
        *err = why;
    return st;
}

static void init_sync(vd_ledger *l)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, &monotonic);
    pthread_cond_init(&l->written, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

vd_status vd_ledger_open(const vd_ledger_options *o, vd_ledger **ret_ledger, vd_err *err)
{
    vd_ledger *l = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*l), "the ledger", &l, err);
    if (st != VD_OK)
        return st;
    init_sync(l);
    l->flush_ns = o->flush_ns != 0 ? o->flush_ns : NS_PER_S;
    l->idle_ns = o->idle_ns != 0 ? o->idle_ns : 10 * NS_PER_S;
    l->filling = &l->batch[0];
    l->writing = &l->batch[1];
    snprintf(l->intensity.zone, sizeof(l->intensity.zone), "?");
    l->path = vd_strdup(o->path);
    l->program = vd_strdup(o->program != NULL ? o->program : "?");
    l->method = vd_strdup(o->method != NULL ? o->method : "?");
    if (l->path == NULL || l->program == NULL || l->method == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the ledger");
    for (size_t i = 0; st == VD_OK && i < 2; i++)
        st = vd_pending_init(&l->batch[i], o, err);
    if (st != VD_OK)
        goto out;
    uint64_t now_ns = vd_now_ns(), wall_ns = vd_wall_ns();
    l->wall_offset_ns = wall_ns - now_ns;
    l->writer = (vd_writer){.path = l->path,
                            .program = l->program,
                            .method = l->method,
                            .pue = o->pue > 0 ? o->pue : 1,
                            .begin_ns = wall_ns,
                            .mono_ns = now_ns};
    st = open_file(l, o->lazy, err);
    if (st != VD_OK)
        goto out;
    int failed = pthread_create(&l->thread, NULL, thread_main, l);
    if (failed != 0) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "cannot start the ledger's thread: %s", strerror(failed));
        goto out;
    }
    l->has_thread = true;
    *ret_ledger = l;
    l = NULL;
out:
    vd_ledger_close(l);
    return st;
}

void vd_ledger_close(vd_ledger *l)
{
    if (l == NULL)
        return;
    if (l->has_thread) {
        pthread_mutex_lock(&l->lock);
        l->ending = true;
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
        if (!l->unwritten) /* else the books are not complete, and the session is not clean */
            (void)!vd_writer_end(&l->writer, vd_now_ns() + l->wall_offset_ns, NULL);
    }
    vd_writer_close(&l->writer);
    for (size_t i = 0; i < 2; i++)
        vd_pending_done(&l->batch[i]);
    pthread_cond_destroy(&l->wake);
    pthread_cond_destroy(&l->written);
    pthread_mutex_destroy(&l->lock);
    vd_free(l->path);
    vd_free(l->program);
    vd_free(l->method);
    vd_free(l);
}

/* ---- what comes in ---------------------------------------------------------------------------*/

/* The thread is woken where it sleeps without end, or longer than this batch may wait. */
static void wake_for(vd_ledger *l, bool was_empty, bool was_busy)
{
    if (was_empty || (l->filling->busy && !was_busy) || vd_pending_is_full(l->filling))
        pthread_cond_signal(&l->wake);
}

/* The wall clock may be set while the service runs; the rows' lengths are of the other clock. */
static void follow_wall_clock(vd_ledger *l)
{
    uint64_t offset = vd_wall_ns() - vd_now_ns();
    if (VD_MAX(offset, l->wall_offset_ns) - VD_MIN(offset, l->wall_offset_ns) > jump_ns)
        l->wall_offset_ns = offset;
}

void vd_ledger_on_window(void *ledger, const vd_window *window)
{
    vd_ledger *l = ledger;
    pthread_mutex_lock(&l->lock);
    bool empty = l->filling->first_ns == 0, busy = l->filling->busy;
    follow_wall_clock(l);
    vd_pending_window(l->filling, window, l->wall_offset_ns, &l->intensity);
    wake_for(l, empty, busy);
    pthread_mutex_unlock(&l->lock);
}

void vd_ledger_on_settled(void *ledger, uint64_t request_id, const vd_energy *energy)
{
    vd_ledger *l = ledger;
    pthread_mutex_lock(&l->lock);
    bool empty = l->filling->first_ns == 0, busy = l->filling->busy;
    vd_pending_settled(l->filling, request_id, energy);
    wake_for(l, empty, busy);
    pthread_mutex_unlock(&l->lock);
}

void vd_ledger_sequence_ended(vd_ledger *l, const vd_ledger_sequence *sequence)
{
    pthread_mutex_lock(&l->lock);
    bool empty = l->filling->first_ns == 0, busy = l->filling->busy;
    vd_pending_sequence(l->filling, sequence);
    wake_for(l, empty, busy);
    pthread_mutex_unlock(&l->lock);
}

uint64_t vd_ledger_next_answer(vd_ledger *l)
{
    pthread_mutex_lock(&l->lock);
    uint64_t number = ++l->next_answer;
    pthread_mutex_unlock(&l->lock);
    return number;
}

void vd_ledger_answer_ended(vd_ledger *l, const vd_ledger_answer *answer)
{
    pthread_mutex_lock(&l->lock);
    bool empty = l->filling->first_ns == 0, busy = l->filling->busy;
    vd_pending_answer(l->filling, answer);
    wake_for(l, empty, busy);
    pthread_mutex_unlock(&l->lock);
}

void vd_ledger_set_intensity(vd_ledger *l, const vd_ledger_intensity *intensity)
{
    pthread_mutex_lock(&l->lock);
    l->intensity = *intensity;
    pthread_mutex_unlock(&l->lock);
}

/* ---- the state of the books ------------------------------------------------------------------*/

vd_status vd_ledger_flush(vd_ledger *l, uint64_t wait_ns, vd_err *err)
{
    struct timespec until = at(vd_now_ns() + wait_ns);
    vd_status st = VD_OK;
    pthread_mutex_lock(&l->lock);
    uint64_t mine = ++l->asked;
    pthread_cond_signal(&l->wake);
    int code = 0;
    while (l->done < mine && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&l->written, &l->lock, &until);
    if (l->done < mine) {
        st = VD_FAIL(err, VD_ERR_BUSY, "%s: the ledger is still being written", l->path);
    } else if (l->failure.status != VD_OK) {
        st = l->failure.status;
        if (err != NULL)
            *err = l->failure;
    }
    pthread_mutex_unlock(&l->lock);
    return st;
}

void vd_ledger_stats_get(vd_ledger *l, vd_ledger_stats *ret)
{
    pthread_mutex_lock(&l->lock);
    *ret = l->stats;
    ret->folded_uj += l->filling->folded_uj;
    ret->n_folded += l->filling->n_folded;
    uint64_t oldest = l->unwritten ? l->unwritten_ns : l->filling->first_ns, now = vd_now_ns();
    ret->lag_ns = oldest != 0 && now > oldest ? now - oldest : 0;
    snprintf(ret->failure, sizeof(ret->failure), "%s", l->failure.message);
    pthread_mutex_unlock(&l->lock);
}

const char *vd_ledger_path(const vd_ledger *l)
{
    return l->path;
}
