/*
 * prefix.h - which tokens does a text begin with?
 *
 * A trie over the tokens' bytes. Its nodes stand in breadth-first order, so the children of one
 * node are neighbours, sorted by their byte: a step is a binary search among at most 256 of them,
 * and a node takes 9 bytes. Immutable after init.
 */
#ifndef VD_TEXT_PREFIX_H
#define VD_TEXT_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/arena.h"
#include "model/gguf.h"

enum { VD_PREFIX_ROOT = 0 };
#define VD_PREFIX_NO_ID UINT32_MAX

typedef struct vd_prefix_table {
    uint32_t *first;     /* [n_nodes + 1], children of node k: first[k] .. first[k + 1] */
    uint32_t *id;        /* [n_nodes], the token that ends at this node, or VD_PREFIX_NO_ID */
    unsigned char *byte; /* [n_nodes], the last byte on the way to it */
    uint32_t n_nodes;    /* 0: a table without texts */
    uint32_t n;          /* texts */
} vd_prefix_table;

/* Takes ids[0..n) of text[]; the table's arrays come from the arena and keep nothing of the texts.
 * Empty texts stay out. VD_ERR_LIMIT beyond 2^32 nodes. */
VD_NODISCARD vd_status vd_prefix_init(vd_prefix_table *table, vd_arena *arena, const vd_str *text,
                                      const uint32_t *ids, uint32_t n, vd_err *err);
/* One byte further from *node (VD_PREFIX_ROOT at first); false where no token goes on so. Then
 * table->id[*node] says whether one ends here. */
bool vd_prefix_step(const vd_prefix_table *table, uint32_t *node, unsigned char byte);
/* Bytes of the longest token that text[0..n) begins with, and its id; 0 when there is none. */
size_t vd_prefix_longest(const vd_prefix_table *table, const char *text, size_t n,
                         uint32_t *ret_id);

#endif
