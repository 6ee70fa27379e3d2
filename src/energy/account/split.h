/*
 * split.h - whole microjoules out of fractions, so that nothing is lost or made. Inside src/energy
 * only.
 *
 * The method of largest remainders (Hamilton): everyone gets the whole part of its share, and the
 * units left go to the largest fractions. What a payer got too little of before counts on top of
 * its fraction, so that two equal payers never differ by more than one unit, however many windows.
 */
#ifndef VD_ENERGY_SPLIT_H
#define VD_ENERGY_SPLIT_H

#include <stddef.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 vd_wide;

enum { VD_SPLIT_BITS = 20 }; /* shares are fixed-point numbers with so many bits of fraction */

/* floor(2^20 * amount * weight / sum): a share with its fraction; 0 where sum is. weight <= sum;
 * otherwise any numbers: the product may need all 128 bits, so its fraction comes from the rest. */
static inline vd_wide vd_split_share(uint64_t amount, uint64_t weight, uint64_t sum)
{
    if (sum == 0)
        return 0;
    vd_wide product = (vd_wide)amount * weight;
    return (product / sum << VD_SPLIT_BITS) + (product % sum << VD_SPLIT_BITS) / sum;
}

typedef struct vd_split_entry {
    uint64_t id;   /* breaks ties, so that the order of entries does not matter */
    vd_wide share; /* fixed-point, above 0 */
    int64_t carry; /* fixed-point: what it should have had and did not get; updated */
    uint64_t got;  /* result, whole units */
    void *payer;   /* the caller's own */
} vd_split_entry;

/* Distributes `amount` units over the entries, whose shares add up to it but for the rounding down
 * of vd_split_share (twice per entry at most, fewer than 2^18 entries; payers whose share came out
 * as 0 are left out). Reorders the entries. Allocates nothing. */
void vd_split(uint64_t amount, vd_split_entry *entry, size_t n);

/* Splits `amount` by non-negative weights, 1 <= n <= 8; all to part[0] where all weights are 0. */
void vd_split_small(uint64_t amount, const double *weight, uint64_t *part, size_t n);

#endif
