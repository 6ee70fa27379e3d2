/*
 * account.h - who pays for which microjoule.
 *
 *   join ---- step ---- step ---- step ---- leave
 *    |  a window: from one settling of the meter to the next  |
 *
 * In every window  sum(requests) + idle + unattributed = meter,  in integer microjoules. The energy
 * above the idle power goes to the requests of the window's steps by exact Shapley shares of an
 * affine step, F/N + a_p*prefill + a_d*decode + a_kv*kv_read; the idle power goes to who is
 * resident, 1/n each, and to `idle` when nobody is. docs/energy.md proves the laws.
 *
 * Threads: locked; any function from any thread. Nothing here allocates but vd_account_create.
 */
#ifndef VD_ENERGY_ACCOUNT_H
#define VD_ENERGY_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/step.h"
#include "energy/energy.h"
#include "energy/meter.h"
#include "energy/window.h"

typedef struct vd_account vd_account;

/* {0} means the defaults. */
typedef struct vd_account_options {
    size_t max_residents; /* requests in the engine at once, queued ones too; 0: 4,096 */
    vd_account_observer observer; /* copied; any callback may be NULL */
} vd_account_options;

/* The meter is borrowed and must outlive the account; nobody else may read it meanwhile. The first
 * window opens now. VD_ERR_NOMEM, VD_ERR_ARG. `options` may be NULL. */
VD_NODISCARD vd_status vd_account_create(vd_meter *meter, const vd_account_options *options,
                                         vd_account **ret_account, vd_err *err);
void vd_account_free(vd_account *account); /* NULL is a no-op */

/* Measures what the machine draws while it only waits, for `duration_ns` (asleep; 500 ms is good),
 * with the model loaded and before the first request. Without it the model's idle power serves
 * until the first quiet seconds have been seen; those refine it in any case. */
void vd_account_measure_idle(vd_account *account, uint64_t duration_ns);

/* The request is resident from now: call it when the engine has accepted it. VD_ERR_EXISTS when it
 * is resident already, VD_ERR_LIMIT above max_residents. */
VD_NODISCARD vd_status vd_account_join(vd_account *account, uint64_t request_id, vd_err *err);

/* After each engine step. The part of a request that is not resident becomes unattributed. */
void vd_account_step(vd_account *account, const vd_step *step);

/* Settles the window and the request, which is resident no more: answered, cancelled and failed
 * ones alike. VD_ERR_NOT_FOUND when it is not resident. */
VD_NODISCARD vd_status vd_account_leave(vd_account *account, uint64_t request_id,
                                        vd_energy *ret_energy, vd_err *err);

/* Settles the window when it is older than a second. Call it about once a second (a timer); that
 * also teaches the account the idle power while nobody is resident. */
void vd_account_tick(vd_account *account);

typedef struct vd_account_totals {
    /* requests_uj + idle_uj + unattributed_uj == meter_uj, always */
    uint64_t meter_uj;        /* settled */
    uint64_t requests_uj;     /* of requests that left and of those still resident */
    uint64_t idle_uj;         /* idle power while nobody was resident */
    uint64_t unattributed_uj; /* other work of the machine, and intervals with a meter gap */
    uint64_t open_uj; /* metered and not yet settled: a step is not finished; not in the above */
    uint64_t part_uj[VD_PART_N]; /* meter_uj by component */
    uint64_t prefill_uj, decode_uj,
        idle_share_uj; /* of requests that left; a part of requests_uj */
    uint64_t n_windows, n_gaps, n_left, n_resident;
    uint64_t idle_uw[VD_PART_N]; /* the idle power in use, microwatts */
    bool idle_measured;
    const char *method; /* of the last window */
    double uncertainty_pct;
} vd_account_totals;

/* Settles nothing: the state at the end of the last window. */
void vd_account_totals_get(vd_account *account, vd_account_totals *ret_totals);

/* The weights in use: nanoseconds of a step's time, and per unit. For doctor, bench and tests. */
typedef struct vd_step_cost {
    double fixed_ns;   /* F: whoever runs, the weights are read once */
    double prefill_ns; /* a_p: per prompt token */
    double decode_ns;  /* a_d: per answer token */
    double kv_read_ns; /* a_kv: per (token, earlier position) pair */
} vd_step_cost;
vd_step_cost vd_account_cost(vd_account *account);

#endif
