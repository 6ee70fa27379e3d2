/* alloc.c - see alloc.h. Sizes come from malloc_usable_size, so blocks carry no header of ours. */
#include "base/alloc.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

static atomic_uint_fast64_t n_calls, n_live, live_bytes, peak_bytes, limit_bytes;
static atomic_uint_fast64_t fail_countdown; /* 0 = off; the call that takes it from 1 to 0 fails */

static bool may_allocate(size_t size)
{
    /* Relaxed: these are counters; nothing else is published through them. */
    atomic_fetch_add_explicit(&n_calls, 1, memory_order_relaxed);
    uint_fast64_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    while (left != 0) {
        if (!atomic_compare_exchange_weak_explicit(&fail_countdown, &left, left - 1,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;
        if (left == 1)
            return false;
        break;
    }
    uint64_t limit = atomic_load_explicit(&limit_bytes, memory_order_relaxed);
    if (limit == 0)
        return true;
    uint64_t live = atomic_load_explicit(&live_bytes, memory_order_relaxed);
    return live <= limit && size <= limit - live;
}

static void *count_in(void *block)
{
    if (block == NULL)
        return NULL;
    uint64_t size = malloc_usable_size(block);
    atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    uint64_t now = atomic_fetch_add_explicit(&live_bytes, size, memory_order_relaxed) + size;
    uint_fast64_t peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &peak_bytes, &peak, now, memory_order_relaxed, memory_order_relaxed))
        ;
    return block;
}

static void count_out(void *block)
{
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&live_bytes, malloc_usable_size(block), memory_order_relaxed);
}

void *vd_alloc(size_t size)
{
    size = VD_MAX(size, 1);
    return may_allocate(size) ? count_in(malloc(size)) : NULL;
}

void *vd_calloc(size_t n, size_t size)
{
    size_t total;
    if (!vd_mul_size(n, size, &total) || !may_allocate(total))
        return NULL;
    return count_in(calloc(1, VD_MAX(total, 1)));
}

void *vd_alloc_aligned(size_t size, size_t align)
{
    size_t padded;
    if (!vd_align_size(VD_MAX(size, 1), align, &padded) || !may_allocate(padded))
        return NULL;
    return count_in(aligned_alloc(align, padded));
}

void *vd_realloc(void *block, size_t size)
{
    if (block == NULL)
        return vd_alloc(size);
    size = VD_MAX(size, 1);
    size_t old_size = malloc_usable_size(block);
    if (!may_allocate(size > old_size ? size - old_size : 0)) /* only growth meets the ceiling */
        return NULL;
    void *moved = realloc(block, size);
    if (moved == NULL)
        return NULL;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&live_bytes, old_size, memory_order_relaxed);
    return count_in(moved);
}

char *vd_strndup(const char *text, size_t n)
{
    size_t size;
    if (!vd_add_size(n, 1, &size))
        return NULL;
    char *copy = vd_alloc(size);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *vd_strdup(const char *text)
{
    return vd_strndup(text, strlen(text));
}

void vd_free(void *block)
{
    if (block == NULL)
        return;
    count_out(block);
    free(block);
}

vd_status vd_alloc_array(size_t n, size_t size, const char *what, void *ret_block, vd_err *err)
{
    void *block = vd_calloc(n, size);
    if (block == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for %s (%zu x %zu bytes)", what, n, size);
    memcpy(ret_block, &block, sizeof(block));
    return VD_OK;
}

vd_alloc_stats vd_alloc_stats_get(void)
{
    return (vd_alloc_stats){
        .n_calls = atomic_load_explicit(&n_calls, memory_order_relaxed),
        .n_live = atomic_load_explicit(&n_live, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&live_bytes, memory_order_relaxed),
        .peak_bytes = atomic_load_explicit(&peak_bytes, memory_order_relaxed),
    };
}

void vd_alloc_fail_at(uint64_t k)
{
    atomic_store_explicit(&fail_countdown, k, memory_order_relaxed);
}

void vd_alloc_set_limit(uint64_t bytes)
{
    atomic_store_explicit(&limit_bytes, bytes, memory_order_relaxed);
}
