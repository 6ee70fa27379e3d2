/*
 * bandwidth.h - how fast this machine reads memory, by trying.
 *
 * A decode step reads all weights once, so bytes per second over bytes of weights is the limit of
 * tokens per second. It depends on how much is read: always ask for the size that matters. Each
 * thread writes its own pages first, which places them near it, and then reads them again and
 * again. The best pass is the figure, as STREAM takes it (McCalpin 1995): the other work of a
 * machine only ever slows a pass down.
 */
#ifndef VD_BASE_BANDWIDTH_H
#define VD_BASE_BANDWIDTH_H

#include <stddef.h>
#include <stdint.h>

typedef struct vd_bandwidth {
    double best_gb_s, median_gb_s; /* 10^9 bytes per second; 0: not measured */
    uint64_t bytes;                /* read in one pass */
    size_t n_threads, n_passes;
    char why_not[128]; /* "" when measured */
} vd_bandwidth;

/* Reads about `bytes` (rounded up to 2 MiB for each thread; fewer where the system is slow to give
 * them) with n_threads (0: one per core), for 0.6 seconds, or less where less is enough. Allocates
 * that much meanwhile. Cannot fail: why_not says what was in the way. */
void vd_bandwidth_measure(uint64_t bytes, size_t n_threads, vd_bandwidth *ret_bandwidth);

#endif
