/*
 * machine.h - the model of a machine without a readable meter.
 *
 *   P = n_cpu * idle_w + busy CPU time per second * (full_w - idle_w) + gigabytes * 0.392 W
 *
 * Linear in load between two measured points per hardware thread, by microarchitecture: the way of
 * the Cloud Carbon Footprint project, whose points are averages of SPECpower results. Such models
 * miss by 38-75 % on single machines (docs/energy.md), so it says +-50 %.
 */
#ifndef VD_ENERGY_MACHINE_H
#define VD_ENERGY_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

enum { VD_MODEL_UNCERTAINTY_PCT = 50 };

/* Memory: 0.392 W per gigabyte, the mean of what Micron (0.4083) and Crucial (0.375) state, as used
 * by Cloud Carbon Footprint. It does not depend on load in this model. */
#define VD_DRAM_W_PER_GB 0.392

typedef struct vd_machine {
    char cpu[96];              /* model name as the system calls it; "unknown" */
    const char *family;        /* the row of the table, e.g. "AMD EPYC 2nd generation"; static */
    const char *family_source; /* where its two figures are from; static */
    bool virtual_machine;
    double n_cpu;          /* hardware threads that this process may use; a quota may be 1.5 */
    double idle_w, full_w; /* watts per hardware thread */
    uint64_t memory_bytes; /* the machine's, or the cgroup's limit where that is lower */
} vd_machine;

/* Asks the system. `sysfs` is the root of /sys (for the cgroup's limits). Cannot fail: what cannot
 * be known has defaults. */
void vd_machine_find(const char *sysfs, vd_machine *ret_machine);
/* The table's row for a CPU by its vendor, family, model and name, for vd_machine_find and tests.
 */
void vd_machine_family(const char *vendor, int family, int model, const char *name,
                       vd_machine *machine);

#endif
