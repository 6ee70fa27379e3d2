/* regions.h - regions of the large clouds, and the grid each of them hangs on. Immutable. */
#ifndef VD_CARBON_REGIONS_H
#define VD_CARBON_REGIONS_H

#include <stddef.h>

/* Static storage. */
typedef struct vd_region {
    const char *code; /* "aws:eu-west-1", "gcp:europe-west4", "azure:westeurope" */
    const char *zone; /* a code of the zones' table: the US by state, others by country */
} vd_region;

const vd_region *vd_region_list(size_t *ret_n);

#endif
