/* merge.c - see merge.h. */
#include "text/merge.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

#define NO_RANK UINT32_MAX
#define NO_PLACE UINT32_MAX

void vd_merger_done(vd_merger *merger)
{
    vd_free(merger->symbol);
    vd_free(merger->heap);
    *merger = (vd_merger){0};
}

static vd_status grow(void **block, size_t *capacity, size_t n, size_t size, vd_err *err)
{
    if (n <= *capacity)
        return VD_OK;
    size_t wanted = VD_MAX(n, *capacity + *capacity / 2), bytes;
    wanted = VD_MAX(wanted, (size_t)64);
    if (!vd_mul_size(wanted, size, &bytes))
        return VD_FAIL(err, VD_ERR_LIMIT, "a word of %zu bytes is too long", n);
    void *moved = vd_realloc(*block, bytes);
    if (moved == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "out of memory for a word of %zu bytes", n);
    *block = moved;
    *capacity = wanted;
    return VD_OK;
}

vd_status vd_merger_reserve(vd_merger *merger, size_t n, vd_err *err)
{
    return grow((void **)&merger->symbol, &merger->symbol_capacity, n, sizeof(*merger->symbol),
                err);
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t key = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= key)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = key;
}

static uint64_t pop(vd_merger *merger)
{
    uint64_t least = merger->heap[0];
    merger->heap[0] = merger->heap[--merger->n_heap];
    if (merger->n_heap > 0)
        sift_down(merger->heap, merger->n_heap, 0);
    return least;
}

static vd_status push(vd_merger *merger, uint32_t rank, uint32_t place, vd_err *err)
{
    vd_status st = grow((void **)&merger->heap, &merger->heap_capacity, merger->n_heap + 1,
                        sizeof(*merger->heap), err);
    if (st != VD_OK)
        return st;
    uint64_t key = (uint64_t)rank << 32 | place;
    size_t i = merger->n_heap++;
    for (; i > 0 && merger->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        merger->heap[i] = merger->heap[(i - 1) / 2];
    merger->heap[i] = key;
    return VD_OK;
}

typedef struct merge_run {
    const void *tokenizer;
    const char *word;
    uint32_t n;
    vd_pair_rank_fn *pair_rank;
} merge_run;

static uint32_t rank_at(const merge_run *run, const vd_symbol *symbol, uint32_t left)
{
    uint32_t right = symbol[left].next;
    if (right == run->n)
        return NO_RANK;
    return run->pair_rank(run->tokenizer, run->word, symbol, left, right);
}

/* Ranks the pair anew and queues it. */
static vd_status update(vd_merger *merger, const merge_run *run, uint32_t left, vd_err *err)
{
    uint32_t rank = rank_at(run, merger->symbol, left);
    merger->symbol[left].rank = rank;
    return rank == NO_RANK ? VD_OK : push(merger, rank, left, err);
}

vd_status vd_merger_run(vd_merger *merger, const void *tokenizer, const char *word, uint32_t n,
                        vd_pair_rank_fn *pair_rank, const uint32_t *merged, vd_err *err)
{
    const merge_run run = {tokenizer, word, n, pair_rank};
    vd_symbol *symbol = merger->symbol;
    merger->n_heap = 0;
    for (uint32_t i = 0; i < n; i = symbol[i].next) {
        symbol[i].rank = rank_at(&run, symbol, i);
        if (symbol[i].rank == NO_RANK)
            continue;
        vd_status st = grow((void **)&merger->heap, &merger->heap_capacity, merger->n_heap + 1,
                            sizeof(*merger->heap), err);
        if (st != VD_OK)
            return st;
        merger->heap[merger->n_heap++] = (uint64_t)symbol[i].rank << 32 | i;
    }
    for (size_t i = merger->n_heap / 2; i-- > 0;)
        sift_down(merger->heap, merger->n_heap, i);

    while (merger->n_heap > 0) {
        uint64_t key = pop(merger);
        uint32_t rank = (uint32_t)(key >> 32), left = (uint32_t)key;
        if (symbol[left].rank != rank)
            continue;
        uint32_t right = symbol[left].next, next = symbol[right].next;
        symbol[right].rank = NO_RANK; /* what still waits for it is stale */
        symbol[left].next = next;
        if (next != n)
            symbol[next].prev = left;
        if (merged != NULL)
            symbol[left].id = merged[rank];
        vd_status st = update(merger, &run, left, err);
        if (st == VD_OK && symbol[left].prev != NO_PLACE)
            st = update(merger, &run, symbol[left].prev, err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}
