/*
 * vocab.h - the inside of a vd_tokenizer, shared by the files of src/text that build and run it.
 *
 * Words used here. A *token* is an entry of the vocabulary, its id below n_vocab. A *ghost* is a
 * string that only the merge list names: it can appear while merging, but not in the result. Both
 * are *symbols*; `symbols` maps their text to their number.
 *
 * Immutable after vd_tokenizer_create; everything lives in `arena` but the maps and the patterns.
 */
#ifndef VD_TEXT_VOCAB_H
#define VD_TEXT_VOCAB_H

#include "base/arena.h"
#include "base/strmap.h"
#include "text/charsmap.h"
#include "text/pairmap.h"
#include "text/prefix.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

/* A space as SentencePiece writes it: U+2581 LOWER ONE EIGHTH BLOCK. */
#define VD_SPACE_MARK "\xE2\x96\x81"
enum { VD_SPACE_MARK_BYTES = 3 };

#define VD_NO_SYMBOL UINT32_MAX
#define VD_NO_RANK UINT32_MAX

typedef enum vd_tokenizer_model {
    VD_TOKENIZER_SPM,
    VD_TOKENIZER_UGM,
    VD_TOKENIZER_BPE,
    VD_TOKENIZER_WORDPIECE
} vd_tokenizer_model;

enum {
    VD_TOKEN_FLAG_END = 1,    /* ends a turn or a text */
    VD_TOKEN_FLAG_LSTRIP = 2, /* swallows the white space before it */
    VD_TOKEN_FLAG_RSTRIP = 4, /* swallows the white space behind it */
};

struct vd_tokenizer {
    vd_arena arena;
    vd_tokenizer_model model;
    uint32_t n_vocab;
    vd_str *text;   /* [n_vocab] as the vocabulary writes it */
    vd_str *piece;  /* [n_vocab] as it stands in running text */
    uint8_t *kind;  /* [n_vocab] vd_token_kind */
    uint8_t *flags; /* [n_vocab] */
    size_t text_max, piece_max; /* bytes of the longest */
    vd_strmap symbols;
    uint32_t n_symbols; /* tokens and ghosts */

    int32_t bos, eos, sep, unk; /* -1: none */
    bool add_bos, add_eos, add_sep;
    bool add_space_prefix; /* SPM, unigram: a space before the text and after special tokens */
    bool merge_spaces;     /* unigram: runs of spaces are one, and none stand at the ends */
    bool escape_spaces;    /* all but byte-level BPE: spaces are U+2581 inside the vocabulary */
    bool keeps_bytes;      /* unigram: every byte has a token, so bytes that are no text stay */
    bool raw_bytes;        /* BPE: symbols are characters of the text, not mapped bytes */
    bool lowercase, strip_accents; /* WordPiece */
    uint32_t byte_symbol[256];     /* what stands for a byte when nothing else does */

    uint32_t *rank;         /* SPM, [n_vocab]: 0 merges first; equal scores share a rank */
    float *score;           /* unigram, [n_vocab]: log-probabilities */
    double unknown_score;   /* unigram: of a character that no token covers */
    vd_charsmap charsmap;   /* unigram: normalization */
    vd_pairmap pairs;       /* BPE: two symbols -> rank */
    uint32_t *merged;       /* BPE, [n_merges]: rank -> symbol */
    uint32_t n_merges;
    bool joins[256];        /* bytes that stand right before U+2581 inside some symbol */

    vd_pretokenizer pre;    /* BPE */
    vd_prefix_table added;  /* user-defined tokens: always read */
    vd_prefix_table special; /* these and control and unknown ones: read when asked for */
    vd_prefix_table words;  /* WordPiece: all tokens; unigram: the normal ones */
};

/* The id of a token text, or -1; ghosts are not tokens. */
int32_t vd_vocab_find(const vd_tokenizer *tokenizer, const char *text, size_t n);

/* GPT-2's writing of bytes as printable characters: the code point that stands for a byte, and
 * back (-1 where the code point stands for none). */
uint32_t vd_byte_to_code(unsigned char byte);
int vd_code_to_byte(uint32_t code);

/* The parts of vd_tokenizer_create, each in its file. */
VD_NODISCARD vd_status vd_vocab_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err);
VD_NODISCARD vd_status vd_vocab_make_pieces(vd_tokenizer *tokenizer, vd_err *err);
VD_NODISCARD vd_status vd_vocab_mark_special(vd_tokenizer *tokenizer, const vd_gguf *gguf,
                                             vd_err *err);
/* Fills `joins`: between another byte and U+2581 nothing merges, so text may be cut there. */
void vd_vocab_find_joins(vd_tokenizer *tokenizer);
VD_NODISCARD vd_status vd_spm_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err);
VD_NODISCARD vd_status vd_ugm_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err);
VD_NODISCARD vd_status vd_bpe_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err);
VD_NODISCARD vd_status vd_wordpiece_load(vd_tokenizer *tokenizer, const vd_gguf *gguf, vd_err *err);

#endif
