/*
 * meter.h - how much energy the machine has used since the meter was opened.
 *
 * The sum of one or more sources that do not overlap (sources/source.h), and a model of the machine
 * for what they do not cover. The counters only grow. What could not be read is never zero: the
 * reading says `gap`, and whoever shares the energy out must leave that interval unattributed.
 *
 * Threads: single-owner; a vd_account locks the meter it borrows.
 */
#ifndef VD_ENERGY_METER_H
#define VD_ENERGY_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "energy/energy.h"
#include "energy/rapl/filtering.h"
#include "energy/power/machine.h"
#include "energy/rapl/rapl.h"

enum { VD_METER_SOURCES_MAX = 8, VD_METER_REFUSED_MAX = 12, VD_METER_NAME_MAX = 48 };

typedef struct vd_meter vd_meter;

/* {0} means the defaults. */
typedef struct vd_meter_options {
    const char *sysfs; /* NULL: $VERDANT_SYSFS, else "/sys" */
    const char *spec;  /* which meters, see docs/meters.md; NULL: $VERDANT_METER, else "auto" */
    /* Time and CPU time, for tests. NULL: vd_now_ns and the process's CPU time. */
    uint64_t (*now_ns)(void *ctx);
    uint64_t (*cpu_ns)(void *ctx);
    /* Opens a file for reading, for tests (as root nothing is EACCES). NULL: open(2). */
    int (*open_file)(void *ctx, const char *path);
    /* Opens a perf event counter, for tests; see vd_source_env. */
    int (*open_perf)(void *ctx, uint32_t type, uint64_t config, int cpu, int group);
    void *ctx;
} vd_meter_options;

typedef struct vd_reading {
    uint64_t at_ns;
    uint64_t uj[VD_PART_N]; /* since open, never falls */
    bool gap;               /* since the reading before, some energy went unseen */
    const char *method;     /* "rapl", "model", "rapl+nvml", ...; of the interval since the reading
                             * before; static storage */
    double uncertainty_pct; /* both parts below together: their root mean square sum */
    double common_pct, independent_pct; /* see vd_energy; of sources weighted by their energy */
} vd_reading;

/* "auto" always gives a meter (the model needs nothing of the machine) but for VD_ERR_NOMEM. One
 * that was named and cannot be read is an error (VD_ERR_NOT_FOUND, _PERM, ...), and so is one that
 * is not known (VD_ERR_ARG): nothing else is read instead. */
VD_NODISCARD vd_status vd_meter_open(const vd_meter_options *options, vd_meter **ret_meter,
                                     vd_err *err);
void vd_meter_close(vd_meter *meter); /* NULL is a no-op */

/* A few microseconds per zone; allocates nothing; cannot fail, but can report a gap. */
void vd_meter_read(vd_meter *meter, vd_reading *ret_reading);

typedef struct vd_meter_source {
    const char *method;
    char name[VD_METER_NAME_MAX]; /* for people: "rapl by powercap" */
    unsigned parts;               /* bit 1 << vd_part for each component it covers */
    uint64_t refresh_ns;          /* 0: exact at the moment of reading */
    double common_pct, independent_pct;
    uint64_t counted_uj; /* what it has added since the meter was opened */
    bool lost;           /* cannot be read at present */
} vd_meter_source;

/* A meter that `auto` tried before it took another, or none. */
typedef struct vd_meter_refusal {
    const char *name; /* static storage */
    vd_status status;
    char text[VD_ERR_MESSAGE_MAX];
} vd_meter_refusal;

typedef struct vd_meter_info {
    const char *method; /* what vd_meter_read uses now */
    double uncertainty_pct;
    double common_pct, independent_pct;
    uint64_t refresh_ns; /* of the slowest source; 0: readings are of their moment */
    uint64_t idle_uw[VD_PART_N]; /* the model's power of the waiting machine, microwatts */
    bool measured;               /* the processor is counted, not modelled */
    vd_filtering filtering;      /* does the maker blur its counters? It is in the +- percent */
    vd_status why; /* VD_OK when it is; else why not: ERR_NOT_FOUND, ERR_PERM, ERR_IO, ERR_FORMAT */
    char why_text[VD_ERR_MESSAGE_MAX]; /* what is wrong or missing, "" when nothing */
    uint64_t n_gaps;                   /* readings that reported one */
    char last_gap[VD_ERR_MESSAGE_MAX]; /* the zone and what happened, "" when none did */
    size_t n_sources;
    vd_meter_source source[VD_METER_SOURCES_MAX + 1]; /* the model last, where it serves */
    size_t n_refused;
    vd_meter_refusal refused[VD_METER_REFUSED_MAX];
    vd_machine machine; /* what the model knows of the machine */
    vd_power power;     /* and what it makes of that */
    bool calibrated;    /* by a calibration of this machine's processor type */
    char calibration[VD_ERR_MESSAGE_MAX]; /* which, or why one that is there is not used; "" */
    char powercap[VD_RAPL_PATH_MAX]; /* the folder where zones were looked for */
    size_t n_zones; /* of the sources; of powercap where none counts the processor */
    vd_rapl_zone_info zone[VD_RAPL_ZONES_MAX];
} vd_meter_info;

void vd_meter_info_get(const vd_meter *meter, vd_meter_info *ret_info);

#endif
