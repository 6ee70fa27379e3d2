/* encode.h - one encode call: its scratch memory and the ids found so far. Single-owner. */
#ifndef VD_TEXT_ENCODE_H
#define VD_TEXT_ENCODE_H

#include "base/buf.h"
#include "text/merge.h"
#include "text/vocab.h"

typedef struct vd_encoder {
    const vd_tokenizer *tokenizer;
    vd_merger merger;
    vd_buf scratch; /* the fragment as the vocabulary writes it */
    vd_buf word;    /* one word as the vocabulary writes it */
    vd_buf pattern_text; /* what the pre-tokenizer's patterns see where the text is not UTF-8 */
    struct vd_ugm_best *best; /* unigram: places in a word */
    size_t best_capacity;
    int32_t *ids;
    size_t n, capacity;
    bool after_unknown; /* the last id is the unknown token of an unbroken run */
} vd_encoder;

VD_NODISCARD vd_status vd_encoder_emit(vd_encoder *encoder, int32_t id, vd_err *err);
/* For text that no token covers: its bytes' tokens; where one has none, the unknown token, once for
 * a run; without an unknown token nothing. */
VD_NODISCARD vd_status vd_encoder_emit_bytes(vd_encoder *encoder, const char *bytes, size_t n,
                                             vd_err *err);

/* text[0..n) into the scratch buffer, behind a space if asked, with U+2581 for each space. */
VD_NODISCARD vd_status vd_encoder_escape(vd_encoder *encoder, const char *text, size_t n,
                                         bool space_first, vd_err *err);
/* The first place behind `at` where text[0..n) may be cut because nothing merges across. */
size_t vd_encoder_next_cut(const vd_tokenizer *tokenizer, const char *text, size_t n, size_t at);
/* Makes a chain of text's characters, each with its symbol; a byte that is not UTF-8 is one too. */
VD_NODISCARD vd_status vd_encoder_chain(vd_encoder *encoder, const char *text, uint32_t n,
                                        vd_err *err);

/* A fragment of text without special tokens. */
VD_NODISCARD vd_status vd_spm_encode(vd_encoder *encoder, const char *text, size_t n,
                                     bool after_special, vd_err *err);
VD_NODISCARD vd_status vd_ugm_encode(vd_encoder *encoder, const char *text, size_t n, vd_err *err);
VD_NODISCARD vd_status vd_bpe_encode(vd_encoder *encoder, const char *text, size_t n, vd_err *err);
VD_NODISCARD vd_status vd_wordpiece_encode(vd_encoder *encoder, const char *text, size_t n,
                                           vd_err *err);

#endif
