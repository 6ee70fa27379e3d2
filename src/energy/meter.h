/*
 * meter.h - how much energy the machine has used since the meter was opened.
 *
 * RAPL through the powercap tree where it can be read, else a model of the machine. The counters
 * only grow. What could not be read is never zero: the reading says `gap`, and whoever shares the
 * energy out must leave that interval unattributed.
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
#include "energy/machine.h"
#include "energy/rapl.h"

typedef struct vd_meter vd_meter;

/* {0} means the defaults. */
typedef struct vd_meter_options {
    const char *sysfs; /* NULL: $VERDANT_SYSFS, else "/sys" */
    bool model_only;   /* do not look for RAPL */
    /* Time and CPU time, for tests. NULL: vd_now_ns and the process's CPU time. */
    uint64_t (*now_ns)(void *ctx);
    uint64_t (*cpu_ns)(void *ctx);
    /* Opens a file for reading, for tests (as root nothing is EACCES). NULL: open(2). */
    int (*open_file)(void *ctx, const char *path);
    void *ctx;
} vd_meter_options;

typedef struct vd_reading {
    uint64_t at_ns;
    uint64_t uj[VD_PART_N]; /* since open, never falls */
    bool gap;               /* since the reading before, some energy went unseen */
    const char *method;     /* "rapl" or "model", of the interval since the reading before */
    double uncertainty_pct; /* both parts below together */
    double common_pct, independent_pct; /* see vd_energy */
} vd_reading;

/* Always gives a meter (the model needs nothing of the machine) but for VD_ERR_NOMEM and
 * VD_ERR_ARG. Why RAPL is not the one is in vd_meter_info. */
VD_NODISCARD vd_status vd_meter_open(const vd_meter_options *options, vd_meter **ret_meter,
                                     vd_err *err);
void vd_meter_close(vd_meter *meter); /* NULL is a no-op */

/* A few microseconds per zone; allocates nothing; cannot fail, but can report a gap. */
void vd_meter_read(vd_meter *meter, vd_reading *ret_reading);

typedef struct vd_meter_info {
    const char *method; /* "rapl" or "model": what vd_meter_read uses now */
    double uncertainty_pct;
    double common_pct, independent_pct;
    uint64_t refresh_ns; /* 0: readings are of their moment (RAPL); else of the last refresh */
    uint64_t idle_uw[VD_PART_N]; /* the model's power of the waiting machine, microwatts */
    bool has_rapl;               /* some zone is being read */
    vd_status why; /* VD_OK with RAPL; else ERR_NOT_FOUND, ERR_PERM, ERR_IO, ERR_FORMAT */
    char why_text[VD_ERR_MESSAGE_MAX]; /* what is wrong with RAPL, "" when nothing */
    uint64_t n_gaps;                   /* readings that reported one */
    char last_gap[VD_ERR_MESSAGE_MAX]; /* the zone and what happened, "" when none did */
    vd_machine machine;                /* what the model knows of the machine */
    char powercap[VD_RAPL_PATH_MAX]; /* the folder where zones were looked for */
    size_t n_zones;
    vd_rapl_zone_info zone[VD_RAPL_ZONES_MAX];
} vd_meter_info;

void vd_meter_info_get(const vd_meter *meter, vd_meter_info *ret_info);

#endif
