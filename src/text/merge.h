/*
 * merge.h - the pair-merging loop that SPM and BPE share.
 *
 * A word is a chain of symbols. The pair of neighbours with the lowest rank merges first, of equal
 * ones the leftmost, until no pair has a rank. (BPE: Sennrich, Haddow and Birch 2016, with ranks
 * from a merge list; SentencePiece: Kudo and Richardson 2018, with ranks from scores.)
 *
 * A binary heap holds (rank, position) as one 64-bit key; an entry is stale when the symbol at
 * that position no longer has that rank with its neighbour. Each merge adds at most two entries,
 * so a word of n symbols takes O(n log n) time and at most 32 n bytes.
 */
#ifndef VD_TEXT_MERGE_H
#define VD_TEXT_MERGE_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

/* Stands at the byte of the word where it begins; the places between are unused. */
typedef struct vd_symbol {
    uint32_t id;   /* VD_NO_SYMBOL when no symbol has this text */
    uint32_t prev; /* UINT32_MAX for the first */
    uint32_t next; /* n of the word for the last; so next - own place is the length in bytes */
    uint32_t rank; /* of the pair with `next` */
} vd_symbol;

typedef struct vd_merger vd_merger;

/* The rank of the pair (left, sym[left].next), VD_NO_RANK when it does not merge. */
typedef uint32_t vd_pair_rank_fn(const void *tokenizer, const char *word, const vd_symbol *symbol,
                                 uint32_t left, uint32_t right);

/* Scratch memory of one encode call; grows with the longest word. */
struct vd_merger {
    vd_symbol *symbol;
    size_t symbol_capacity;
    uint64_t *heap;
    size_t n_heap, heap_capacity;
};

/* Zeroed is a fine start. */
void vd_merger_done(vd_merger *merger);
/* Room for a word of n bytes; merger->symbol may then be filled. */
VD_NODISCARD vd_status vd_merger_reserve(vd_merger *merger, size_t n, vd_err *err);
/* Merges the chain that begins at symbol[0] (id, prev and next filled in). `merged` gives the
 * symbol a rank merges into, NULL when ids need no upkeep. */
VD_NODISCARD vd_status vd_merger_run(vd_merger *merger, const void *tokenizer, const char *word,
                                     uint32_t n, vd_pair_rank_fn *pair_rank,
                                     const uint32_t *merged, vd_err *err);

#endif
