/* observe.h - lets the programs see an engine's work (energy accounts, metrics). */
#ifndef VD_ENGINE_OBSERVE_H
#define VD_ENGINE_OBSERVE_H

#include <verdant/engine.h>

#include "base/step.h"

/* Callbacks may be NULL. None may block or call into the engine. */
typedef struct vd_engine_observer {
    /* The engine takes this request: called in vd_engine_submit, by the submitting thread, under
     * the engine's lock and before any step can know the request. A failure refuses it. */
    vd_status (*on_accept)(void *ctx, uint64_t request_id, vd_err *err);
    /* On the compute thread, before the forward pass: who is in it; end_ns is 0. Drafted tokens
     * count as rejected until it is known which are taken. */
    void (*on_begin)(void *ctx, const vd_step *step);
    /* On the compute thread, after the forward pass and before the last event of an answer that
     * ends with it, so that an account knows the step when that event asks for its joules. */
    void (*on_step)(void *ctx, const vd_step *step);
    void *ctx;
    /* Request ids are first_id, first_id + 1, ...: so several engines can share one account.
     * 0 means 1. */
    uint64_t first_id;
    uint32_t model; /* goes into vd_step.model: which of several engines this is */
} vd_engine_observer;

/* Copied. Before the first request only. */
void vd_engine_observe(vd_engine *engine, const vd_engine_observer *observer);

#endif
