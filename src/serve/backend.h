/*
 * backend.h - what the server needs of a model, and nothing more.
 *
 * model_backend.c fills it from an engine; the tests fill it with a machine they control. All
 * functions may be called from any thread and none may block for longer than it computes.
 */
#ifndef VD_SERVE_BACKEND_H
#define VD_SERVE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/engine.h>

#include "base/buf.h"
#include "base/json.h"
#include "carbon/carbon.h"
#include "energy/energy.h"

/* What one engine request cost. */
typedef struct vd_spent {
    vd_energy energy; /* method NULL: nothing was measured */
    vd_carbon carbon;
} vd_spent;

typedef struct vd_backend_info {
    const char *fingerprint; /* of build, weights and kernels: "fp_..." */
    int64_t created_s;       /* when the weights were made, Unix seconds */
    size_t n_vocab, ctx_tokens, kv_tokens;
    size_t n_embd, max_running;
    bool encoder;         /* embeddings, no text */
    vd_pooling pooling;   /* of its embeddings */
    bool pooling_known;   /* the file or the configuration says so */
} vd_backend_info;

/* On the compute thread; must not block. `spent` comes with the last event, else NULL. */
typedef void (*vd_backend_event_fn)(void *ctx, const vd_event *event, const vd_spent *spent);

typedef struct vd_backend_ops {
    vd_backend_info (*info)(void *self);
    /* Appends int32_t ids to `ids`: text as it stands, with the vocabulary's BOS; no special token
     * is read. */
    vd_status (*encode)(void *self, const char *text, size_t n, vd_buf *ids, vd_err *err);
    /* The same for messages (role, content) by way of the model's chat template. What looks like a
     * special token inside a message stays text. */
    vd_status (*encode_chat)(void *self, json_t *messages, vd_buf *ids, vd_err *err);
    /* Borrowed bytes of one token. Control tokens show nothing in a text; `special` gives their
     * names. */
    const char *(*piece)(void *self, int32_t id, bool special, size_t *ret_n);
    bool (*is_end)(void *self, int32_t id);
    /* As vd_engine_submit; on_event and ctx of `options` are not looked at. */
    vd_status (*submit)(void *self, const vd_request_options *options,
                        vd_backend_event_fn on_event, void *ctx, uint64_t *ret_id, vd_err *err);
    void (*cancel)(void *self, uint64_t id);
    vd_engine_stats (*stats)(void *self);
} vd_backend_ops;

typedef struct vd_backend {
    const vd_backend_ops *ops;
    void *self;
} vd_backend;

#endif
