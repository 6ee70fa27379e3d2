/*
 * residents.h - the requests that are in the engine, by id. Inside src/energy only.
 *
 * A dense array to walk over and a hash table (linear probing, at most half full, deletion by
 * shifting back) to find by id. All memory at init; the account's lock guards it.
 */
#ifndef VD_ENERGY_RESIDENTS_H
#define VD_ENERGY_RESIDENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "energy/energy.h"

typedef struct vd_resident {
    uint64_t id;
    uint64_t total_uj; /* exact; the doubles below say how to cut it in the end */
    int64_t carry;     /* see split.h */
    double prefill_uj, decode_uj, idle_uj, part_uj[VD_PART_N];
    double unsure_uj; /* of the active ones, 90 %: what the coefficients may have got wrong */
    double operational_ug;
    uint64_t machine_time; /* fixed-point ns */
    uint64_t from_ns;      /* when the first window that it paid for began; 0: none yet */
    uint64_t grain_ns;     /* the meter's, the coarsest it was paid by */
    const char *method;    /* of all its windows */
    bool saw_gap;
    double common_pct, independent_pct; /* the meter's */
    bool departed; /* left, and its last window is still open */
    uint64_t told_uj, told_before_uj; /* then: its estimate, and what of it was settled */
    /* of the window: */
    uint64_t prefill_weight, decode_weight; /* its shares of steps, fixed-point ns */
    uint64_t clock_from;                    /* the clock of speed 1/n when it came */
    uint64_t clock_until;                   /* and, departed, when it left */
    /* of the step that runs now: */
    uint32_t running;                  /* model + 1; 0: none */
    double prefill_part, decode_part;  /* its parts of that step's time */
} vd_resident;

typedef struct vd_residents {
    vd_resident *item; /* [n] of [capacity] */
    uint32_t *slot;    /* index + 1 into item, 0 = empty; [mask + 1] */
    size_t n, capacity, mask;
} vd_residents;

VD_NODISCARD vd_status vd_residents_init(vd_residents *residents, size_t capacity, vd_err *err);
void vd_residents_done(vd_residents *residents);

/* Borrowed until the next add or remove; NULL when it is not there. */
vd_resident *vd_residents_find(vd_residents *residents, uint64_t id);
/* Zeroed but for its id. It is not there yet, and n < capacity. */
vd_resident *vd_residents_add(vd_residents *residents, uint64_t id);
/* It is there. The last item takes its place. */
void vd_residents_remove(vd_residents *residents, uint64_t id);

#endif
