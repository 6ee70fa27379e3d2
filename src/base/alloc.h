/*
 * alloc.h - the one allocator of Verdant. It counts, it has a ceiling, and it can be made to fail.
 *
 * Everything of ours that takes heap memory takes it here; libraries are told to where they let us
 * (jansson, at start-up). Blocks are released by vd_free only. Threads: all functions may be
 * called from any thread; the counters are atomics.
 */
#ifndef VD_BASE_ALLOC_H
#define VD_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

/* Uninitialised (alloc) or zeroed (calloc) memory aligned to 16 bytes; NULL when there is none.
 * A size of 0 gives a block of one byte, so that NULL always means failure. */
void *vd_alloc(size_t size) __attribute__((malloc));
void *vd_calloc(size_t n, size_t size) __attribute__((malloc));
/* As vd_alloc, aligned to `align` (a power of two, at least 16). Released by vd_free. */
void *vd_alloc_aligned(size_t size, size_t align) __attribute__((malloc));
/* NULL on failure, and then `block` is as it was. Not for aligned blocks. */
void *vd_realloc(void *block, size_t size);
char *vd_strdup(const char *text) __attribute__((malloc));
char *vd_strndup(const char *text, size_t n) __attribute__((malloc));
/* NULL is a no-op. */
void vd_free(void *block);

/* Allocates n elements of `size` bytes or fills *err with VD_ERR_NOMEM naming `what`. Zeroed. */
VD_NODISCARD vd_status vd_alloc_array(size_t n, size_t size, const char *what, void *ret_block,
                                      vd_err *err);

typedef struct vd_alloc_stats {
    uint64_t n_calls;    /* allocations ever asked for, failed ones included */
    uint64_t n_live;     /* blocks not yet freed */
    uint64_t live_bytes; /* as the C library sized them */
    uint64_t peak_bytes; /* the largest live_bytes seen */
} vd_alloc_stats;

vd_alloc_stats vd_alloc_stats_get(void);

/* Fault injection: the k-th allocation from now (1 = the next) fails, once. 0 switches it off. */
void vd_alloc_fail_at(uint64_t k);
/* Allocations fail that would lift live_bytes above this. 0 = no ceiling (the start value). */
void vd_alloc_set_limit(uint64_t bytes);

#endif
