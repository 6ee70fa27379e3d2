/* pairmap.c - see pairmap.h. */
#include "text/pairmap.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

static vd_pair_slot *find_slot(const vd_pairmap *map, uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h >> 32) & (map->n_slots - 1);
    while (map->slot[i].rank != UINT32_MAX &&
           (map->slot[i].left != left || map->slot[i].right != right))
        i = (i + 1) & (map->n_slots - 1);
    return &map->slot[i];
}

vd_status vd_pairmap_init(vd_pairmap *map, size_t expected, vd_err *err)
{
    *map = (vd_pairmap){0};
    size_t n_slots = 16;
    while (n_slots / 2 < expected) {
        if (!vd_mul_size(n_slots, 2, &n_slots))
            return VD_FAIL(err, VD_ERR_LIMIT, "a merge list of %zu pairs is too long", expected);
    }
    vd_status st = vd_alloc_array(n_slots, sizeof(*map->slot), "merge pairs", &map->slot, err);
    if (st != VD_OK)
        return st;
    map->n_slots = n_slots;
    for (size_t i = 0; i < n_slots; i++)
        map->slot[i].rank = UINT32_MAX;
    return VD_OK;
}

void vd_pairmap_done(vd_pairmap *map)
{
    vd_free(map->slot);
    *map = (vd_pairmap){0};
}

void vd_pairmap_put(vd_pairmap *map, uint32_t left, uint32_t right, uint32_t rank)
{
    vd_pair_slot *slot = find_slot(map, left, right);
    if (slot->rank == UINT32_MAX)
        *slot = (vd_pair_slot){.left = left, .right = right, .rank = rank};
}

uint32_t vd_pairmap_get(const vd_pairmap *map, uint32_t left, uint32_t right)
{
    return map->n_slots == 0 ? UINT32_MAX : find_slot(map, left, right)->rank;
}
