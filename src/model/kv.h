/*
 * kv.h - the key/value cache in pages, shared between sequences that begin alike.
 *
 * A page holds VD_KV_PAGE_TOKENS positions of all layers (PagedAttention, Kwon et al. 2023). Up to
 * 32 pages lie in one block, and in it the pages of one head side by side:
 *
 *   block:  layer 0 [K: head 0 [page][16][D] | head 1 ... ][V: head 0 ... ]  layer 1 ...
 *
 * A sequence that got its pages one after the other is then read front to back, which processors
 * fetch ahead: in pieces of 16 positions a core read 12 GB/s from memory, in pieces of 512 it read
 * 30 (AMD Zen 4 virtual machine, 2026-11). vd_kv_seq names pages by their slots: the distance from
 * where the keys or values of a head begin, in steps of vd_kv_page_stride.
 *
 * Full pages can be published: a later sequence with the same tokens (and the same salt) adopts
 * them instead of computing them again. A page is found by its parent's unique number and its own
 * tokens, compared one by one, so no two prefixes can be mistaken for each other; the salt stands
 * in for the parent of the first page. Pages without users stay findable until their memory is
 * needed, least recently used first, the tail of a sequence before its head.
 *
 * Threads: all changes by one thread (the engine's). During a forward pass many threads read the
 * tables and write the rows of their own sequences. Nothing here allocates after create/seq_init.
 */
#ifndef VD_MODEL_KV_H
#define VD_MODEL_KV_H

#include "kernels/dtype.h"
#include "model/hparams.h"

enum { VD_KV_PAGE_TOKENS = 16 };

typedef struct vd_kv vd_kv;

/* The pages of one sequence, in order of position. Zeroed = empty. */
typedef struct vd_kv_seq {
    uint32_t *page;   /* [capacity] slots */
    size_t n_pages, capacity;
    size_t n_published; /* leading pages that are findable by others */
    uint64_t parent_id; /* of the page after those */
} vd_kv_seq;

/* Memory for n_tokens positions (rounded up to pages). dtype as in vd_attn; VD_ERR_ARG where its
 * blocks do not fit the heads. */
VD_NODISCARD vd_status vd_kv_create(const vd_hparams *hp, vd_dtype dtype, size_t n_tokens,
                                    vd_kv **ret_kv, vd_err *err);
void vd_kv_free(vd_kv *kv);

/* A table for at most max_tokens positions; holds no page yet. */
VD_NODISCARD vd_status vd_kv_seq_init(vd_kv *kv, size_t max_tokens, vd_kv_seq *ret_seq,
                                      vd_err *err);
void vd_kv_seq_done(vd_kv *kv, vd_kv_seq *seq);
/* Gives all pages back; the table stays. */
void vd_kv_seq_reset(vd_kv *kv, vd_kv_seq *seq);

/* On an empty sequence: adopts published pages that hold the beginning of tokens[0..n), at most
 * n - 1 tokens of them so that something is left to compute. Returns how many tokens. */
size_t vd_kv_seq_adopt(vd_kv *kv, vd_kv_seq *seq, uint64_t salt, const int32_t *tokens, size_t n);
/* Makes room for positions [0, n). False when no page is to be had; what was got is kept. */
bool vd_kv_seq_reserve(vd_kv *kv, vd_kv_seq *seq, size_t n);
/* Publishes pages wholly within tokens[0..n_computed). */
void vd_kv_seq_publish(vd_kv *kv, vd_kv_seq *seq, uint64_t salt, const int32_t *tokens,
                       size_t n_computed);

/* Where the rows of a layer and head lie; see vd_attn in kernels.h. */
unsigned char *vd_kv_keys(const vd_kv *kv, size_t layer, size_t head);
unsigned char *vd_kv_values(const vd_kv *kv, size_t layer, size_t head);
size_t vd_kv_page_stride(const vd_kv *kv);
size_t vd_kv_row_stride(const vd_kv *kv);
vd_dtype vd_kv_dtype(const vd_kv *kv);

size_t vd_kv_n_pages(const vd_kv *kv);
/* Pages that no sequence holds (published ones among them can be had too). */
size_t vd_kv_n_free(const vd_kv *kv);
/* Positions in pages that some sequence holds. */
size_t vd_kv_tokens_used(const vd_kv *kv);
size_t vd_kv_bytes(const vd_kv *kv);

#endif
