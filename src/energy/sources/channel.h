/*
 * channel.h - from what one sensor says to energy that can be trusted.
 *
 * Two kinds of sensor. A *counter* of microjoules only grows; the energy of an interval is the step
 * between two values. A *gauge* of microwatts is integrated by trapezoids:
 *
 *     p0 |\____ p1       energy += (p0 + p1) / 2 x (t1 - t0)
 *        |     |
 *        t0    t1
 *
 * What both share: the first value is where counting begins and no energy; a value that cannot be
 * believed is a gap and no energy; a sensor that goes and comes back is a gap in between.
 *
 * Inside src/energy/sources only. Time is handed in. Threads: single-owner; allocates nothing.
 */
#ifndef VD_ENERGY_SOURCES_CHANNEL_H
#define VD_ENERGY_SOURCES_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <verdant/status.h>

#include "energy/energy.h"

/* What a source saw since it was asked before. */
typedef struct vd_sample {
    uint64_t uj[VD_PART_N];
    bool gap;  /* some of it went unseen; `why` says which and how */
    bool lost; /* a sensor cannot be read now */
    char why[VD_ERR_MESSAGE_MAX];
} vd_sample;

enum { VD_CHANNEL_NAME_MAX = 64 };

typedef struct vd_channel {
    char name[VD_CHANNEL_NAME_MAX]; /* in messages: "GPU 0" */
    vd_part part;                   /* where its energy goes */
    double most_w;                  /* more than this is not believed */
    uint64_t slack_uj; /* counter: a step may be this much larger (coarse or late counters) */
    uint64_t stuck_ns; /* counter: standing still this long is a gap; 0: never */
    uint64_t most_ns;  /* gauge: readings further apart say nothing of what lay between; a counter
                        * has 0 */
    bool never_zero;   /* gauge: 0 W is a sensor that does not work */
    /* State, {0} at first. */
    bool started, missing;
    uint64_t last;     /* microjoules or microwatts */
    uint64_t last_ns;  /* when it was read */
    uint64_t moved_ns; /* counter: when it last moved */
    uint64_t rest_fj;  /* gauge: twice the femtojoules below one microjoule */
} vd_channel;

/* The sensor said `value`. Adds what was used to sample->uj[part], or reports a gap. */
void vd_channel_counter(vd_channel *channel, uint64_t now_ns, uint64_t value_uj, vd_sample *sample);
void vd_channel_gauge(vd_channel *channel, uint64_t now_ns, uint64_t value_uw, vd_sample *sample);

/* The counter's device is known to be alive, though its value is the same as before. */
void vd_channel_alive(vd_channel *channel, uint64_t now_ns);

/* The device sleeps, draws nothing and was not asked, for that would wake it: 0 W of a gauge, and a
 * counter may stand still. */
void vd_channel_asleep(vd_channel *channel, uint64_t now_ns, vd_sample *sample);

/* The sensor said nothing, for this reason. A counter remembers its value, so that what was used
 * meanwhile is counted when it comes back (and reported as a gap); a gauge starts anew. */
void vd_channel_fail(vd_channel *channel, vd_sample *sample, const char *fmt, ...) VD_PRINTF(3, 4);

/* The next value is a beginning: what lies between belongs to another device or direction. */
void vd_channel_restart(vd_channel *channel);

#endif
