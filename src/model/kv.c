/* kv.c - see kv.h. Pages without users form one list, oldest first; those never published or
 * forgotten go to its front, published ones to its back. */
#include "model/kv.h"

#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

#define NONE UINT32_MAX

/* A block has so many pages at most: 64 KiB of a head's keys, of 64 dimensions in f16. */
enum { BLOCK_PAGES = 32 };

typedef struct page_info {
    uint32_t n_users;
    uint32_t prev, next;      /* in the free list, while n_users == 0 */
    uint32_t hash_next;       /* in its bucket, while published */
    uint64_t id;              /* unique among publications; 0 = not published */
    uint64_t parent_id;
    int32_t tokens[VD_KV_PAGE_TOKENS];
} page_info;

struct vd_kv {
    vd_dtype dtype;
    size_t n_pages, n_free;
    size_t row_bytes, head_bytes;
    size_t block_pages, block_slots; /* of a block: its pages, all their heads of all layers */
    size_t n_kv_head;
    unsigned char *memory; /* blocks, mapped lazily by the kernel */
    size_t memory_bytes;
    page_info *page;
    uint32_t *bucket; /* [n_buckets], a power of two */
    size_t n_buckets;
    uint32_t free_head, free_tail;
    uint64_t next_id;
};

/* ---- where pages lie -------------------------------------------------------------------------*/

/* The slot of a page's first head, and back. */
static uint32_t slot_of(const vd_kv *kv, uint32_t p)
{
    return (uint32_t)(p / kv->block_pages * kv->block_slots + p % kv->block_pages);
}

static uint32_t page_of(const vd_kv *kv, uint32_t slot)
{
    return (uint32_t)(slot / kv->block_slots * kv->block_pages + slot % kv->block_slots);
}

/* ---- the free list ---------------------------------------------------------------------------*/

static void list_remove(vd_kv *kv, uint32_t p)
{
    page_info *page = &kv->page[p];
    if (page->prev != NONE)
        kv->page[page->prev].next = page->next;
    else
        kv->free_head = page->next;
    if (page->next != NONE)
        kv->page[page->next].prev = page->prev;
    else
        kv->free_tail = page->prev;
    kv->n_free--;
}

static void list_add(vd_kv *kv, uint32_t p, bool at_back)
{
    page_info *page = &kv->page[p];
    page->prev = at_back ? kv->free_tail : NONE;
    page->next = at_back ? NONE : kv->free_head;
    if (page->prev != NONE)
        kv->page[page->prev].next = p;
    else
        kv->free_head = p;
    if (page->next != NONE)
        kv->page[page->next].prev = p;
    else
        kv->free_tail = p;
    kv->n_free++;
}

/* ---- published pages -------------------------------------------------------------------------*/

static size_t bucket_of(const vd_kv *kv, uint64_t parent_id, const int32_t *tokens)
{
    uint64_t h = parent_id * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < VD_KV_PAGE_TOKENS; i++)
        h = (h ^ (uint32_t)tokens[i]) * 0xff51afd7ed558ccdu, h ^= h >> 29;
    return (size_t)h & (kv->n_buckets - 1);
}

static uint32_t find_published(const vd_kv *kv, uint64_t parent_id, const int32_t *tokens)
{
    uint32_t p = kv->bucket[bucket_of(kv, parent_id, tokens)];
    while (p != NONE && (kv->page[p].parent_id != parent_id ||
                         memcmp(kv->page[p].tokens, tokens, sizeof(kv->page[p].tokens)) != 0))
        p = kv->page[p].hash_next;
    return p;
}

static void forget(vd_kv *kv, uint32_t p)
{
    page_info *page = &kv->page[p];
    if (page->id == 0)
        return;
    uint32_t *link = &kv->bucket[bucket_of(kv, page->parent_id, page->tokens)];
    while (*link != p)
        link = &kv->page[*link].hash_next;
    *link = page->hash_next;
    page->id = 0;
}

/* Salts and page numbers share one space of 64-bit parents: salts have the top bit set. */
static uint64_t root_id(uint64_t salt)
{
    return salt | (uint64_t)1 << 63;
}

/* ---- sequences -------------------------------------------------------------------------------*/

