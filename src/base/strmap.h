/*
 * strmap.h - a hash map from byte strings to 32-bit values: vocabularies, merges, names.
 *
 * Open addressing with linear probing at a load of at most one half; the hash is FNV-1a, mixed.
 * Keys are borrowed: they must outlive the map. No deletion. Single writer; concurrent readers
 * are fine once writing has ended.
 */
#ifndef VD_BASE_STRMAP_H
#define VD_BASE_STRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

typedef struct vd_strmap_slot {
    const char *key; /* NULL = empty */
    uint32_t n_key;
    uint32_t value;
} vd_strmap_slot;

typedef struct vd_strmap {
    vd_strmap_slot *slot;
    size_t n_slots; /* a power of two, or 0 */
    size_t n_used;
} vd_strmap;

/* A zeroed map is an empty map. `expected` sizes it so that it need not grow. */
VD_NODISCARD vd_status vd_strmap_init(vd_strmap *map, size_t expected, vd_err *err);
void vd_strmap_done(vd_strmap *map);

/* Adds or overwrites. *ret_was_there (NULL allowed) says which. n_key < 2^32. */
VD_NODISCARD vd_status vd_strmap_put(vd_strmap *map, const char *key, size_t n_key, uint32_t value,
                                     bool *ret_was_there, vd_err *err);
bool vd_strmap_get(const vd_strmap *map, const char *key, size_t n_key, uint32_t *ret_value);

#endif
