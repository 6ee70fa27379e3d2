/*
 * carbon.h - grams and litres behind joules.
 *
 *   operational = sum over intervals of E_t x I_t, x PUE      embodied = TE x (TiR/EL) x (RR/ToR)
 *   water       = E_IT x (WUE_site + PUE x WUE_grid)          SCI = (operational + embodied) per R
 *
 * after SCI (ISO/IEC 21031:2024). docs/carbon.md explains each with an example. Immutable inputs,
 * outputs of the caller: any thread.
 */
#ifndef VD_CARBON_CARBON_H
#define VD_CARBON_CARBON_H

#include "carbon/hardware.h"
#include "carbon/intensity.h"

/* The building around the machine. */
typedef struct vd_site {
    double pue;                /* all its energy / the machines' energy; 0: 1, nothing added */
    double wue_site_l_per_kwh; /* water evaporated on site, per kWh of the machines */
    double wue_grid_l_per_kwh; /* water used by power plants, per kWh. Both 0: water is unknown */
} vd_site;

/* What is to be weighed. */
typedef struct vd_carbon_use {
    uint64_t energy_uj;    /* of the machine, before PUE */
    double operational_ug; /* sum of E_t x I_t in micrograms, before PUE (vd_energy) */
    uint64_t machine_ns;   /* TiR: its share of the machine's time, so that grams add up over
                            * requests as joules do */
} vd_carbon_use;

typedef struct vd_carbon {
    double operational_g, embodied_g;
    double water_l;    /* < 0: unknown */
    double energy_kwh; /* of the building: what operational_g / intensity is about */
    double pue;
    vd_intensity intensity; /* its g_per_kwh is operational_g / energy_kwh, the mean by energy */
} vd_carbon;

/* `intensity` holds the tags, and the value for a use of no energy. `site` and `hardware` may be
 * NULL. */
void vd_carbon_of(const vd_carbon_use *use, const vd_intensity *intensity, const vd_site *site,
                  const vd_hardware *hardware, vd_carbon *ret_carbon);
/* Where the intensity does not change: energy x intensity, micrograms. */
double vd_carbon_flat_ug(uint64_t energy_uj, const vd_intensity *intensity);

/* Adds `one` to `sum`, which is {0} at first; marks the sum mixed where the tags differ. */
void vd_carbon_add(vd_carbon *sum, const vd_carbon *one);

/* The "carbon" object of the API, a new reference or NULL when memory is short. `n_tokens` above 0
 * adds sci_mg_per_token; the functional unit is said with it. */
json_t *vd_carbon_json(const vd_carbon *carbon, uint64_t n_tokens);

#endif
