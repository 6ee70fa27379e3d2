/*
 * charsmap.h - SentencePiece's normalization rules, as the model was trained with them.
 *
 * A rule turns a short string into another ("ﬁ" into "fi"). The rules come compiled: the length of
 * a trie in bytes (four, little-endian), the trie, then the replacements, each ended by a zero.
 * The trie is a double array with XOR (Kanda 2018; darts-clone), a node per 32-bit unit:
 *
 *   31            10  9  8  7      0
 *  ┌────────────────┬──┬──┬─────────┐   offset: to the children, times 256 where bit 9 is set
 *  │     offset     │x8│ L│  label  │   L: the children's unit 0 holds a replacement's place
 *  └────────────────┴──┴──┴─────────┘   (its bit 31 is set, so it is no byte's label)
 */
#ifndef VD_TEXT_CHARSMAP_H
#define VD_TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/arena.h"
#include "model/gguf.h"

typedef struct vd_charsmap {
    uint32_t *unit;   /* [n_units] the trie */
    size_t n_units;   /* 0: no rules */
    char *text;       /* [n_text] the replacements; the last byte is a zero */
    size_t n_text;
} vd_charsmap;

/* Copies tokenizer.ggml.precompiled_charsmap, where the file has one, into the arena.
 * VD_ERR_FORMAT says what is wrong with it. */
VD_NODISCARD vd_status vd_charsmap_load(vd_charsmap *map, vd_arena *arena, const vd_gguf *gguf,
                                        vd_err *err);
/* Bytes of the longest string with a rule that text[0..n) begins with, and what it becomes
 * (borrowed from the map); 0 when there is none. */
size_t vd_charsmap_longest(const vd_charsmap *map, const char *text, size_t n, vd_str *ret_to);

#endif
