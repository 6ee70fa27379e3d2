/*
 * intensity.h - grams of CO2-equivalent per kilowatt-hour, with all that says of which kind the
 * figure is; and the built-in table of yearly averages.
 *
 * Figures of different kinds must not be added or compared, so a value never travels without its
 * tags. Annual averages are the lowest granularity that SCI (ISO/IEC 21031) accepts. The table is
 * immutable, and values are copied: any thread.
 */
#ifndef VD_CARBON_INTENSITY_H
#define VD_CARBON_INTENSITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/json.h"

enum { VD_ZONE_MAX = 40, VD_VERSION_MAX = 40 };

/* What one kilowatt-hour weighed in [valid_from_s, valid_to_s). */
typedef struct vd_intensity {
    double g_per_kwh;
    /* Words, static storage: */
    const char *kind;     /* "average", "marginal" */
    const char *scope;    /* "lifecycle" (fuel chains and plants too), "direct" (combustion only) */
    const char *basis;    /* "location": certificates and contracts are not counted */
    const char *boundary; /* "production" in the zone, "consumption" (with imports), "unknown" */
    const char *source;   /* who published it */
    char zone[VD_ZONE_MAX];       /* as the source calls it */
    char version[VD_VERSION_MAX]; /* of the source's model or data; "" where it says none */
    int64_t valid_from_s, valid_to_s; /* Unix time, UTC */
    bool estimated; /* the source will replace it, or it is of another time than it stands for */
    bool stale;     /* the last known value, used past valid_to_s because no newer one came */
    bool mixed;     /* of a sum: values of different tags went into it; the tags are the last's */
} vd_intensity;

/* Of one kind: kind, scope, basis, boundary, zone and source are the same. */
bool vd_intensity_alike(const vd_intensity *a, const vd_intensity *b);
/* Of values in the order of time the one for a moment: the last that begins by then, `estimated`
 * past its end, `stale` where the source fails or is later than usual (a value's length, at most an
 * hour). False where all begin later. */
bool vd_intensity_at(const vd_intensity *values, size_t n, int64_t at_s, bool failing,
                     vd_intensity *ret_value);
/* The object of the API, all tags and times; a new reference, NULL when memory is short. */
json_t *vd_intensity_json(const vd_intensity *intensity);

/* ---- the built-in table ----------------------------------------------------------------------*/

/* One row. Static storage. */
typedef struct vd_zone {
    const char *code; /* ISO 3166 alpha-2 ("DE"), with a region ("US-CA"), a grid
                       * ("US-CAL-CISO"), "EU" or "WORLD" */
    const char *name;
    double g_per_kwh;
    int year;
    const char *scope;  /* "lifecycle", "direct" */
    const char *source; /* who published the figure */
    const char *boundary; /* "production", "consumption" */
} vd_zone;

/* By code or English name, or by a cloud region ("aws:eu-west-1", regions.h), in any case of
 * letters, "_" as good as "-". NULL or "" is the world average. VD_ERR_NOT_FOUND lists near
 * matches. */
VD_NODISCARD vd_status vd_zone_find(const char *code, const vd_zone **ret_zone, vd_err *err);
/* The whole table. */
const vd_zone *vd_zone_list(size_t *ret_n);

/* The row as a value at the moment `at_s`: estimated outside its own year, valid for that year. */
vd_intensity vd_zone_intensity(const vd_zone *zone, int64_t at_s);

#endif
