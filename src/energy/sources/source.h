/*
 * source.h - one meter among several: what the meter (meter.h) asks of each.
 *
 * A source counts energy of some components since it was opened. Fast ones (RAPL) are read in
 * microseconds and are exact at the moment of reading. Slow ones (a GPU's counter, a battery, an
 * external meter) sample on a thread of their own or keep what they last saw; a reading is then of
 * their last refresh.
 *
 *   cpu dram gpu        host sources cover cpu (and dram), GPU sources gpu; a whole-machine source
 *   [ rapl ] [nvml]     (battery, power supply, plug) covers all three, counts everything as cpu
 *   [ battery      ]    (it cannot tell them apart) and is never added to others
 *
 * Threads: a source belongs to its meter; `read` never blocks and never allocates.
 */
#ifndef VD_ENERGY_SOURCES_SOURCE_H
#define VD_ENERGY_SOURCES_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "energy/energy.h"
#include "energy/rapl/rapl.h"

typedef struct vd_source vd_source;

enum {
    VD_SOURCE_NAME_MAX = 48,
    VD_SOURCE_WHOLE = 1 << VD_PART_CPU | 1 << VD_PART_DRAM | 1 << VD_PART_GPU /* vd_source.parts */
};

/* `source` is the struct that open filled, wherever its owner has moved it: its own data is `self`,
 * and lost_since_ns and last_gap are there to be written. */
typedef struct vd_source_ops {
    /* Adds to uj[] what was used since the read before (the first: since opening). False: some of
     * it went unseen (a gap; source->last_gap says why), and what was seen is still added. */
    bool (*read)(vd_source *source, uint64_t now_ns, uint64_t uj[VD_PART_N]);
    void (*close)(vd_source *source);
    /* The counters it reads and those it saw and does not add, for people; at most `max`. Returns
     * how many. NULL: it has no parts to show. */
    size_t (*zones)(const vd_source *source, vd_rapl_zone_info *ret_zone, size_t max);
} vd_source_ops;

/* Open struct, filled by a vd_source_..._open. */
struct vd_source {
    const vd_source_ops *ops; /* NULL: no source */
    void *self;
    const char *method;            /* "rapl", "nvml", "hwmon", ...; static: the API's `method` */
    char name[VD_SOURCE_NAME_MAX]; /* which one, for people: "nvml: 2 GPUs" */
    unsigned parts;                /* bit 1 << vd_part for each component it covers */
    uint64_t refresh_ns;           /* 0: exact at the moment of reading; else its period */
    /* +- percent (90 %), in two parts: common to all figures of this machine and method (cancels in
     * a ratio), and independent from figure to figure. */
    double common_pct, independent_pct;
    /* The same by component, where by_part: a model knows its parts unequally well. */
    bool by_part;
    double part_common_pct[VD_PART_N], part_independent_pct[VD_PART_N];
    uint64_t lost_since_ns; /* 0, or since when it cannot be read: the meter may look elsewhere */
    char last_gap[VD_ERR_MESSAGE_MAX]; /* "" when none */
    char note[VD_ERR_MESSAGE_MAX]; /* to know beside the figures: "the memory is not in them"; "" */
};

/* What every vd_source_..._open gets; borrowed for the call, but for the callbacks and ctx. */
typedef struct vd_source_env {
    const char *sysfs; /* root of /sys */
    const char *spec;  /* what stands behind "NAME:" in the configuration, or "" */
    uint64_t now_ns;
    /* For tests, with a clock of theirs: no thread is started, each read takes a sample at its
     * now_ns. */
    bool sample_in_read;
    int (*open_file)(void *ctx, const char *path); /* for tests; NULL: open(2), read only */
    /* A counter of the perf event PMU `type`, on one CPU; see sources/perf_group.h. For tests;
     * NULL: perf_event_open(2). */
    int (*open_perf)(void *ctx, uint32_t type, uint64_t config, int cpu, int group);
    void *ctx;
} vd_source_env;

/* VD_ERR_NOT_FOUND where the machine has none, VD_ERR_PERM where it may not be read (the message
 * says what to do), VD_ERR_FORMAT where it is malformed, VD_ERR_ARG for a spec that is none.
 * ret_source untouched on failure. */
typedef vd_status (*vd_source_open_fn)(const vd_source_env *env, vd_source *ret_source,
                                       vd_err *err);

#endif
