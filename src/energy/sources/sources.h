/* sources.h - the kinds of meters there are. Each is one file; source.h says what they promise. */
#ifndef VD_ENERGY_SOURCES_SOURCES_H
#define VD_ENERGY_SOURCES_SOURCES_H

#include "energy/sources/source.h"

/* Counters of the host's processor and memory. */
vd_status vd_source_powercap_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);
/* The platform counter of laptops: processor, memory and what else hangs on the same supply. */
vd_status vd_source_psys_open(const vd_source_env *env, vd_source *ret_source, vd_err *err);

#endif
