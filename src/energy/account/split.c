/* split.c - see split.h. */
#include "energy/account/split.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

static const uint64_t one = UINT64_C(1) << VD_SPLIT_BITS;

static int64_t claim(const vd_split_entry *e)
{
    return (int64_t)(e->share & (one - 1)) + e->carry;
}

/* Does a come before b when the units left are handed out? */
static bool before(const vd_split_entry *a, const vd_split_entry *b)
{
    int64_t x = claim(a), y = claim(b);
    return x != y ? x > y : a->id < b->id;
}

static void swap(vd_split_entry *a, vd_split_entry *b)
{
    vd_split_entry t = *a;
    *a = *b;
    *b = t;
}

/* Moves the k entries with the largest claims to the front (quickselect, Hoare 1961). */
static void select_front(vd_split_entry *entry, size_t n, size_t k)
{
    size_t begin = 0, end = n;
    while (end - begin > 1 && k > begin && k < end) {
        swap(&entry[begin + (end - begin) / 2], &entry[end - 1]);
        const vd_split_entry *pivot = &entry[end - 1];
        size_t store = begin;
        for (size_t i = begin; i < end - 1; i++)
            if (before(&entry[i], pivot))
                swap(&entry[i], &entry[store++]);
        swap(&entry[store], &entry[end - 1]);
        if (k <= store)
            end = store;
        else
            begin = store + 1;
    }
}

void vd_split(uint64_t amount, vd_split_entry *entry, size_t n)
{
    uint64_t given = 0;
    for (size_t i = 0; i < n; i++) {
        entry[i].got = (uint64_t)(entry[i].share >> VD_SPLIT_BITS);
        given += entry[i].got;
    }
    uint64_t left = amount - given; /* 0..n: every share is rounded down, by less than a unit */
    assert(left <= n);
    select_front(entry, n, (size_t)left);
    for (size_t i = 0; i < n; i++) {
        int64_t fraction = (int64_t)(entry[i].share & (one - 1));
        bool gets = i < left;
        entry[i].got += gets;
        entry[i].carry += fraction - (gets ? (int64_t)one : 0);
    }
}

void vd_split_small(uint64_t amount, const double *weight, uint64_t *part, size_t n)
{
    double sum = 0, fraction[8];
    assert(n >= 1 && n <= sizeof(fraction) / sizeof(fraction[0]));
    for (size_t i = 0; i < n; i++)
        sum += weight[i];
    uint64_t given = 0;
    for (size_t i = 0; i < n; i++) {
        double share = sum > 0 ? (double)amount * (weight[i] / sum) : 0;
        uint64_t whole = (uint64_t)share;
        if (whole > amount - given) /* rounding of the doubles */
            whole = amount - given;
        part[i] = whole;
        fraction[i] = weight[i] > 0 ? share - (double)whole : -INFINITY;
        given += whole;
    }
    while (given < amount) {
        if (sum <= 0) {
            part[0] += amount - given;
            return;
        }
        size_t most = 0;
        for (size_t i = 1; i < n; i++)
            if (fraction[i] > fraction[most])
                most = i;
        /* A few units are left at most, but beyond 2^53 doubles can miss by more. */
        uint64_t units = fraction[most] > 1 ? (uint64_t)fraction[most] : 1;
        units = units < amount - given ? units : amount - given;
        part[most] += units;
        fraction[most] -= (double)units;
        given += units;
    }
}
