/* checked.h - size arithmetic that says when it overflows. Every size built from input uses it. */
#ifndef VD_BASE_CHECKED_H
#define VD_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True and *ret set where the result fits; false and *ret untouched where it does not. */
static inline bool vd_mul_size(size_t a, size_t b, size_t *ret)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

static inline bool vd_add_size(size_t a, size_t b, size_t *ret)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

/* Rounds n up to a multiple of `align`, a power of two. */
static inline bool vd_align_size(size_t n, size_t align, size_t *ret)
{
    size_t sum;
    if (__builtin_add_overflow(n, align - 1, &sum))
        return false;
    *ret = sum & ~(align - 1);
    return true;
}

#define VD_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VD_MAX(a, b) ((a) > (b) ? (a) : (b))
#define VD_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
