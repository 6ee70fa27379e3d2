/* residents.c - see residents.h. */
#include "energy/account/residents.h"

#include "base/alloc.h"

vd_status vd_residents_init(vd_residents *residents, size_t capacity, vd_err *err)
{
    size_t n_slots = 2;
    while (n_slots < 2 * capacity)
        n_slots *= 2;
    *residents = (vd_residents){.capacity = capacity, .mask = n_slots - 1};
    vd_status st =
        vd_alloc_array(capacity, sizeof(*residents->item), "residents", &residents->item, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_slots, sizeof(*residents->slot), "resident table", &residents->slot,
                            err);
    return st;
}

void vd_residents_done(vd_residents *residents)
{
    vd_free(residents->item);
    vd_free(residents->slot);
    *residents = (vd_residents){0};
}

/* Ids count up from 1, so a multiplication spreads them well (Knuth, vol. 3, 6.4). */
static size_t home_of(const vd_residents *r, uint64_t id)
{
    return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & r->mask;
}

/* The slot that holds `id`, or the empty one where the search ends. */
static size_t find_slot(const vd_residents *r, uint64_t id)
{
    size_t i = home_of(r, id);
    while (r->slot[i] != 0 && r->item[r->slot[i] - 1].id != id)
        i = (i + 1) & r->mask;
    return i;
}

vd_resident *vd_residents_find(vd_residents *residents, uint64_t id)
{
    uint32_t at = residents->slot[find_slot(residents, id)];
    return at == 0 ? NULL : &residents->item[at - 1];
}

vd_resident *vd_residents_add(vd_residents *residents, uint64_t id)
{
    size_t slot = find_slot(residents, id);
    vd_resident *item = &residents->item[residents->n++];
    *item = (vd_resident){.id = id};
    residents->slot[slot] = (uint32_t)residents->n;
    return item;
}

void vd_residents_remove(vd_residents *residents, uint64_t id)
{
    size_t hole = find_slot(residents, id), index = residents->slot[hole] - 1;
    size_t last = --residents->n;
    if (index != last) {
        residents->slot[find_slot(residents, residents->item[last].id)] = (uint32_t)index + 1;
        residents->item[index] = residents->item[last];
    }
    residents->slot[hole] = 0;
    /* Entries behind the hole that a search would no longer reach move into it. */
    for (size_t i = (hole + 1) & residents->mask; residents->slot[i] != 0;
         i = (i + 1) & residents->mask) {
        size_t home = home_of(residents, residents->item[residents->slot[i] - 1].id);
        if (((i - home) & residents->mask) < ((i - hole) & residents->mask))
            continue;
        residents->slot[hole] = residents->slot[i];
        residents->slot[i] = 0;
        hole = i;
    }
}
