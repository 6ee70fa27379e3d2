/* unit.h - units of carbon intensity, by their many spellings. Inside src/carbon only. */
#ifndef VD_CARBON_UNIT_H
#define VD_CARBON_UNIT_H

#include <stddef.h>

/* What a value in the unit that `text` names is to be multiplied with to be g/kWh; 0 where it names
 * none, < 0 where it names one that is no intensity (kg/h, g, kWh). "gCO2eq/kWh",
 * "carbon_intensity_kg_per_mwh", "lbs CO2 per MWh" are understood. */
double vd_unit_factor(const char *text, size_t n);

#endif
