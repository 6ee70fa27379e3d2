/* parts.h - the components a source covers, as they are written. Inside src/energy/sources only. */
#ifndef VD_ENERGY_SOURCES_PARTS_H
#define VD_ENERGY_SOURCES_PARTS_H

#include <stdbool.h>

#include "energy/energy.h"

/* "cpu", "dram", "gpu" or "all" to the bits of vd_source.parts; false for another word. */
bool vd_parts_parse(const char *text, unsigned *ret_parts);
/* Where the energy of a source that cannot tell components apart is counted. */
vd_part vd_parts_home(unsigned parts);

#endif
