/* slab.c - see slab.h. Blocks are cut from the newest slab, one behind the other. */
#include "kernels/slab.h"

#include <pthread.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/checked.h"

enum { ALIGN = 64, HUGE_PAGE = 2 << 20, SLAB_BYTES = 8 << 20, SMALL_BYTES = 32 << 10 };

/* Stands in the first 64 bytes of its memory. */
struct vd_slab {
    size_t bytes, used; /* the header included */
    size_t n_blocks;    /* guarded by lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static vd_slab *newest; /* guarded by lock; NULL or a slab with at least one block */

static vd_slab *new_slab(size_t bytes)
{
    vd_slab *slab = vd_alloc_aligned(bytes, HUGE_PAGE);
    if (slab == NULL)
        return NULL;
    (void)madvise(slab, bytes, MADV_HUGEPAGE); /* a wish: without it all works, slower */
    *slab = (vd_slab){.bytes = bytes, .used = ALIGN};
    return slab;
}

void *vd_slab_take(size_t bytes, vd_slab **ret_slab)
{
    vd_slab *slab = NULL;
    void *block = NULL;
    size_t need, whole;

    *ret_slab = NULL;
    if (bytes < SMALL_BYTES)
        return vd_alloc_aligned(bytes, ALIGN);
    if (!vd_align_size(bytes, ALIGN, &need) || !vd_add_size(need, ALIGN, &whole))
        return NULL;

    (void)pthread_mutex_lock(&lock);
    if (whole > SLAB_BYTES / 2)
        slab = new_slab(whole);
    else if (newest != NULL && newest->bytes - newest->used >= need)
        slab = newest;
    else
        slab = newest = new_slab(SLAB_BYTES);
    if (slab != NULL) {
        block = (unsigned char *)slab + slab->used;
        slab->used += need;
        slab->n_blocks++;
        *ret_slab = slab;
    }
    (void)pthread_mutex_unlock(&lock);
    return block;
}

void vd_slab_release(void *block, vd_slab *slab)
{
    if (slab == NULL) {
        vd_free(block);
        return;
    }
    (void)pthread_mutex_lock(&lock);
    if (--slab->n_blocks == 0) {
        if (newest == slab)
            newest = NULL;
        vd_free(slab);
    }
    (void)pthread_mutex_unlock(&lock);
}
