/*
 * account_state.h - what the files of the account share. Inside src/energy only.
 *
 *   account.c   the functions of account.h, under the lock
 *   weigh.c     steps and residents become weights of the window: nanoseconds of machine time
 *   idle.c      how much of a window is the machine that waits
 *   settle.c    a window closes: its energy is cut and handed out by weight
 *   bill.c      what a request that left has to answer for, known or estimated
 *
 * Two clocks run beside the time of day, in fixed-point nanoseconds and from 0 in every window:
 * `clock` at the speed 1/(requests present), `busy` at the speed 1/(announced steps running). Read
 * at both ends of a stay or of a step, they give everyone an equal part of every nanosecond without
 * visiting anyone when something changes (virtual time; Parekh and Gallager 1993).
 */
#ifndef VD_ENERGY_ACCOUNT_STATE_H
#define VD_ENERGY_ACCOUNT_STATE_H

#include <pthread.h>

#include "energy/account/account.h"
#include "energy/account/cost.h"
#include "energy/account/residents.h"
#include "energy/account/split.h"

enum {
    VD_CLOCK_BITS = 10, /* of fraction, below a nanosecond */
    VD_PART_BITS = 40,  /* of fraction, of parts of a step */
    VD_REFRESHES = 10,  /* of a slow meter in a window, at least */
    VD_QUIET_N = 15     /* quiet windows whose median is the idle power */
};

/* 90 % of a normal error lie within so many standard deviations. */
#define VD_Z90 1.645

/* One engine's steps. */
typedef struct vd_stepper {
    vd_cost_fit cost;
    bool running;       /* a step was announced and has not ended */
    uint32_t model;     /* whose it is: the last stepper serves several */
    bool stepped;       /* some of its work is in this window */
    uint64_t busy_from; /* the busy clock when the step began, or the window */
    uint64_t stranger;  /* the part of the running step whose requests are not here */
} vd_stepper;

struct vd_account {
    pthread_mutex_t lock;
    /* guarded by lock: */
    vd_meter *meter;
    bool opened;
    uint64_t refresh_ns; /* 0: the meter is fast, and a leave closes the window */
    uint64_t refresh_option_ns;
    vd_residents residents;
    size_t n_departed;      /* among them */
    vd_split_entry *entry;  /* room for all residents, `idle` and `unattributed` */
    vd_window_share *share; /* room for all residents */
    vd_account_observer observer;
    vd_stepper stepper[VD_ACCOUNT_MODELS_MAX];
    size_t n_running; /* steppers that run */
    vd_account_totals totals;

    /* the window */
    vd_reading start, mark;   /* its first reading; at the end of its last step */
    uint64_t n_steps;         /* ended in it */
    bool gap;                 /* some reading inside reported one */
    uint64_t open_uj[VD_PART_N]; /* active energy of the step that the window before cut */
    uint64_t clock, busy;     /* see above */
    uint64_t clock_ns;        /* the time at which both stand */
    uint64_t empty;           /* time with nobody present, fixed-point ns */
    uint64_t stranger_weight; /* of step shares whose request is not here */
    int64_t idle_carry, unattributed_carry;

    bool loading; /* this window teaches nothing about waiting */
    uint64_t quiet_uw[VD_QUIET_N][VD_PART_N]; /* a ring */
    size_t n_quiet, next_quiet;
    uint64_t model_idle_uw[VD_PART_N];

    /* Active energy and the machine time of its steps, of about the last ten seconds of steps. */
    double recent_uj[VD_PART_N], recent_ns;
    /* Of estimates against what was settled: mean square of (settled - told) / settled. */
    double estimate_miss;
    uint64_t n_estimates;
    double recent_square; /* sum of (active energy of a window)^2 / its machine time */
};

static inline size_t vd_account_n_present(const vd_account *a)
{
    return a->residents.n - a->n_departed;
}

/* A sum of such does not depend on the order. */
static inline uint64_t vd_account_fixed_part(double part)
{
    return (uint64_t)(part * (double)(UINT64_C(1) << VD_PART_BITS));
}

bool vd_reading_is_model(const vd_reading *reading);

/* weigh.c: moves both clocks to `now_ns`, which may be past; before every change of who is present
 * or runs, and every settling. */
void vd_account_move_clocks(vd_account *account, uint64_t now_ns);
void vd_account_begin_step(vd_account *account, const vd_step *step);
void vd_account_end_step(vd_account *account, const vd_step *step);
/* Weighs what the running steps did so far in this window; says whether that is anything. */
bool vd_account_cut_steps(vd_account *account);

/* idle.c: the idle part of `metered` microjoules in `ns`; what a quiet window teaches. */
uint64_t vd_account_idle_part(const vd_account *account, const vd_reading *now, vd_part part,
                              uint64_t metered, uint64_t ns);
void vd_account_learn_idle(vd_account *account, const vd_reading *now);

/* settle.c: closes the window at `now` and opens the next. `others_stay`: somebody present remains,
 * so a step that nobody announced may be running. Who departed can be billed after it. */
void vd_account_settle(vd_account *account, const vd_reading *now, bool others_stay);

/* bill.c: the exact bill of who is settled; the probable one of who leaves an open window. */
void vd_account_bill(const vd_resident *resident, const vd_reading *now, vd_energy *ret_energy);
void vd_account_estimate(const vd_account *account, vd_resident *resident, const vd_reading *now,
                         vd_energy *ret_energy);
/* Bills everyone who departed and lets them go; the bill of `id` also to *ret_energy, unless that
 * is NULL. */
void vd_account_release(vd_account *account, const vd_reading *now, uint64_t id,
                        vd_energy *ret_energy);

#endif
