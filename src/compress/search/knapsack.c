/* knapsack.c - see knapsack.h. */
#include "compress/search/knapsack.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum {
    IMPROVEMENTS_MAX = 64,
    UNITS_MAX = 1 << 15 /* a table of [n, units] bytes */
};

/* From a choice on an item's hull to the next larger one. */
typedef struct step {
    size_t item, to;
    double gain; /* of cost, per byte */
    size_t rank; /* within the item: a hull's gains fall, but for rounding */
} step;

static int by_gain(const void *a, const void *b)
{
    const step *x = a, *y = b;
    if (x->gain != y->gain)
        return x->gain > y->gain ? -1 : 1;
    if (x->item != y->item)
        return x->item < y->item ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static size_t smallest(const vd_item *item)
{
    size_t best = 0;
    for (size_t i = 1; i < item->n; i++) {
        const vd_choice *c = &item->choice[i], *b = &item->choice[best];
        if (c->bytes < b->bytes || (c->bytes == b->bytes && c->cost < b->cost))
            best = i;
    }
    return best;
}

/* The choice that gains most per byte over `from`; n when none gains. */
static size_t next_on_hull(const vd_item *item, size_t from, double *ret_gain)
{
    const vd_choice *f = &item->choice[from];
    size_t best = item->n;
    *ret_gain = 0;
    for (size_t i = 0; i < item->n; i++) {
        const vd_choice *c = &item->choice[i];
        if (c->bytes <= f->bytes || c->cost >= f->cost)
            continue;
        double gain = (f->cost - c->cost) / (double)(c->bytes - f->bytes);
        /* Of equal gains the longer step: what lies on the line between is no vertex. */
        if (gain > *ret_gain || (gain == *ret_gain && c->bytes > item->choice[best].bytes)) {
            *ret_gain = gain;
            best = i;
        }
    }
    return best;
}

static void move(const vd_item *item, vd_pick *pick, size_t i, size_t to)
{
    const vd_choice *from = &item[i].choice[pick->choice[i]], *next = &item[i].choice[to];
    pick->bytes = pick->bytes - from->bytes + next->bytes;
    pick->choice[i] = to;
}

static double cost_of(const vd_item *item, size_t n, const vd_pick *pick)
{
    double cost = 0;
    for (size_t i = 0; i < n; i++)
        cost += item[i].choice[pick->choice[i]].cost;
    return cost;
}

/* The best way for item i to change its bytes by at most `room`, which may be negative; its cost
 * afterwards, or n. Of ways that go down, the least harm. */
static size_t best_within(const vd_item *item, size_t now, int64_t room)
{
    size_t best = item->n;
    for (size_t i = 0; i < item->n; i++) {
        int64_t change = (int64_t)(item->choice[i].bytes - item->choice[now].bytes);
        if (i != now && change <= room &&
            (best == item->n || item->choice[i].cost < item->choice[best].cost))
            best = i;
    }
    return best;
}

/* One change, or one item smaller so that another may be better: the best of all. */
static bool improve(const vd_item *item, size_t n, uint64_t budget, vd_pick *pick)
{
    size_t who[2] = {n, n}, to[2] = {0, 0};
    double most = 0;
    int64_t slack = (int64_t)(budget - pick->bytes);
    for (size_t i = 0; i < n; i++) {
        const vd_choice *now = &item[i].choice[pick->choice[i]];
        for (size_t c = 0; c < item[i].n; c++) { /* item i goes to c, and another takes the room */
            int64_t room = slack - (int64_t)(item[i].choice[c].bytes - now->bytes);
            double gain = now->cost - item[i].choice[c].cost;
            if (room >= 0 && gain > most) {
                most = gain;
                who[0] = i, to[0] = c, who[1] = n;
            }
            if (item[i].choice[c].bytes >= now->bytes)
                continue;
            for (size_t k = 0; k < n; k++) {
                size_t best = k != i ? best_within(&item[k], pick->choice[k], room) : item[k].n;
                if (best == item[k].n)
                    continue;
                double both = gain + item[k].choice[pick->choice[k]].cost -
                              item[k].choice[best].cost;
                if (both > most) {
                    most = both;
                    who[0] = i, to[0] = c, who[1] = k, to[1] = best;
                }
            }
        }
    }
    for (size_t i = 0; i < 2; i++)
        if (who[i] < n)
            move(item, pick, who[i], to[i]);
    return who[0] < n;
}

/* Steps along the hulls while the budget lasts. */
static vd_status climb(const vd_item *item, size_t n, uint64_t budget, vd_pick *pick, vd_err *err)
{
    size_t n_steps = 0, n_all = 1;
    step *steps = NULL;
    for (size_t i = 0; i < n; i++)
        n_all += item[i].n;
    vd_status st = vd_alloc_array(n_all, sizeof(*steps), "the steps of a knapsack", &steps, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        double gain;
        size_t at = pick->choice[i], rank = 0;
        while ((at = next_on_hull(&item[i], at, &gain)) < item[i].n)
            steps[n_steps++] = (step){i, at, gain, rank++};
    }
    qsort(steps, n_steps, sizeof(*steps), by_gain);
    /* Steps of an item come in order: one that is too large ends its item only, since the next
     * ones are larger still. */
    for (size_t s = 0; s < n_steps; s++) {
        const vd_item *its = &item[steps[s].item];
        uint64_t now = its->choice[pick->choice[steps[s].item]].bytes;
        uint64_t then = its->choice[steps[s].to].bytes;
        if (then > now && pick->bytes + (then - now) <= budget)
            move(item, pick, steps[s].item, steps[s].to);
    }
    vd_free(steps);
    for (int i = 0; i < IMPROVEMENTS_MAX && improve(item, n, budget, pick); i++)
        continue;
    pick->cost = cost_of(item, n, pick);
    return VD_OK;
}

/* ---- the table --------------------------------------------------------------------------------*/

/* What a choice takes above the item's smallest, in units rounded up. */
static size_t units_of(const vd_item *item, size_t choice, size_t least, uint64_t unit)
{
    return (size_t)((item->choice[choice].bytes - item->choice[least].bytes + unit - 1) / unit);
}

/* The largest unit that measures all differences, or a coarser one that makes few units of the
 * slack. */
static uint64_t find_unit(const vd_item *item, size_t n, const vd_pick *least, uint64_t slack)
{
    uint64_t unit = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < item[i].n; c++) {
            uint64_t more = item[i].choice[c].bytes - item[i].choice[least->choice[i]].bytes;
            while (more != 0) {
                uint64_t rest = unit % more;
                unit = more;
                more = rest;
            }
        }
    return VD_MAX(VD_MAX(unit, slack / UNITS_MAX + 1), (uint64_t)1);
}

