/*
 * pairmap.h - a hash map from two symbols to the rank of their merge.
 * Open addressing, linear probing, at most half full. Single writer, then many readers.
 */
#ifndef VD_TEXT_PAIRMAP_H
#define VD_TEXT_PAIRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

typedef struct vd_pair_slot {
    uint32_t left, right;
    uint32_t rank; /* UINT32_MAX: the slot is empty */
} vd_pair_slot;

typedef struct vd_pairmap {
    vd_pair_slot *slot;
    size_t n_slots; /* a power of two, or 0 */
} vd_pairmap;

/* For at most `expected` pairs. A zeroed map is empty and takes none. */
VD_NODISCARD vd_status vd_pairmap_init(vd_pairmap *map, size_t expected, vd_err *err);
void vd_pairmap_done(vd_pairmap *map);
/* A pair that is there keeps its rank: the first of equal merges counts. */
void vd_pairmap_put(vd_pairmap *map, uint32_t left, uint32_t right, uint32_t rank);
/* UINT32_MAX when absent. */
uint32_t vd_pairmap_get(const vd_pairmap *map, uint32_t left, uint32_t right);

#endif
