/*
 * tokenizer.h - what the layers above need of a tokenizer beside <verdant/tokenizer.h>.
 */
#ifndef VD_TEXT_TOKENIZER_H
#define VD_TEXT_TOKENIZER_H

#include <verdant/tokenizer.h>

#include "model/gguf.h"

/* Builds the tokenizer of an open file. It copies what it needs: `gguf` may be freed right after.
 * VD_ERR_FORMAT names the field that is wrong, VD_ERR_UNSUPPORTED the tokenizer model or the
 * pre-tokenizer that we lack, VD_ERR_NOT_FOUND a file without a vocabulary, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_tokenizer_create(const vd_gguf *gguf, vd_tokenizer **ret_tokenizer,
                                           vd_err *err);

/* Bytes of the longest piece: what a buffer needs so that one more token always fits. */
size_t vd_tokenizer_piece_max(const vd_tokenizer *tokenizer);

/* The token text as the vocabulary writes it ("Ġhello", "▁hello"), borrowed from the tokenizer;
 * "" for ids outside the vocabulary. */
vd_str vd_tokenizer_text(const vd_tokenizer *tokenizer, int32_t id);

#endif
