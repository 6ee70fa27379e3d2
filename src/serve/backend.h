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

/* What one engine request cost, in integer microjoules so that sums are exact. */
typedef struct vd_spent {
    int64_t total_uj, active_uj, idle_share_uj, prefill_uj, decode_uj;
    int64_t cpu_uj, dram_uj, gpu_uj;
    double operational_g, embodied_g; /* of CO2 equivalent */
    bool unsettled;                   /* the meter window is still open: a later figure sums */
} vd_spent;

/* How it was measured: the same for all requests of a process. Borrowed strings, NULL = unknown. */
typedef struct vd_spent_basis {
    const char *method; /* "rapl", "model" */
    double uncertainty_pct;
    double intensity_g_per_kwh;
    const char *kind, *scope, *basis, *zone, *source, *valid_at;
} vd_spent_basis;

typedef struct vd_backend_info {
    const char *fingerprint; /* of build, weights and kernels: "fp_..." */
    int64_t created_s;       /* when the weights were made, Unix seconds */
    size_t n_vocab, ctx_tokens, kv_tokens;
    bool has_template;
} vd_backend_info;

/* On the compute thread; must not block. `spent` comes with the last event, else NULL. */
typedef void (*vd_backend_event_fn)(void *ctx, const vd_event *event, const vd_spent *spent);

typedef struct vd_backend_ops {
    vd_backend_info (*info)(void *self);
    /* Appends int32_t ids to `ids`. `chat` text comes from the template: it carries its own BOS and
     * its special tokens are read; other text gets the vocabulary's BOS and reads none. */
    vd_status (*encode)(void *self, const char *text, size_t n, bool chat, vd_buf *ids,
                        vd_err *err);
    /* Borrowed bytes of one token, special ones too. */
    const char *(*piece)(void *self, int32_t id, size_t *ret_n);
    bool (*is_end)(void *self, int32_t id);
    /* Messages (role, content) through the chat template, with the generation prompt. */
    vd_status (*render)(void *self, json_t *messages, vd_buf *text, vd_err *err);
    /* As vd_engine_submit; on_event and ctx of `options` are not looked at. */
    vd_status (*submit)(void *self, const vd_request_options *options,
                        vd_backend_event_fn on_event, void *ctx, uint64_t *ret_id, vd_err *err);
    void (*cancel)(void *self, uint64_t id);
    vd_engine_stats (*stats)(void *self);
    vd_spent_basis (*basis)(void *self);
} vd_backend_ops;

typedef struct vd_backend {
    const vd_backend_ops *ops;
    void *self;
} vd_backend;

#endif
