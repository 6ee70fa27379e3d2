/*
 * slab.h - memory for packed weights, on huge pages.
 *
 * A decode step streams all weights once, and with 4 KB pages the walk through the page tables
 * costs a third of the bandwidth (one thread, 256 MB, AMD Zen 4 virtual machine, 2026-11: 21 GB/s
 * against 32 on 2 MB pages). Most weights are smaller than a huge page, so they share slabs of
 * 8 MB, aligned and advised for huge pages; those above half a slab have one of their own, and
 * those below 32 KB are left to the allocator. Threads: any; one lock inside.
 */
#ifndef VD_KERNELS_SLAB_H
#define VD_KERNELS_SLAB_H

#include <stddef.h>

typedef struct vd_slab vd_slab;

/* Uninitialised memory aligned to 64, or NULL. *ret_slab is for vd_slab_release. */
void *vd_slab_take(size_t bytes, vd_slab **ret_slab);
/* Gives `block` back; its slab goes with the last block in it. NULL is a no-op. */
void vd_slab_release(void *block, vd_slab *slab);

#endif
