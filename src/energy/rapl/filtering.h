/*
 * filtering.h - does Intel's energy filtering blur the counters?
 *
 * Against attacks that read secrets from power (CVE-2020-8694, -8695; Lipp et al., PLATYPUS, 2021)
 * Intel's microcode can report energy that depends less on data. It is on wherever SGX is enabled,
 * and can be switched on by IA32_MISC_PACKAGE_CTLS (0xBC), bit 0. A program that is not root sees
 * only whether the kernel uses SGX; SGX that the firmware enabled and the kernel ignores is not
 * seen. So UNKNOWN is what most machines get, and is said as that.
 *
 * Filtered figures differ from the true ones by up to 50 % (Intel, as green-coding.io quotes it in
 * "RAPL, SGX and energy filtering"). Nobody has published how much of that is noise, which goes
 * away in sums, and how much stays, so each part of the uncertainty gets half of it, in squares.
 *
 * Threads: any.
 */
#ifndef VD_ENERGY_FILTERING_H
#define VD_ENERGY_FILTERING_H

#include "energy/rapl/rapl.h"

typedef enum vd_filtering {
    VD_FILTERING_NONE,    /* no Intel processor, or one that says it is off */
    VD_FILTERING_UNKNOWN, /* Intel, and nothing speaks for it */
    VD_FILTERING_LIKELY,  /* SGX is in use */
    VD_FILTERING_ON       /* the register says so */
} vd_filtering;

/* By the system's tree (/sys) and the registers' file /dev/cpu/0/msr, NULL for not this machine. */
vd_filtering vd_filtering_find(const char *sysfs, const char *msr, vd_rapl_open_fn open_file,
                               void *ctx);
/* What it adds to the +- percent of the counters: to nothing unless it is ON or LIKELY. */
void vd_filtering_widen(vd_filtering filtering, double *common_pct, double *independent_pct);
/* In words, or "" where there is nothing to say. */
const char *vd_filtering_text(vd_filtering filtering);

#endif
