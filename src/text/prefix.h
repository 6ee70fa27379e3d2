/*
 * prefix.h - which token is the longest that a text begins with?
 *
 * The tokens' texts, sorted as bytes. A lookup narrows the range of those that agree with the text
 * byte by byte, by binary search: O(length of the match x log of the table), no other memory than
 * the sorted ids. Immutable after init; borrows the texts.
 */
#ifndef VD_TEXT_PREFIX_H
#define VD_TEXT_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/arena.h"
#include "model/gguf.h"

typedef struct vd_prefix_table {
    const vd_str *text;   /* of all tokens, by id */
    uint32_t *id;         /* [n], sorted by text */
    uint32_t n;
    uint32_t first[257];  /* texts that begin with byte b: id[first[b]] .. id[first[b + 1]] */
} vd_prefix_table;

/* Takes ids[0..n) of text[]; the table's own array comes from the arena. Empty texts stay out. */
VD_NODISCARD vd_status vd_prefix_init(vd_prefix_table *table, vd_arena *arena, const vd_str *text,
                                      const uint32_t *ids, uint32_t n, vd_err *err);
/* Bytes of the longest token that text[0..n) begins with, and its id; 0 when there is none. */
size_t vd_prefix_longest(const vd_prefix_table *table, const char *text, size_t n,
                         uint32_t *ret_id);

#endif
