/*
 * feed.h - the grid feed: one background thread that keeps what a provider says, and answers from
 * memory at once.
 *
 *   provider ──► thread: ask, wait (period, Retry-After, or backoff with jitter) ──► series
 *                                                           vd_feed_at ◄── account, ledger, API
 *
 * Before the first value came the fallback zone of the built-in table stands in. When the source
 * fails, the last known value stays, `stale` once its time is over. The tags of the answer say
 * which of these it was.
 *
 * Threads: any, but open and close. The lock is a leaf: it may be taken under any other, and no
 * callback is made under it.
 */
#ifndef VD_CARBON_FEED_H
#define VD_CARBON_FEED_H

#include "carbon/provider.h"

typedef struct vd_feed vd_feed;

typedef struct vd_feed_state {
    const char *provider; /* borrowed from the feed */
    bool has_thread;      /* false: only the table */
    bool failing;         /* the last attempt failed */
    uint64_t n_asked, n_failed;
    int64_t last_good_s;  /* Unix time of the last good answer; 0: none yet */
    int64_t next_s;       /* when it asks next */
    char why[VD_ERR_MESSAGE_MAX]; /* of the last failure; "" when it did not fail. No secret */
    char note[VD_ERR_MESSAGE_MAX]; /* vd_provider_note of the last good answer */
} vd_feed_state;

typedef struct vd_feed_options {
    vd_provider *provider;  /* taken, also on failure; NULL: only the table */
    const vd_zone *zone;    /* the fallback; NULL: the world */
    uint32_t period_s;      /* between two good answers; 0: 300 */
    size_t keep;            /* past values kept; 0: 2,016 (a week of five minutes) */
    /* The feed began or ceased to fail; on its thread, without a lock. NULL: nobody is told. */
    void (*on_change)(void *ctx, const vd_feed_state *state);
    void *ctx;
    uint32_t backoff_ms; /* of the first retry; doubles up to the period. 0: 5,000 */
} vd_feed_options;

/* VD_ERR_NOMEM, VD_ERR_IO (no thread). */
VD_NODISCARD vd_status vd_feed_open(const vd_feed_options *options, vd_feed **ret_feed,
                                    vd_err *err);
void vd_feed_close(vd_feed *feed); /* ends a request under way; NULL is a no-op */

/* The intensity at a moment (vd_now_ns), from memory. Never fails. Asked again at once for the same
 * moment it says the same, even when a newer value came. */
vd_intensity vd_feed_at(vd_feed *feed, uint64_t at_ns);
/* The tags of a sum over [from_ns, to_ns): those of the last value, `estimated` and `stale` where
 * any was, `mixed` where kinds differ. Its g_per_kwh is that of to_ns. */
vd_intensity vd_feed_over(vd_feed *feed, uint64_t from_ns, uint64_t to_ns);

void vd_feed_state_get(vd_feed *feed, vd_feed_state *ret_state);
/* What the feed has seen of [from_s, to_s), Unix time, newest versions; vd_free. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_feed_history(vd_feed *feed, int64_t from_s, int64_t to_s,
                                       vd_intensity **ret_values, size_t *ret_n, vd_err *err);

#endif
