/*
 * sampler.h - the thread behind every slow source, and the mailbox between it and the meter.
 *
 *     sampler thread                        the meter's thread
 *     sample(self) may block                read: takes what lies in the mailbox, never waits
 *          |  uj, gap, why                       ^  for a device
 *          +------------> mailbox (lock) --------+
 *
 * The thread wakes every `period_ns`, and less often where a sample costs it so much CPU time that
 * it would use more than VD_SAMPLER_CPU_PCT of one core. A sample that does not come for ten
 * periods (at least two seconds) is a gap; when it comes at last, so is what it brings, for nobody
 * knows when that was used.
 *
 * Closing waits for a sample that is under way, but not longer than two seconds: a thread whose
 * driver hangs is left to itself, and frees everything when the driver comes back.
 *
 * Inside src/energy/sources only. Locks: one, held for a copy of a few words, never in `sample`.
 */
#ifndef VD_ENERGY_SOURCES_SAMPLER_H
#define VD_ENERGY_SOURCES_SAMPLER_H

#include <stdatomic.h>

#include "energy/sources/channel.h"
#include "energy/sources/source.h"

enum { VD_SAMPLER_CPU_PCT = 2 };

typedef struct vd_sampler_plan {
    /* Fills *sample, which is {0}: what was used since the call before. Always one at a time. */
    void (*sample)(void *self, uint64_t now_ns, vd_sample *sample);
    void (*free)(void *self); /* when the thread has ended */
    void *self;               /* moves to the sampler when vd_sampler_start succeeds */
    uint64_t period_ns;
    bool may_begin_lost;   /* else a first sample that is lost is VD_ERR_IO */
    atomic_bool *stopping; /* NULL, or set when the source is being closed: for samples that wait */
} vd_sampler_plan;

/* Takes a first sample on the calling thread, starts the other, and copies `source` (all but ops
 * and self filled) to *ret_source. With env->sample_in_read there is no thread. VD_ERR_IO and
 * VD_ERR_NOMEM leave plan->self the caller's. */
VD_NODISCARD vd_status vd_sampler_start(const vd_sampler_plan *plan, const vd_source_env *env,
                                        const vd_source *source, vd_source *ret_source,
                                        vd_err *err);

#endif
