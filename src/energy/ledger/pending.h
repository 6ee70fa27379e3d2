/*
 * pending.h - what came in and is not yet written: one batch, which becomes one transaction.
 *
 * Of fixed size. Windows are merged into the last row while they are alike; when a pool is full,
 * rows are merged all the same and detail goes, never a microjoule:
 *
 *   windows full    the last row takes in the next, whatever its slot or method
 *   shares full     the share goes to an entry of the same request, or to request 0
 *   requests full   the request has shares, and no row of its own
 *
 * In every batch, per slot: sum of window.requests_uj = sum of share.uj. Single-owner; ledger.c
 * guards it by its lock.
 */
#ifndef VD_ENERGY_LEDGER_PENDING_H
#define VD_ENERGY_LEDGER_PENDING_H

#include "energy/ledger/ledger.h"

enum { VD_SLOT_S = 300, VD_PENDING_INTENSITIES = 64 };

typedef struct vd_row_window {
    int64_t slot_s;              /* Unix time, a multiple of VD_SLOT_S: where its end lies */
    uint64_t begin_ns;           /* wall clock */
    uint64_t mono_ns, length_ns; /* the clock that never jumps */
    uint64_t meter_uj, part_uj[VD_PART_N], requests_uj, idle_uj, unattributed_uj;
    const char *method;
    double common_pct, independent_pct; /* the largest */
    uint32_t n_merged;
    bool gap;
} vd_row_window;

typedef struct vd_row_share {
    uint64_t request_id, uj;
    int64_t slot_s;
    uint32_t intensity; /* in vd_pending.intensity */
    int32_t next;       /* of the same hash; -1: none */
} vd_row_share;

typedef struct vd_row_request {
    uint64_t request_id;
    bool has_energy, has_sequence; /* the account, the server has told */
    vd_energy energy;              /* settled */
    vd_ledger_sequence sequence;
    int32_t next;
} vd_row_request;

typedef struct vd_pending {
    vd_row_window *window;
    vd_row_share *share;
    vd_row_request *request;
    vd_ledger_answer *answer;
    int32_t *share_bucket, *request_bucket; /* n_buckets each; -1: empty */
    vd_ledger_intensity intensity[VD_PENDING_INTENSITIES];
    size_t n_windows, n_shares, n_requests, n_answers, n_intensities, n_buckets;
    size_t max_windows, max_shares, max_requests;
    uint64_t first_ns;  /* when the oldest came, vd_now_ns; 0: empty */
    bool busy;          /* holds more than idle windows */
    uint64_t folded_uj; /* of share entries of request 0 */
    uint64_t n_folded;  /* requests and answers that found no room */
} vd_pending;

VD_NODISCARD vd_status vd_pending_init(vd_pending *pending, const vd_ledger_options *options,
                                       vd_err *err);
void vd_pending_done(vd_pending *pending);
void vd_pending_clear(vd_pending *pending);

/* `wall_offset_ns` added to vd_now_ns gives the wall clock. */
void vd_pending_window(vd_pending *pending, const vd_window *window, uint64_t wall_offset_ns,
                       const vd_ledger_intensity *intensity);
void vd_pending_settled(vd_pending *pending, uint64_t request_id, const vd_energy *energy);
void vd_pending_sequence(vd_pending *pending, const vd_ledger_sequence *sequence);
void vd_pending_answer(vd_pending *pending, const vd_ledger_answer *answer);
/* So full that it should be written before its time. */
bool vd_pending_is_full(const vd_pending *pending);

#endif