/* Item after item the least cost for every budget, in units above the smallest choices. `pick`
 * holds those. */
static vd_status tabulate(const vd_item *item, size_t n, uint64_t budget, vd_pick *pick,
                          vd_err *err)
{
    uint64_t slack = budget - pick->bytes, unit = find_unit(item, n, pick, slack);
    size_t n_units = (size_t)(slack / unit) + 1;
    double *best = NULL, *next = NULL;
    unsigned char *taken = NULL; /* [n, n_units] */
    vd_status st = vd_alloc_array(n_units, sizeof(*best), "a knapsack", &best, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_units, sizeof(*next), "a knapsack", &next, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, n_units, "a knapsack", &taken, err);
    for (size_t i = 0; st == VD_OK && i < n; i++) {
        for (size_t u = 0; u < n_units; u++)
            next[u] = INFINITY;
        for (size_t c = 0; c < item[i].n && c < 256; c++) {
            size_t size = units_of(&item[i], c, pick->choice[i], unit);
            for (size_t u = size; u < n_units; u++)
                if (best[u - size] + item[i].choice[c].cost < next[u]) {
                    next[u] = best[u - size] + item[i].choice[c].cost;
                    taken[i * n_units + u] = (unsigned char)c;
                }
        }
        double *other = best;
        best = next;
        next = other;
    }
    for (size_t i = n, u = n_units - 1; st == VD_OK && i-- > 0;) {
        size_t c = taken[i * n_units + u], least = pick->choice[i];
        u -= units_of(&item[i], c, least, unit);
        move(item, pick, i, c);
    }
    for (int i = 0; st == VD_OK && i < IMPROVEMENTS_MAX && improve(item, n, budget, pick); i++)
        continue;
    pick->cost = cost_of(item, n, pick);
    vd_free(best);
    vd_free(next);
    vd_free(taken);
    return st;
}

/* The smallest of all; VD_ERR_LIMIT where that is above the budget. */
static vd_status start(const vd_item *item, size_t n, uint64_t budget, vd_pick *pick, vd_err *err)
{
    pick->bytes = 0;
    for (size_t i = 0; i < n; i++) {
        pick->choice[i] = smallest(&item[i]);
        pick->bytes += item[i].choice[pick->choice[i]].bytes;
    }
    pick->cost = cost_of(item, n, pick);
    return pick->bytes <= budget
               ? VD_OK
               : VD_FAIL(err, VD_ERR_LIMIT, "the smallest that can be had is %llu bytes, the "
                         "budget is %llu", (unsigned long long)pick->bytes,
                         (unsigned long long)budget);
}

vd_status vd_knapsack_solve(const vd_item *item, size_t n, uint64_t budget, vd_pick *pick,
                            vd_err *err)
{
    vd_pick other = {0};
    vd_status st = start(item, n, budget, pick, err);
    if (st == VD_OK)
        st = vd_alloc_array(VD_MAX(n, (size_t)1), sizeof(*other.choice), "a knapsack",
                            &other.choice, err);
    if (st == VD_OK)
        st = climb(item, n, budget, pick, err);
    if (st == VD_OK)
        st = start(item, n, budget, &other, err);
    if (st == VD_OK)
        st = tabulate(item, n, budget, &other, err);
    if (st == VD_OK && (other.cost < pick->cost ||
                        (other.cost == pick->cost && other.bytes < pick->bytes))) {
        memcpy(pick->choice, other.choice, n * sizeof(*other.choice));
        pick->bytes = other.bytes;
        pick->cost = other.cost;
    }
    vd_free(other.choice);
    return st;
}
