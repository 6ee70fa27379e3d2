/*
 * vocabulary.h - the tokenizer of a folder, as GGUF wants it.
 *
 * From tokenizer.model (SentencePiece) where there is one, else from tokenizer.json; added tokens
 * and special ids from the files beside them. Ids are places in the embedding: what no file names
 * is a hole, "[PADn]". Owned by its arena; single-owner until written.
 */
#ifndef VD_IMPORT_VOCABULARY_H
#define VD_IMPORT_VOCABULARY_H

#include <jansson.h>

#include "base/arena.h"
#include "base/strmap.h"
#include "import/config.h"
#include "import/notes.h"
#include "model/gguf_write.h"

typedef enum vd_piece_kind { /* tokenizer.ggml.token_type */
    VD_PIECE_NORMAL = 1,
    VD_PIECE_UNKNOWN,
    VD_PIECE_CONTROL,
    VD_PIECE_USER,
    VD_PIECE_UNUSED,
    VD_PIECE_BYTE
} vd_piece_kind;

typedef struct vd_piece {
    vd_str text; /* n == 0: a hole */
    float score;
    uint8_t kind; /* vd_piece_kind */
    bool added;   /* not by the model: by added_tokens */
} vd_piece;

typedef enum vd_said { VD_UNSAID, VD_NO, VD_YES } vd_said;

typedef enum vd_special {
    VD_SPECIAL_BOS, VD_SPECIAL_EOS, VD_SPECIAL_UNK, VD_SPECIAL_SEP, VD_SPECIAL_PAD,
    VD_SPECIAL_CLS, VD_SPECIAL_MASK, VD_SPECIAL_EOT, VD_SPECIAL_COUNT
} vd_special;

typedef struct vd_vocabulary {
    vd_arena arena;
    const char *model; /* tokenizer.ggml.model: "gpt2", "llama", "t5", "bert" */
    const char *pre;   /* tokenizer.ggml.pre */
    vd_piece *piece;   /* [n] */
    uint32_t n;
    vd_strmap ids; /* text to id */
    bool has_scores;
    vd_str *merge; /* "left right" */
    size_t n_merges;
    vd_said space_prefix, squeeze_spaces; /* add_space_prefix, remove_extra_whitespaces */
    vd_said lowercase, strip_accents;
    vd_str charsmap; /* SentencePiece's normalizer, compiled */
    int32_t special[VD_SPECIAL_COUNT]; /* -1: none */
    vd_said add_bos, add_eos, add_sep;
    size_t n_beyond; /* texts whose id has no row */
    vd_notes *notes;
} vd_vocabulary;

typedef struct vd_vocabulary_options {
    const char *pre;  /* NULL: found from the patterns */
    const char *arch; /* decides between names that mean the same */
    uint32_t n;       /* rows of the embedding */
} vd_vocabulary_options;

/* VD_ERR_NOT_FOUND where the folder has no tokenizer; VD_ERR_FORMAT, VD_ERR_UNSUPPORTED with what
 * it has that GGUF cannot say. */
VD_NODISCARD vd_status vd_vocabulary_load(const char *folder, const vd_config *config,
                                          const vd_vocabulary_options *options, vd_notes *notes,
                                          vd_vocabulary *ret_vocabulary, vd_err *err);
void vd_vocabulary_done(vd_vocabulary *v);
/* Keys under "tokenizer.ggml." */
void vd_vocabulary_write(const vd_vocabulary *v, vd_gguf_out *out);

/* The parts of vd_vocabulary_load. Texts are copied into the arena. */

/* Fills piece[id]; one outside of [0, n) is noted, not taken. */
VD_NODISCARD vd_status vd_vocabulary_set(vd_vocabulary *v, uint64_t id, vd_str text, float score,
                                         vd_piece_kind kind, vd_err *err);
/* As vd_vocabulary_set for a token that the model itself does not have: what it splits its text
 * by. `special`: read only where it is meant. */
VD_NODISCARD vd_status vd_vocabulary_add(vd_vocabulary *v, uint64_t id, const char *text,
                                         bool special, vd_err *err);
/* -1 where there is none. */
int32_t vd_vocabulary_find(const vd_vocabulary *v, const char *text, size_t n);
/* tokenizer.model. */
VD_NODISCARD vd_status vd_vocabulary_sentencepiece(vd_vocabulary *v, const char *data, size_t n,
                                                   vd_err *err);
/* The model of tokenizer.json. */
VD_NODISCARD vd_status vd_vocabulary_json(vd_vocabulary *v, const json_t *tokenizer,
                                          const vd_vocabulary_options *options, vd_err *err);
/* Ids of tokens with a meaning, and which of them are put around a text. `tokenizer` may be
 * NULL. */
VD_NODISCARD vd_status vd_vocabulary_specials(vd_vocabulary *v, const char *folder,
                                              const vd_config *config, const json_t *tokenizer,
                                              const json_t *tokenizer_config, vd_err *err);

/* The name of a pre_tokenizer of tokenizer.json, by what it does. */
VD_NODISCARD vd_status vd_pre_find(const json_t *pre_tokenizer, bool ignore_merges,
                                   const char *arch, const char **ret_name, vd_err *err);

#endif
