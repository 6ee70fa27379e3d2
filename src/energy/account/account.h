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
 * A fast meter is exact at the moment of reading: a leave closes the window and its bill is final.
 * With a slow one (vd_meter_info.refresh_ns > 0) windows last at least a second and ten refreshes;
 * a leave gives an estimate with settled = false, and observer.on_settled the exact bill later.
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
#include "energy/account/window.h"

typedef struct vd_account vd_account;

/* Steps of models numbered higher share the last one's coefficients; of several of them that run at
 * once the one that began first counts as announced. */
enum { VD_ACCOUNT_MODELS_MAX = 32 };

/* {0} means the defaults. */
typedef struct vd_account_options {
    size_t max_residents; /* requests in the engine at once, queued ones too; 0: 4,096 */
    vd_account_observer observer; /* copied; any callback may be NULL */
    uint64_t refresh_ns; /* takes the meter for this slow; 0: as slow as it says */
} vd_account_options;

/* The meter is borrowed and must outlive the account; nobody else may read it meanwhile. The first
 * window opens now. VD_ERR_NOMEM, VD_ERR_ARG. `options` may be NULL. */
VD_NODISCARD vd_status vd_account_create(vd_meter *meter, const vd_account_options *options,
                                         vd_account **ret_account, vd_err *err);
/* Settles the last window, which the observer and the meter must still be there for. NULL is a
 * no-op. */
void vd_account_free(vd_account *account);

/* Measures what the machine draws while it only waits, for `duration_ns` (asleep; 500 ms is good),
 * with the model loaded and before the first request. Without it the model's idle power serves
 * until the first quiet seconds have been seen; those refine it in any case. A slow meter needs ten
 * refreshes: where they would take more than three seconds, nothing is measured now. */
void vd_account_measure_idle(vd_account *account, uint64_t duration_ns);

/* The request is resident from now: call it when the engine has accepted it. VD_ERR_EXISTS when it
 * is resident already or its last window is still open; VD_ERR_LIMIT above max_residents, of which
 * those that left an open window are a part as long as others have room: when there is none, the
 * window closes early. */
VD_NODISCARD vd_status vd_account_join(vd_account *account, uint64_t request_id, vd_err *err);

/* Before each engine step (end_ns is not looked at). May be left out where one engine steps at a
 * time; with it, steps of several engines at once share the machine's time fairly. */
void vd_account_step_begin(vd_account *account, const vd_step *step);
/* After each engine step. The part of a request that is not resident becomes unattributed, but of
 * one that left a window still open: it pays. */
void vd_account_step(vd_account *account, const vd_step *step);

/* The request is resident no more: answered, cancelled and failed ones alike. With a fast meter it
 * is settled; with a slow one *ret_energy is an estimate with settled = false. VD_ERR_NOT_FOUND
 * when it is not resident. */
VD_NODISCARD vd_status vd_account_leave(vd_account *account, uint64_t request_id,
                                        vd_energy *ret_energy, vd_err *err);

/* Settles the window when it is older than a second. Call it about once a second (a timer); that
 * also teaches the account the idle power while nobody is resident. */
void vd_account_tick(vd_account *account);

/* Settles the window now, however young. */
void vd_account_flush(vd_account *account);

typedef struct vd_account_totals {
    /* requests_uj + idle_uj + unattributed_uj == meter_uj, always */
    uint64_t meter_uj;        /* settled */
    uint64_t requests_uj;     /* of requests that left and of those still resident */
    uint64_t idle_uj;         /* idle power while nobody was resident */
    uint64_t unattributed_uj; /* other work of the machine, and intervals with a meter gap */
    uint64_t open_uj; /* metered and not yet settled: a step is not finished; not in the above */
    uint64_t part_uj[VD_PART_N]; /* meter_uj by component */
    uint64_t prefill_uj, decode_uj,
        idle_share_uj; /* of requests that left and are settled; a part of requests_uj */
    uint64_t left_uj[VD_PART_N]; /* the same by component */
    uint64_t n_windows, n_gaps, n_left, n_resident; /* n_left: and are settled */
    uint64_t n_departed; /* left, and their window is still open */
    uint64_t idle_uw[VD_PART_N]; /* the idle power in use, microwatts */
    bool idle_measured;
    const char *method; /* of the last window */
    double uncertainty_pct;
} vd_account_totals;

/* Settles nothing: the state at the end of the last window. */
void vd_account_totals_get(vd_account *account, vd_account_totals *ret_totals);

/* The weights in use: nanoseconds of a step's time, and per unit. Times active_w: nanojoules. */
typedef struct vd_step_cost {
    double fixed_ns;   /* F: whoever runs, the weights are read once */
    double prefill_ns; /* a_p: per prompt token */
    double decode_ns;  /* a_d: per answer token */
    double kv_read_ns; /* a_kv: per (token, earlier position) pair */
    double miss_pct;   /* root mean square of how far steps were from this; 0: unknown */
    double bias_pct;   /* the same of the means of kinds of steps: its noise averaged out */
    uint64_t n_steps;  /* seen; 0: nothing here was measured */
    double active_w;   /* of the whole machine above its idle power, in about the last ten seconds
                        * of steps of all models; 0: unknown */
} vd_step_cost;
vd_step_cost vd_account_cost(vd_account *account, uint32_t model);

#endif
