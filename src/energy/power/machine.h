/*
 * machine.h - what a machine is, as far as it can be told without a meter: processor, threads,
 * memory, and what published results say servers with such a processor draw.
 *
 * power.h turns that into watts. Memory draws VD_DRAM_W_PER_GB whatever it does.
 */
#ifndef VD_ENERGY_MACHINE_H
#define VD_ENERGY_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "energy/power/power.h"

/* Memory: 0.392 W per gigabyte, the mean of what Micron (0.4083) and Crucial (0.375) state, as used
 * by Cloud Carbon Footprint. It does not depend on load in this model. Modules differ by half. */
#define VD_DRAM_W_PER_GB 0.392
#define VD_DRAM_UNCERTAINTY_PCT 50.0

typedef struct vd_machine {
    char cpu[96];              /* model name as the system calls it; "unknown" */
    const char *family;        /* the row of the table, e.g. "AMD Zen 2 (...)"; static */
    const char *family_source; /* where its figures are from; static */
    bool family_known;
    bool virtual_machine;
    double n_cpu;          /* hardware threads that this process may use; a quota may be 1.5 */
    double idle_w, full_w; /* watts of a whole server per hardware thread, by the table */
    double family_mhz, family_cores; /* the clock and cores per chip of those servers */
    double base_mhz;                 /* nominal clock; 0: not known */
    double cores_per_chip;           /* 0: not known, as in virtual machines */
    uint64_t memory_bytes;           /* the machine's, or the cgroup's limit where that is lower */
} vd_machine;

/* Asks the system. `sysfs` is the root of /sys (for the cgroup's limits). Cannot fail: what cannot
 * be known has defaults. */
void vd_machine_find(const char *sysfs, vd_machine *ret_machine);
/* The table's row for a CPU by its vendor, family, model and name, for vd_machine_find and tests.
 */
void vd_machine_family(const char *vendor, int family, int model, const char *name,
                       vd_machine *machine);
/* The clock that a processor's name ends in ("... @ 2.40GHz"); 0 where it does not. */
double vd_machine_name_mhz(const char *name);
/* The table's watts for all of this machine's threads, moved to its clock and cores. */
void vd_machine_power_base(const vd_machine *machine, vd_power_base *ret_base);

#endif
