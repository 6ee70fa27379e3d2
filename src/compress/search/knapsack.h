/*
 * knapsack.h - one choice for each item, so that the sum of costs is least within a budget of
 * bytes: the multiple-choice knapsack, where choices are a tensor's types and the cost is what a
 * type does to the model's answers.
 *
 * Two ways, of which the better is taken. Steps along the items' lower convex hulls of cost over
 * bytes, in order of their gain per byte, give for every Lagrange multiplier the best choice
 * (Shoham and Gersho 1988); what the budget leaves over is filled by whatever single change or
 * exchange of two gains most, off the hull too. And a table of the least cost for every budget,
 * item after item (dynamic programming), which is exact where the differences in bytes have a large
 * enough common divisor: with one item that is half of the model, as embeddings are, steps alone
 * miss much.
 */
#ifndef VD_COMPRESS_SEARCH_KNAPSACK_H
#define VD_COMPRESS_SEARCH_KNAPSACK_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

typedef struct vd_choice {
    uint64_t bytes;
    double cost; /* finite, not negative */
} vd_choice;

typedef struct vd_item {
    const vd_choice *choice; /* [n], borrowed, in any order */
    size_t n;                /* at least 1 */
} vd_item;

/* A point of the front: all items' choices. */
typedef struct vd_pick {
    uint64_t bytes;
    double cost;
    size_t *choice; /* [n_items], the caller's */
} vd_pick;

/* Fills `pick` (its `choice` is room for n places). VD_ERR_LIMIT where even the smallest choices
 * are above the budget: then it holds those. VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_knapsack_solve(const vd_item *item, size_t n, uint64_t budget,
                                         vd_pick *pick, vd_err *err);

#endif
