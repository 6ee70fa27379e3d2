/* bench.h - what the benches of vd_check share: timing, options, and what a core can do at most. */
#ifndef VD_CHECK_BENCH_H
#define VD_CHECK_BENCH_H

#include <stddef.h>

#include "kernels/kernels.h"

typedef struct bench_options {
    const char *filter;    /* only what holds this in its name; "" for all */
    size_t footprint_mb;   /* weights are rotated over copies of this many MB */
    size_t n_tokens;       /* only this many; 0 for the list */
    size_t n_rows, n_cols; /* only this shape of weights; 0 for the list */
    unsigned keep_percent; /* of the values of sparse weights are not zero */
} bench_options;

typedef void (*bench_fn)(void *ctx);

/* Median time of one call in ns of this thread's CPU time; fewer samples where a call is long. */
double bench_time_ns(bench_fn fn, void *ctx);

/* What one core does in a loop over registers with the instruction that a level's products are
 * made of; 0 and "" where the level has none. An operation is a multiplication or an addition. */
typedef struct bench_peak {
    const char *int8_name;
    double int8_gops, f32_gflops, bf16_gflops;
} bench_peak;

bench_peak bench_peak_of(const char *level);

/* The table of products of `k`. */
void bench_products(const vd_kernels *k, const bench_options *options);

#endif
