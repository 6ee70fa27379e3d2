/* sources.h - the kinds of meters there are. Each is one file; source.h says what they promise. */
#ifndef VD_ENERGY_SOURCES_SOURCES_H
#define VD_ENERGY_SOURCES_SOURCES_H

#include "energy/sources/source.h"

/* Counters of the host's processor and memory: the better of perf events and powercap, or one. */
vd_status vd_source_rapl_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);
vd_status vd_source_rapl_perf_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);
vd_status vd_source_rapl_powercap_open(const vd_source_env *env, vd_source *ret_source,
                                       vd_err *err);
/* The platform counter of laptops: processor, memory and what else hangs on the same supply. */
vd_status vd_source_psys_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

/* NVIDIA GPUs, by NVIDIA's management library: a board's own counter of millijoules since Volta;
 * older boards and virtual GPUs by their power, integrated 20 times a second, and the method is then
 * "nvml-power", for that is a worse figure. Spec "": the GPUs that CUDA shows this process; else
 * indices or UUIDs (or their beginnings) joined by +: "0+2". A board is counted whole, with the work
 * of others on it, also for a MIG slice. Also VD_ERR_IO where the driver fails, VD_ERR_UNSUPPORTED
 * where a GPU shows neither energy nor power. */
vd_status vd_source_nvml_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

#endif