vd_status vd_kv_seq_init(vd_kv *kv, size_t max_tokens, vd_kv_seq *ret_seq, vd_err *err)
{
    vd_kv_seq seq = {.capacity = max_tokens / VD_KV_PAGE_TOKENS + 1};
    vd_status st =
        vd_alloc_array(seq.capacity, sizeof(*seq.page), "a page table", &seq.page, err);
    if (st == VD_OK)
        *ret_seq = seq;
    return st;
}

void vd_kv_seq_reset(vd_kv *kv, vd_kv_seq *seq)
{
    /* From the tail, so that the head is the last to be evicted. */
    while (seq->n_pages > 0) {
        uint32_t p = page_of(kv, seq->page[--seq->n_pages]);
        if (--kv->page[p].n_users == 0)
            list_add(kv, p, kv->page[p].id != 0);
    }
    seq->n_published = 0;
}

void vd_kv_seq_done(vd_kv *kv, vd_kv_seq *seq)
{
    if (seq->page == NULL)
        return;
    vd_kv_seq_reset(kv, seq);
    vd_free(seq->page);
    *seq = (vd_kv_seq){0};
}

size_t vd_kv_seq_adopt(vd_kv *kv, vd_kv_seq *seq, uint64_t salt, const int32_t *tokens, size_t n)
{
    uint64_t parent = root_id(salt);
    size_t n_whole = n > 0 ? (n - 1) / VD_KV_PAGE_TOKENS : 0;
    while (seq->n_pages < VD_MIN(n_whole, seq->capacity)) {
        uint32_t p = find_published(kv, parent, tokens + seq->n_pages * VD_KV_PAGE_TOKENS);
        if (p == NONE)
            break;
        if (kv->page[p].n_users++ == 0)
            list_remove(kv, p);
        seq->page[seq->n_pages++] = slot_of(kv, p);
        parent = kv->page[p].id;
    }
    seq->n_published = seq->n_pages;
    seq->parent_id = parent;
    return seq->n_pages * VD_KV_PAGE_TOKENS;
}

bool vd_kv_seq_reserve(vd_kv *kv, vd_kv_seq *seq, size_t n)
{
    size_t want = (n + VD_KV_PAGE_TOKENS - 1) / VD_KV_PAGE_TOKENS;
    if (want > seq->capacity)
        return false;
    while (seq->n_pages < want) {
        uint32_t p = kv->free_head;
        if (p == NONE)
            return false;
        list_remove(kv, p);
        forget(kv, p);
        kv->page[p].n_users = 1;
        seq->page[seq->n_pages++] = slot_of(kv, p);
    }
    return true;
}

void vd_kv_seq_publish(vd_kv *kv, vd_kv_seq *seq, uint64_t salt, const int32_t *tokens,
                       size_t n_computed)
{
    size_t n_full = n_computed / VD_KV_PAGE_TOKENS;
    if (seq->n_published == 0)
        seq->parent_id = root_id(salt);
    for (; seq->n_published < n_full; seq->n_published++) {
        const int32_t *own = tokens + seq->n_published * VD_KV_PAGE_TOKENS;
        uint32_t known = find_published(kv, seq->parent_id, own);
        if (known == NONE) { /* else another sequence computed the same at the same time */
            known = page_of(kv, seq->page[seq->n_published]);
            page_info *page = &kv->page[known];
            page->id = kv->next_id++;
            page->parent_id = seq->parent_id;
            memcpy(page->tokens, own, sizeof(page->tokens));
            uint32_t *bucket = &kv->bucket[bucket_of(kv, page->parent_id, own)];
            page->hash_next = *bucket;
            *bucket = known;
        }
        seq->parent_id = kv->page[known].id;
    }
}

/* ---- the pool --------------------------------------------------------------------------------*/

