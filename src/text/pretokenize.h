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

typedef struct vd_pretokenizer_row vd_pretokenizer_row;

typedef struct vd_pretokenizer {
    const vd_pretokenizer_row *row;
    void *pattern[VD_PRETOKENIZER_PATTERNS_MAX]; /* pcre2_code */
    int n_patterns;
    bool ignore_merges; /* a word that is a token is that token, whatever the merges say */
    bool add_bos;       /* unless the file says otherwise */
    bool raw;           /* symbols are characters and U+2581, not GPT-2's mapped bytes */
} vd_pretokenizer;

/* The pre-tokenizer of that name (tokenizer.ggml.pre), its patterns compiled. An unknown name is
 * VD_ERR_UNSUPPORTED and stands in the message. */
VD_NODISCARD vd_status vd_pretokenizer_init(vd_pretokenizer *pre, vd_str name, vd_err *err);
void vd_pretokenizer_done(vd_pretokenizer *pre);

/* Called for each word, text[start..start + n), in order; stops at the first failure. */
typedef vd_status vd_word_fn(void *context, size_t start, size_t n, vd_err *err);

/* text must be valid UTF-8. Many threads may split with the same pre-tokenizer. */
VD_NODISCARD vd_status vd_pretokenizer_split(const vd_pretokenizer *pre, const char *text, size_t n,
                                             vd_word_fn *word, void *context, vd_err *err);

#endif
