/*
 * pretokenize.h - cuts text into the words that BPE may merge within.
 *
 * A pre-tokenizer is a list of patterns. Each cuts the pieces that the one before it left: every
 * match is a piece, and so is what lies between matches. Nothing is stored: a piece goes through
 * the rest of the list and then to the callback, so memory does not grow with the text.
 */
#ifndef VD_TEXT_PRETOKENIZE_H
#define VD_TEXT_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

#include "model/gguf.h"

enum { VD_PRETOKENIZER_PATTERNS_MAX = 6 };

enum {
    VD_PRE_IGNORE_MERGES = 1, /* a word that is a token is that token, whatever the merges say */
    VD_PRE_ADD_BOS = 2,       /* unless the file says otherwise */
    VD_PRE_RAW = 4,           /* symbols are characters and U+2581, not GPT-2's mapped bytes */
    VD_PRE_LINES = 8,         /* runs of newlines are looked up whole, beside the merges */
    VD_PRE_CUT_DIGITS = 16,   /* matches of the first pattern: digits in threes from the right */
    VD_PRE_CUT_NUMBERS = 32,  /* the same, where numbers of every kind count as digits */
    VD_PRE_CUT_SPACES = 64,   /* matches of the second: white space in powers of two, to 512 */
};

/* One family of names. A static table; pretokenizers.c. */
typedef struct vd_pretokenizer_row {
    const char *names; /* of tokenizer.ggml.pre, separated by spaces; the first is the best known */
    int flags;
    const char *pattern[VD_PRETOKENIZER_PATTERNS_MAX];
} vd_pretokenizer_row;

typedef struct vd_pretokenizer {
    const vd_pretokenizer_row *row; /* NULL: not initialized */
    void *pattern[VD_PRETOKENIZER_PATTERNS_MAX]; /* pcre2_code */
    int n_patterns;
} vd_pretokenizer;

/* The row that has the name, or NULL. */
const vd_pretokenizer_row *vd_pretokenizer_find(vd_str name);
/* The first name of each row, with commas between, as many as fit. */
void vd_pretokenizer_list(char *out, size_t room);

/* The pre-tokenizer of that name (tokenizer.ggml.pre), its patterns compiled. An unknown name is
 * VD_ERR_UNSUPPORTED and stands in the message. */
VD_NODISCARD vd_status vd_pretokenizer_init(vd_pretokenizer *pre, vd_str name, vd_err *err);
void vd_pretokenizer_done(vd_pretokenizer *pre);
static inline bool vd_pretokenizer_has(const vd_pretokenizer *pre, int flag)
{
    return pre->row != NULL && (pre->row->flags & flag) != 0;
}

/* Called for each word, text[start..start + n), in order; stops at the first failure. */
typedef vd_status vd_word_fn(void *context, size_t start, size_t n, vd_err *err);

/* text must be valid UTF-8. Many threads may split with the same pre-tokenizer. */
VD_NODISCARD vd_status vd_pretokenizer_split(const vd_pretokenizer *pre, const char *text, size_t n,
                                             vd_word_fn *word, void *context, vd_err *err);

#endif
