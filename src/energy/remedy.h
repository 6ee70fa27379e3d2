/* remedy.h - what a person can do where the energy counters cannot be read. Any thread. */
#ifndef VD_ENERGY_REMEDY_H
#define VD_ENERGY_REMEDY_H

#include <stddef.h>

#include "energy/meter.h"

enum { VD_REMEDIES_MAX = 4 };

typedef struct vd_remedy {
    const char *what;                /* in words; static storage */
    char command[2 * VD_RAPL_PATH_MAX]; /* for a shell, or "" where there is none to give */
} vd_remedy;

/* The best one first. Returns how many: 0 where the counters are read. */
size_t vd_remedies_find(const vd_meter_info *info, vd_remedy ret_remedies[VD_REMEDIES_MAX]);

#endif
