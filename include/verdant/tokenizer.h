/*
 * tokenizer.h - text to token ids and back, by the vocabulary inside a GGUF file.
 *
 * Kinds: SPM (SentencePiece merges by score, with byte fallback), unigram (T5, XLM-RoBERTa), BPE
 * (byte-level, with the pre-tokenizer that tokenizer.ggml.pre names; raw, as Gemma 4), WordPiece
 * (BERT). A tokenizer is immutable and may be used by many threads at once. Time is linear in the
 * text (n log n at worst).
 */
#ifndef VERDANT_TOKENIZER_H
#define VERDANT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vd_tokenizer vd_tokenizer;

typedef enum vd_token_kind {
    VD_TOKEN_NORMAL = 1,
    VD_TOKEN_UNKNOWN = 2,
    VD_TOKEN_CONTROL = 3,
    VD_TOKEN_USER = 4,
    VD_TOKEN_UNUSED = 5,
    VD_TOKEN_BYTE = 6
} vd_token_kind;

typedef struct vd_encode_options {
    bool no_bos_eos;   /* do not add what the vocabulary adds at the ends */
    bool parse_special; /* "<|im_start|>" in the text is the token, not characters */
    /* Offsets into the text, ascending: a special token whose text has one of them inside (not at
     * its first byte) is read as characters all the same. Borrowed; NULL for none. */
    const size_t *literal;
    size_t n_literal;
} vd_encode_options;

/* Opens only the vocabulary of a GGUF file of any architecture. */
VD_API VD_NODISCARD vd_status vd_tokenizer_open(const char *path, vd_tokenizer **ret_tokenizer,
                                                vd_err *err);
VD_API void vd_tokenizer_free(vd_tokenizer *tokenizer);

/* text[0..n), valid UTF-8 or not (bytes that are not become byte tokens or unknown). *ret_ids is
 * the caller's (vd_ids_free); *ret_n their number. options NULL: BOS/EOS as the vocabulary says,
 * special tokens not read. */
VD_API VD_NODISCARD vd_status vd_tokenizer_encode(const vd_tokenizer *tokenizer, const char *text,
                                                  size_t n, const vd_encode_options *options,
                                                  int32_t **ret_ids, size_t *ret_n, vd_err *err);
VD_API void vd_ids_free(int32_t *ids);

/* The bytes of one token as they stand inside running text (a leading space is kept). Control
 * tokens give "" unless `special`. Borrowed from the tokenizer; not NUL-terminated; ids outside
 * the vocabulary give "". */
VD_API const char *vd_tokenizer_piece(const vd_tokenizer *tokenizer, int32_t id, bool special,
                                      size_t *ret_n);
/* Whole ids to text: what the encoder added at the front (SPM's space) is taken off.
 * vd_text_free. */
VD_API VD_NODISCARD vd_status vd_tokenizer_decode(const vd_tokenizer *tokenizer, const int32_t *ids,
                                                  size_t n, bool special, char **ret_text,
                                                  size_t *ret_n, vd_err *err);
VD_API void vd_text_free(char *text);

VD_API size_t vd_tokenizer_n_vocab(const vd_tokenizer *tokenizer);
/* -1 where the vocabulary has none. */
VD_API int32_t vd_tokenizer_bos(const vd_tokenizer *tokenizer);
VD_API int32_t vd_tokenizer_eos(const vd_tokenizer *tokenizer);
VD_API bool vd_tokenizer_adds_bos(const vd_tokenizer *tokenizer);
/* Ends a turn or a text: eos, eot, and what the vocabulary marks so. */
VD_API bool vd_tokenizer_is_end(const vd_tokenizer *tokenizer, int32_t id);
VD_API vd_token_kind vd_tokenizer_kind(const vd_tokenizer *tokenizer, int32_t id);
/* The id of exactly this token text ("<|im_end|>"), or -1. */
VD_API int32_t vd_tokenizer_find(const vd_tokenizer *tokenizer, const char *text, size_t n);

#ifdef __cplusplus
}
#endif
#endif
