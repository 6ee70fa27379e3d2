/*
 * doctor_ladder.h - a ladder of loads for `verdant doctor --calibrate`: from nothing to all
 * threads, computing as a model computes, while a meter of this machine or one beside it looks on.
 */
#ifndef VD_CLI_DOCTOR_LADDER_H
#define VD_CLI_DOCTOR_LADDER_H

#include <stddef.h>
#include <verdant/status.h>

#include "energy/meter.h"
#include "energy/power/meter_csv.h"

enum { VD_LADDER_STEPS_MAX = 16 };

typedef struct vd_ladder {
    vd_load_step step[VD_LADDER_STEPS_MAX]; /* with watts where the meter counted */
    size_t n;
    double strangers; /* the largest load of other programs in a step, of all the machine's CPUs */
} vd_ladder;

/* Runs about `seconds` with this process's threads. `meter`: watts of the processor from it, the
 * step's first quarter left out; NULL: none. */
VD_NODISCARD vd_status vd_ladder_run(const vd_machine *machine, vd_meter *meter, double seconds,
                                     vd_ladder *ret_ladder, vd_err *err);

#endif
