/*
 * drafter.h - a second, smaller model that guesses tokens (speculative decoding: Leviathan et al.
 * 2023, Chen et al. 2023).
 *
 * It has the same vocabulary, a cache and a forward pass of its own, and runs between steps' begin
 * and the main pass, on the same threads: k passes for k guesses, over all requests together. It
 * draws with the request's own way of sampling and the random number of the place, so that two
 * models that agree guess alike. A guess need not be good to be safe: draft.h takes only what the
 * main model draws itself. So penalties are left out, and a request whose prompt the drafter has
 * not read yet, or for which its cache has no room, simply has no guesses.
 *
 * Its time is part of the step, so its energy falls on the requests of the step.
 */
#ifndef VD_ENGINE_DRAFTER_H
#define VD_ENGINE_DRAFTER_H

#include "model/forward.h"

typedef struct vd_engine vd_engine;
typedef struct vd_request vd_request;
typedef struct vd_drafter vd_drafter;

/* What a request has in the drafter. */
typedef struct vd_drafter_seq {
    vd_kv *kv; /* borrowed; NULL: there is no drafter */
    vd_kv_seq seq;
    size_t n_computed; /* tokens whose K and V stand in it */
    float rate;        /* how often its guesses were right lately */
    bool wanted;       /* a guess would be worth its price now */
} vd_drafter_seq;

/* For an engine that is open but for it. VD_ERR_FORMAT names the first token that differs between
 * the vocabularies. The engine is borrowed. */
VD_NODISCARD vd_status vd_drafter_open(const char *path, const vd_engine *engine,
                                       vd_drafter **ret_drafter, vd_err *err);
void vd_drafter_free(vd_drafter *drafter); /* NULL is fine */

/* Memory for a request of at most n_limit tokens. */
VD_NODISCARD vd_status vd_drafter_seq_init(vd_drafter *drafter, size_t n_limit,
                                           vd_drafter_seq *ret_seq, vd_err *err);
/* Gives the pages back. */
void vd_drafter_seq_reset(vd_drafter_seq *seq);
void vd_drafter_seq_done(vd_drafter_seq *seq);

/* Room for n tokens, so that up to n - n_tokens may be guessed? False for a request whose text the
 * drafter has yet to read: the next run reads a piece of it. */
bool vd_drafter_reserve(vd_request *request, size_t n);
/* Writes the guesses that the step being built counts on (r->n_draft behind token[n_tokens)). */
void vd_drafter_run(vd_drafter *drafter, vd_engine *engine);
/* Bytes of its weights and of its cache. */
size_t vd_drafter_weight_bytes(const vd_drafter *drafter);
size_t vd_drafter_kv_bytes(const vd_drafter *drafter);
/* What a pass for one more guess takes: learned, or, before, the part of a main pass of main_ns
 * that the drafter's weights are of the main model's. A drafter that cannot pay is then never
 * given a prompt to read. */
double vd_drafter_pass_ns(const vd_drafter *drafter, double main_ns);

#endif
