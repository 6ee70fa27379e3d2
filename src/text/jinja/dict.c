/*
 * dict.c - dicts: entries in order of insertion, found through open addressing.
 *
 *   slot[hash & mask] -> entry number + 1      (linear probing, load at most one half)
 *
 * Hashes are seeded per render and every probe is charged, since keys come from strangers.
 */
#include <math.h>
#include <string.h>

#include "text/jinja/value.h"

enum {
    SMALL = 8,       /* up to this many entries are searched one by one */
    FREE_LOOKS = 64, /* at other people's slots, for one key */
};

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

bool vd_j_hashable(vd_jval value)
{
    if (value.kind != VD_JKIND_LIST)
        return value.kind != VD_JKIND_DICT && value.kind != VD_JKIND_SLICE;
    return value.u.list->flavour == VD_JFLAVOUR_TUPLE || value.u.list->flavour == VD_JFLAVOUR_RANGE;
}

/* Equal values have equal hashes: 1, 1.0 and True are one key. */
vd_status vd_j_hash(vd_jrender *r, vd_jval value, uint64_t *ret)
{
    uint64_t h = r->hash_seed;
    vd_status st = VD_OK;
    if (!vd_j_hashable(value))
        return VD_J_FAIL(r, "unhashable type: '%s'", vd_j_type_name(value));
    switch (value.kind) {
    case VD_JKIND_STRING:
        st = vd_j_charge_bytes(r, value.u.s->n);
        for (size_t i = 0; i < value.u.s->n; i++)
            h = (h ^ (unsigned char)value.u.s->data[i]) * 0x100000001b3u;
        break;
    case VD_JKIND_BOOL:
        h ^= mix((uint64_t)value.u.b);
        break;
    case VD_JKIND_INT:
        h ^= mix((uint64_t)value.u.i);
        break;
    case VD_JKIND_FLOAT:
        if (value.u.f == floor(value.u.f) && fabs(value.u.f) < 9.2e18) {
            h ^= mix((uint64_t)(int64_t)value.u.f);
        } else {
            uint64_t bits;
            memcpy(&bits, &value.u.f, sizeof(bits));
            h ^= mix(bits);
        }
        break;
    case VD_JKIND_LIST:
        st = vd_j_enter(r);
        if (st != VD_OK)
            return st;
        for (size_t i = 0; st == VD_OK && i < value.u.list->n; i++) {
            uint64_t item = 0;
            st = vd_j_hash(r, value.u.list->item[i], &item);
            h = mix(h ^ item) + i;
        }
        r->depth--;
        break;
    case VD_JKIND_NONE:
    case VD_JKIND_UNDEFINED:
        h ^= (uint64_t)value.kind;
        break;
    default:
        h ^= (uint64_t)(uintptr_t)value.u.macro; /* identity */
    }
    if (st == VD_OK)
        *ret = mix(h);
    return st;
}

vd_status vd_j_dict_new(vd_jrender *r, vd_jdict **ret)
{
    return vd_j_alloc(r, 1, sizeof(vd_jdict), ret);
}

/* One step, however many slots are looked at: their number depends on the seed, and the same render
 * must not meet its limit in one run and not in another. Beyond what chance makes of a half empty
 * table, each costs a step. */
static vd_status find(vd_jrender *r, const vd_jdict *dict, vd_jval key, uint64_t hash,
                      vd_jentry **ret_entry)
{
    vd_jentry *found = NULL;
    vd_status st = vd_j_charge(r, dict->slot != NULL);
    if (st != VD_OK)
        return st;
    size_t n_looks = 0;
    size_t at = dict->slot != NULL ? (size_t)hash & (dict->n_slots - 1) : 0;
    for (;;) {
        if (dict->slot != NULL ? dict->slot[at] == 0 : at == dict->n)
            break;
        vd_jentry *entry = &dict->entry[dict->slot != NULL ? dict->slot[at] - 1 : at];
        bool equal = false;
        if (++n_looks > FREE_LOOKS)
            st = vd_j_charge(r, 1);
        if (st == VD_OK && entry->hash == hash)
            st = vd_j_equal(r, entry->key, key, &equal);
        if (st != VD_OK)
            return st;
        if (equal) {
            found = entry;
            break;
        }
        at = dict->slot != NULL ? (at + 1) & (dict->n_slots - 1) : at + 1;
    }
    *ret_entry = found;
    return VD_OK;
}

vd_status vd_j_dict_find(vd_jrender *r, const vd_jdict *dict, vd_jval key, vd_jentry **ret_entry)
{
    uint64_t hash = 0;
    vd_status st = vd_j_hash(r, key, &hash);
    return st == VD_OK ? find(r, dict, key, hash, ret_entry) : st;
}

static void link_entry(vd_jdict *dict, size_t i)
{
    size_t at = (size_t)dict->entry[i].hash & (dict->n_slots - 1);
    while (dict->slot[at] != 0)
        at = (at + 1) & (dict->n_slots - 1);
    dict->slot[at] = (uint32_t)(i + 1);
}

/* Room for one more entry, and slots for twice as many as there are. */
static vd_status grow(vd_jrender *r, vd_jdict *dict)
{
    if (dict->n == dict->capacity) {
        size_t capacity = dict->capacity == 0 ? 4 : dict->capacity * 2;
        vd_jentry *entry = NULL;
        vd_status st = capacity <= UINT32_MAX / 4 ? vd_j_alloc(r, capacity, sizeof(*entry), &entry)
                                                  : VD_J_LIMIT(r, "a dict is too large");
        if (st != VD_OK)
            return st;
        if (dict->n > 0)
            memcpy(entry, dict->entry, dict->n * sizeof(*entry));
        dict->entry = entry;
        dict->capacity = capacity;
    }
    if (dict->n < SMALL || (dict->n + 1) * 2 <= dict->n_slots)
        return VD_OK;
    size_t n_slots = dict->n_slots == 0 ? SMALL * 4 : dict->n_slots * 2;
    uint32_t *slot = NULL;
    vd_status st = vd_j_alloc(r, n_slots, sizeof(*slot), &slot);
    if (st != VD_OK)
        return st;
    dict->slot = slot;
    dict->n_slots = n_slots;
    for (size_t i = 0; i < dict->n; i++)
        link_entry(dict, i);
    return VD_OK;
}

vd_status vd_j_dict_put(vd_jrender *r, vd_jdict *dict, vd_jval key, vd_jval value)
{
    uint64_t hash = 0;
    vd_jentry *entry = NULL;
    vd_status st = vd_j_hash(r, key, &hash);
    if (st == VD_OK)
        st = find(r, dict, key, hash, &entry);
    if (st == VD_OK && entry != NULL) {
        entry->value = value; /* the first key stays, as in Python */
        return VD_OK;
    }
    if (st == VD_OK)
        st = vd_j_charge(r, 1);
    if (st == VD_OK)
        st = grow(r, dict);
    if (st != VD_OK)
        return st;
    dict->entry[dict->n++] = (vd_jentry){.key = key, .value = value, .hash = hash};
    if (dict->slot != NULL)
        link_entry(dict, dict->n - 1);
    return VD_OK;
}
