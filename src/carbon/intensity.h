/*
 * intensity.h - grams of CO2-equivalent behind a joule.
 *
 * Yearly averages of the intensity of electricity, location-based; life-cycle for countries, direct
 * for the US states, whose publisher counts combustion only. Annual averages are the lowest
 * granularity that SCI (ISO/IEC 21031) accepts; every figure carries its tags, its source and its
 * year, so that none is mixed with one of another kind. Immutable; any thread.
 */
#ifndef VD_CARBON_INTENSITY_H
#define VD_CARBON_INTENSITY_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/json.h"

/* One row of the table. Static storage. */
typedef struct vd_zone {
    const char *code; /* ISO 3166 alpha-2 ("DE"), with a region ("US-CA"), a grid
                       * ("US-CAL-CISO"), "EU" or "WORLD" */
    const char *name;
    double g_per_kwh;
    int year;
    const char *scope;  /* "lifecycle" (fuel chains and plants too), "direct" (combustion only) */
    const char *source; /* who published the figure */
} vd_zone;

/* By code or English name, in any case of letters, "_" as good as "-". NULL or "" is the world
 * average. VD_ERR_NOT_FOUND lists near matches. */
VD_NODISCARD vd_status vd_zone_find(const char *code, const vd_zone **ret_zone, vd_err *err);
/* The whole table. */
const vd_zone *vd_zone_list(size_t *ret_n);

/* The hardware behind the service, for its embodied carbon. 0 means the default in parentheses. */
typedef struct vd_hardware {
    double server_kg;      /* TE: to make the server (vd_embodied_server_kg) */
    double life_years;     /* EL: years it is expected to serve (4) */
    double reserved_share; /* RR/ToR: the part of the server this machine is (1) */
} vd_hardware;

/* Cloud Carbon Footprint's rack server: 1,000 kg base, +100 kg for a second CPU, and 533/384 kg for
 * each gigabyte of memory above the base's 16. */
double vd_embodied_server_kg(size_t n_sockets, uint64_t memory_bytes);

typedef struct vd_carbon {
    double operational_g, embodied_g;
    double intensity_g_per_kwh;
    const char *kind, *scope, *basis; /* "average", "lifecycle" or "direct", "location" */
    const char *zone, *source;        /* static storage */
    char valid_at[16];                /* "2023": the year of the figure */
} vd_carbon;

/* O = E * I and M = TE * (TiR/EL) * (RR/ToR): `machine_ns` is the request's share of the machine's
 * time (TiR), so that embodied grams add up over requests as joules do. `hardware` may be NULL. */
void vd_carbon_of(uint64_t energy_uj, uint64_t machine_ns, const vd_zone *zone,
                  const vd_hardware *hardware, vd_carbon *ret_carbon);

/* Adds the grams of `one` to `sum`, which is {0} at first. Both are of one zone. */
void vd_carbon_add(vd_carbon *sum, const vd_carbon *one);

/* The "carbon" object of the API, a new reference or NULL when memory is short. */
json_t *vd_carbon_json(const vd_carbon *carbon);

#endif
