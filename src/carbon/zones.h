/* zones.h - the table behind vd_zone_find. Inside src/carbon only. */
#ifndef VD_CARBON_ZONES_H
#define VD_CARBON_ZONES_H

#include "carbon/intensity.h"

extern const vd_zone vd_zone_table[]; /* [0] is the world */
extern const size_t vd_zone_table_n;

#endif
