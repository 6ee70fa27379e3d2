/* rapl.h - the two ways to RAPL's counters on this machine. Inside src/energy/sources. */
#ifndef VD_ENERGY_SOURCES_RAPL_H
#define VD_ENERGY_SOURCES_RAPL_H

#include "energy/sources/source.h"

/* Packages and dram, or psys alone. */
vd_status vd_powercap_open(const vd_source_env *env, bool psys, vd_source *ret_source,
                           vd_err *err);
vd_status vd_perf_open(const vd_source_env *env, bool psys, vd_source *ret_source, vd_err *err);

#endif