static vd_status size_up(vd_kv *kv, const vd_hparams *hp, vd_dtype dtype, size_t n_tokens,
                         vd_err *err)
{
    const vd_dtype_info *type = vd_dtype_get((uint32_t)dtype);
    if (hp->head_dim % type->block != 0)
        return VD_FAIL(err, VD_ERR_ARG,
                       "a KV cache of %s needs heads of a multiple of %d values, and this model's "
                       "have %zu: take f16", type->name, type->block, hp->head_dim);
    kv->dtype = dtype;
    kv->n_pages = (n_tokens + VD_KV_PAGE_TOKENS - 1) / VD_KV_PAGE_TOKENS;
    kv->n_kv_head = hp->n_kv_head;
    /* Blocks of the same size, which leave less than one page each unused. */
    size_t n_blocks = (kv->n_pages + BLOCK_PAGES - 1) / BLOCK_PAGES, n_slots = 0;
    kv->block_pages = n_blocks > 0 ? (kv->n_pages + n_blocks - 1) / n_blocks : 0;
    bool fits = vd_dtype_row_bytes((uint32_t)dtype, hp->head_dim, &kv->row_bytes) &&
                vd_mul_size(kv->row_bytes, VD_KV_PAGE_TOKENS, &kv->head_bytes) &&
                vd_mul_size(kv->block_pages, 2 * hp->n_layer * hp->n_kv_head, &kv->block_slots) &&
                vd_mul_size(kv->block_slots, n_blocks, &n_slots) &&
                vd_mul_size(n_slots, kv->head_bytes, &kv->memory_bytes) && kv->n_pages > 0 &&
                n_slots < NONE;
    if (!fits)
        return VD_FAIL(err, VD_ERR_LIMIT, "a KV cache of %zu positions is too large", n_tokens);
    return VD_OK;
}

vd_status vd_kv_create(const vd_hparams *hp, vd_dtype dtype, size_t n_tokens, vd_kv **ret_kv,
                       vd_err *err)
{
    vd_kv *kv = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*kv), "the KV cache", &kv, err);
    if (st != VD_OK)
        return st;
    st = size_up(kv, hp, dtype, n_tokens, err);
    if (st != VD_OK)
        goto out;
    kv->n_buckets = 16;
    while (kv->n_buckets < 2 * kv->n_pages)
        kv->n_buckets *= 2;
    st = vd_alloc_array(kv->n_pages, sizeof(*kv->page), "KV pages", &kv->page, err);
    if (st == VD_OK)
        st = vd_alloc_array(kv->n_buckets, sizeof(*kv->bucket), "KV buckets", &kv->bucket, err);
    if (st != VD_OK)
        goto out;
    /* Not touched here, so memory is taken from the machine only as pages are first used. */
    kv->memory = vd_alloc_aligned(kv->memory_bytes, 4096);
    if (kv->memory == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM,
                     "no memory for a KV cache of %zu positions (%zu MiB): ask for a shorter one",
                     n_tokens, kv->memory_bytes >> 20);
        goto out;
    }
    madvise(kv->memory, kv->memory_bytes, MADV_HUGEPAGE); /* fails harmlessly where there is none */
    memset(kv->bucket, 0xff, kv->n_buckets * sizeof(*kv->bucket));
    kv->free_head = kv->free_tail = NONE;
    kv->next_id = 1;
    for (size_t p = 0; p < kv->n_pages; p++)
        list_add(kv, (uint32_t)p, true);
    *ret_kv = kv;
    kv = NULL;
out:
    vd_kv_free(kv);
    return st;
}

void vd_kv_free(vd_kv *kv)
{
    if (kv == NULL)
        return;
    vd_free(kv->memory);
    vd_free(kv->bucket);
    vd_free(kv->page);
    vd_free(kv);
}

unsigned char *vd_kv_keys(const vd_kv *kv, size_t layer, size_t head)
{
    return kv->memory + (2 * layer * kv->n_kv_head + head) * kv->block_pages * kv->head_bytes;
}

unsigned char *vd_kv_values(const vd_kv *kv, size_t layer, size_t head)
{
    return vd_kv_keys(kv, layer, kv->n_kv_head + head);
}

size_t vd_kv_page_stride(const vd_kv *kv)
{
    return kv->head_bytes;
}

size_t vd_kv_row_stride(const vd_kv *kv)
{
    return kv->row_bytes;
}

vd_dtype vd_kv_dtype(const vd_kv *kv)
{
    return kv->dtype;
}

size_t vd_kv_n_pages(const vd_kv *kv)
{
    return kv->n_pages;
}

size_t vd_kv_n_free(const vd_kv *kv)
{
    return kv->n_free;
}

size_t vd_kv_bytes(const vd_kv *kv)
{
    return kv->memory_bytes;
}

size_t vd_kv_tokens_used(const vd_kv *kv)
{
    return (kv->n_pages - kv->n_free) * VD_KV_PAGE_TOKENS;
}
