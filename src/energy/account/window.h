/*
 * window.h - what the account tells whoever keeps its books: each settled window, and each request
 * when its last window is settled.
 *
 *   meter_uj = sum of share[].uj + idle_uj + unattributed_uj,  exactly, in every window
 *   total_uj of a settled request = sum of its shares over all windows, exactly
 */
#ifndef VD_ENERGY_WINDOW_H
#define VD_ENERGY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "energy/energy.h"

typedef struct vd_window_share {
    uint64_t request_id;
    uint64_t uj;
} vd_window_share;

/* Borrowed for the call it is handed to. */
typedef struct vd_window {
    uint64_t begin_ns, end_ns; /* vd_now_ns; a window begins where the one before ended */
    uint64_t meter_uj;
    uint64_t part_uj[VD_PART_N]; /* meter_uj by component */
    uint64_t idle_uj, unattributed_uj;
    const vd_window_share *share; /* those above 0 */
    size_t n_share;
    const char *method; /* static storage */
    double common_pct, independent_pct;
    bool gap; /* the meter failed: all of it is unattributed, and meter_uj may be too low */
} vd_window;

/* All of it under the account's lock: must be quick, must not block, must not call the account. */
typedef struct vd_account_observer {
    void (*on_window)(void *ctx, const vd_window *window);
    /* The final figure of a request, after on_window of its last window. With a fast meter inside
     * vd_account_leave; with a slow one later, and then `energy` replaces what leave returned. */
    void (*on_settled)(void *ctx, uint64_t request_id, const vd_energy *energy);
    /* Grams of CO2e per kWh at a moment (vd_now_ns), asked once per window at its end, and for each
     * estimate: requests then carry operational_ug, the sum over their windows of E_t x I_t. NULL:
     * they carry 0. */
    double (*g_per_kwh)(void *ctx, uint64_t at_ns);
    void *ctx;
} vd_account_observer;

#endif
