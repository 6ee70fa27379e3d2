/*
 * model.h - the model of the machine (machine.h, power.h) as a source: it fills what no counter
 * covers.
 *
 * Watts by the CPU time of this process, the clock where the kernel tells it, and time, for the
 * processor and the memory. It needs nothing of the machine, so it always serves, and every figure
 * says how uncertain it is.
 */
#ifndef VD_ENERGY_SOURCES_MODEL_H
#define VD_ENERGY_SOURCES_MODEL_H

#include "energy/power/machine.h"
#include "energy/sources/source.h"

typedef struct vd_model vd_model;

/* CPU time this process has used, in nanoseconds. NULL: asks the system. For tests. */
typedef uint64_t (*vd_cpu_time_fn)(void *ctx);

/* VD_ERR_NOMEM. The source's `self` is the vd_model. */
VD_NODISCARD vd_status vd_source_model_open(const vd_source_env *env, vd_cpu_time_fn cpu_ns,
                                            vd_source *ret_source, vd_err *err);

/* What it knows of the machine, and the power it gives to a waiting one; borrowed. */
const vd_machine *vd_model_machine(const vd_model *model);
const vd_power *vd_model_power(const vd_model *model);
bool vd_model_calibrated(const vd_model *model);
const char *vd_model_note(const vd_model *model); /* which calibration, or why none serves; "" */
const uint64_t *vd_model_idle_uw(const vd_model *model); /* [VD_PART_N] */

#endif
