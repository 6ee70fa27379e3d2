/*
 * embed.h - embeddings of many texts with what they cost, for `verdant embed`: a window of them is
 * in the engine at any time, and they come out in their order. Single-owner.
 */
#ifndef VD_CLI_EMBED_H
#define VD_CLI_EMBED_H

#include "cli/session.h"

/* One text as tokens. */
typedef struct vd_embed_text {
    int32_t *ids; /* vd_ids_free */
    size_t n_ids;
} vd_embed_text;

/* What all of them took. */
typedef struct vd_embed_cost {
    size_t n_tokens;
    vd_energy energy;
    vd_carbon carbon;
} vd_embed_cost;

/* Text i has n_rows vectors of n values each, row after row; borrowed for the call. */
typedef vd_status (*vd_embed_fn)(void *ctx, size_t i, const float *vector, size_t n_rows, size_t n,
                                 vd_err *err);

/* The tokens of text i, as the model's vocabulary begins and ends a text. A text that is empty, no
 * UTF-8 or too long for the model is an error that names `what` ("text", "line") and 1 + i. */
VD_NODISCARD vd_status vd_embed_tokenize(vd_session *session, const char *what, size_t i,
                                         const char *text, size_t n, vd_embed_text *ret_text,
                                         vd_err *err);
/* `raw`: vectors keep their length. Ends with the first failure, on_vector's too; the engine is
 * closed then. */
VD_NODISCARD vd_status vd_embed_run(vd_session *session, const vd_embed_text *texts, size_t n_texts,
                                    vd_pooling pooling, bool raw, vd_embed_fn on_vector, void *ctx,
                                    vd_embed_cost *ret_cost, vd_err *err);

#endif
