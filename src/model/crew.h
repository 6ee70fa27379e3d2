/*
 * crew.h - how many threads of a pool the small batches of decoding run on, found out by measuring.
 *
 * The layers of a small model are so short that a second thread may cost more than it brings; and
 * where another process has a core, the threads of every step wait for the one that stands in line
 * for it: two threads are then slower than one. Both show in the time of a step, so a crew tries
 * another number of threads for a few steps now and then and keeps what was faster. On a quiet
 * machine it hardly tries: only many long waits at barriers (base/pool.h) are a reason to.
 *
 * Results do not depend on the number of threads. Single-owner, as the pool.
 */
#ifndef VD_MODEL_CREW_H
#define VD_MODEL_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of batches of about one size. */
typedef struct vd_crew {
    size_t n_max;     /* threads of the pool */
    size_t n_use;     /* what is known to be best, 1 .. n_max */
    size_t n_try;     /* what is being tried, 0: nothing */
    double step_ns;   /* of a step on n_use threads, lately */
    double try_ns;    /* of the steps of the trial, added up */
    unsigned n_steps; /* that step_ns knows of, or of the trial */
    unsigned pause;   /* steps until the next trial */
    unsigned backoff; /* the pause after a trial that found nothing */
    unsigned n_lost;  /* trials of fewer threads that lost, one after the other: go further down */
    unsigned n_long, n_since; /* long waits, and steps, since the last trial */
    bool exploring;   /* fewer threads are tried without a reason until that loses */
    bool tried_all;   /* the last trial was of all threads */
} vd_crew;

/* explore: nobody said how many threads, so that fewer are tried from the start. */
void vd_crew_init(vd_crew *crew, size_t n_max, bool explore);
/* On how many threads the next step shall run. */
size_t vd_crew_size(const vd_crew *crew);
/* That step took so long, and its threads waited long so often. */
void vd_crew_note(vd_crew *crew, uint64_t step_ns, unsigned n_long_waits);

#endif
