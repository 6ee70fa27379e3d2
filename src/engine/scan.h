/*
 * scan.h - passes over a whole row of logits, which has up to 262,144 values: the best, the best
 * few, those above a bar, and weights exp(x) with their sum. Written so that a compiler vectorizes
 * them.
 */
#ifndef VD_ENGINE_SCAN_H
#define VD_ENGINE_SCAN_H

#include <stddef.h>
#include <stdint.h>

/* The first index of the largest value; -1 where all are NaN or -inf. */
int32_t vd_scan_best(const float *x, size_t n);

enum { VD_SCAN_TOP_MAX = 256 };

/* The k largest values (k <= VD_SCAN_TOP_MAX), of equal ones those with lower indices; NaN and -inf
 * do not count. Indices in no order. Returns how many there are, at most k. */
size_t vd_scan_top(const float *x, size_t n, size_t k, int32_t *ret_index);

/* Those of at least `floor` (> -inf), in order. ret_index has room for n. Returns how many. */
size_t vd_scan_from(const float *x, size_t n, float floor, int32_t *ret_index);

enum { VD_SCAN_CHUNK = 256 };

/* out[i] = exp((x[i] - max) / temperature), 1 where x[i] is max, 0 where it is NaN; of at most
 * VD_SCAN_CHUNK values, none above max. Within 1e-6 of the exact, relatively; below 1e-37 zero.
 * Returns their sum. */
float vd_scan_weights(const float *x, size_t n, float max, float temperature, float *out);

#endif
