/* strmap.c - see strmap.h. */
#include "base/strmap.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

/* Keys come from files of strangers, who could choose them to fall into one slot: each process
 * hashes its own way. The first thread to come sets it for all. */
static uint64_t seed(void)
{
    static atomic_uint_fast64_t chosen;
    uint64_t value = atomic_load_explicit(&chosen, memory_order_relaxed), none = 0;
    if (value != 0)
        return value;
    if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != (ssize_t)sizeof(value) || value == 0)
        value = 0xcbf29ce484222325u; /* FNV's own */
    return atomic_compare_exchange_strong(&chosen, &none, value) ? value : none;
}

static uint64_t hash_bytes(const char *key, size_t n)
{
    uint64_t h = seed();
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)key[i]) * 0x100000001b3u;
    h ^= h >> 32; /* FNV's low bits are weak where keys differ at the end only */
    return h * 0x9e3779b97f4a7c15u;
}

/* The slot that holds the key, or the empty one where it belongs. */
static vd_strmap_slot *find_slot(vd_strmap_slot *slot, size_t n_slots, const char *key,
                                 size_t n_key)
{
    size_t i = (size_t)(hash_bytes(key, n_key) >> 20) & (n_slots - 1);
    while (slot[i].key != NULL &&
           (slot[i].n_key != n_key || memcmp(slot[i].key, key, n_key) != 0))
        i = (i + 1) & (n_slots - 1);
    return &slot[i];
}

static vd_status resize(vd_strmap *map, size_t n_slots, vd_err *err)
{
    vd_strmap_slot *slot = NULL;
    vd_status st = vd_alloc_array(n_slots, sizeof(*slot), "hash map slots", &slot, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < map->n_slots; i++) {
        const vd_strmap_slot *old = &map->slot[i];
        if (old->key != NULL)
            *find_slot(slot, n_slots, old->key, old->n_key) = *old;
    }
    vd_free(map->slot);
    map->slot = slot;
    map->n_slots = n_slots;
    return VD_OK;
}

vd_status vd_strmap_init(vd_strmap *map, size_t expected, vd_err *err)
{
    *map = (vd_strmap){0};
    size_t n_slots = 16;
    while (n_slots / 2 < expected) {
        if (!vd_mul_size(n_slots, 2, &n_slots))
            return VD_FAIL(err, VD_ERR_LIMIT, "a hash map of %zu keys is too large", expected);
    }
    return resize(map, n_slots, err);
}

void vd_strmap_done(vd_strmap *map)
{
    vd_free(map->slot);
    *map = (vd_strmap){0};
}

vd_status vd_strmap_put(vd_strmap *map, const char *key, size_t n_key, uint32_t value,
                        bool *ret_was_there, vd_err *err)
{
    if (n_key > UINT32_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "a key of %zu bytes is too long", n_key);
    if (map->n_used >= map->n_slots / 2) {
        vd_status st = resize(map, VD_MAX((size_t)16, map->n_slots * 2), err);
        if (st != VD_OK)
            return st;
    }
    vd_strmap_slot *slot = find_slot(map->slot, map->n_slots, key, n_key);
    bool was_there = slot->key != NULL;
    if (!was_there) {
        *slot = (vd_strmap_slot){.key = key, .n_key = (uint32_t)n_key};
        map->n_used++;
    }
    slot->value = value;
    if (ret_was_there != NULL)
        *ret_was_there = was_there;
    return VD_OK;
}

bool vd_strmap_get(const vd_strmap *map, const char *key, size_t n_key, uint32_t *ret_value)
{
    if (map->n_slots == 0)
        return false;
    const vd_strmap_slot *slot = find_slot(map->slot, map->n_slots, key, n_key);
    if (slot->key == NULL)
        return false;
    *ret_value = slot->value;
    return true;
}
