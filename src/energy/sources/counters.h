/*
 * counters.h - a vd_rapl as a source, whoever reads its zones: powercap, perf events, the daemon.
 *
 * Inside src/energy/sources.
 */
#ifndef VD_ENERGY_SOURCES_COUNTERS_H
#define VD_ENERGY_SOURCES_COUNTERS_H

#include "energy/sources/source.h"

/* Takes `rapl` (heap) over, closed by the source. `name` is for people: "rapl by powercap". */
void vd_counters_source(vd_rapl *rapl, const char *name, vd_source *ret_source);

/* NULL is a no-op. */
void vd_counters_free(vd_rapl *rapl);

#endif
