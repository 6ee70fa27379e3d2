/*
 * resettle.h - when the source of an intensity has said its last word: shares that were booked with
 * an estimate get the final value beside it, and requests their grams anew. The first values stay.
 *
 * Idempotent: a second time with the same values changes nothing. Beside a service that writes.
 */
#ifndef VD_ENERGY_LEDGER_RESETTLE_H
#define VD_ENERGY_LEDGER_RESETTLE_H

#include "energy/ledger/db.h"
#include "energy/ledger/ledger.h"

/* What a final value may replace: booked with an estimate, or with a value past its time. */
typedef struct vd_resettle_need {
    int64_t from_s, to_s; /* slots; 0, 0: nothing */
    uint64_t n_shares;
    uint64_t n_open; /* of which there is no final value yet */
} vd_resettle_need;

/* [since_s, until_s), grown to slots; 0: from the beginning, to the end. */
VD_NODISCARD vd_status vd_resettle_look(sqlite3 *db, int64_t since_s, int64_t until_s,
                                        vd_resettle_need *ret_need, vd_err *err);

typedef struct vd_resettle_done {
    uint64_t n_shares, n_requests; /* changed */
    double first_ug, final_ug;     /* of these requests, before PUE */
} vd_resettle_done;

/* Books `values` (not estimated, with from_s and to_s; none overlapping) where zone, kind, scope,
 * basis, boundary and source are those that the share was booked with. One transaction. */
VD_NODISCARD vd_status vd_resettle_apply(sqlite3 *db, int64_t since_s, int64_t until_s,
                                         const vd_ledger_intensity *values, size_t n,
                                         vd_resettle_done *ret_done, vd_err *err);

#endif
