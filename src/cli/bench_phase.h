/*
 * bench_phase.h - one measurement of an open engine: so many sequences read a prompt, or write
 * behind so much context. Steps the engine in the calling thread. Single-owner.
 *
 * What is timed:
 *   prefill   from the submission to the last first token; the `depth` tokens before the prompt are
 *             in the cache already
 *   decode    `n` tokens of each sequence, from the moment at which all have their first token
 */
#ifndef VD_CLI_BENCH_PHASE_H
#define VD_CLI_BENCH_PHASE_H

#include <stdbool.h>
#include <verdant/engine.h>

#include "energy/meter.h"

enum { VD_BENCH_BATCH_MAX = 256 };

typedef struct vd_bench_shape {
    bool prefill; /* else decode */
    size_t n;     /* tokens of each sequence */
    size_t depth; /* tokens of context before them; decode at 0 begins behind a short prompt */
    size_t batch; /* sequences at once */
} vd_bench_shape;

typedef struct vd_bench_seq {
    struct vd_bench_phase *phase;
    uint64_t id;
    size_t n_tokens;
} vd_bench_seq;

/* {.engine, .meter} to begin with. */
typedef struct vd_bench_phase {
    vd_engine *engine;
    vd_meter *meter;
    size_t n_alive, n_first, n_tokens; /* requests running; that gave a token; tokens given */
    size_t n_cached;                   /* prompt tokens found in the cache, of those that ended */
    vd_status failed;
    vd_bench_seq seq[VD_BENCH_BATCH_MAX];
} vd_bench_phase;

typedef struct vd_bench_speed {
    vd_reading from, to;
    uint64_t tokens;         /* between them, of all sequences */
    uint64_t context_tokens; /* of decode: read before, not found in the cache */
    uint64_t context_ns;
} vd_bench_speed;

/* Raises ctx_tokens, kv_tokens and max_running to what the shape needs. */
void vd_bench_room(const vd_bench_shape *shape, vd_engine_options *options);
/* Different tokens in every sequence; other ones for another `salt`, but for the `depth` tokens,
 * which a cache may keep from measurement to measurement. */
VD_NODISCARD vd_status vd_bench_phase_run(vd_bench_phase *phase, const vd_bench_shape *shape,
                                          uint64_t salt, vd_bench_speed *ret_speed, vd_err *err);

/* Submits a request of n_prompt tokens that `seed` decides, greedy and to its full length; the
 * caller has set n_prompt, max_tokens, on_event and ctx. */
VD_NODISCARD vd_status vd_bench_submit(vd_engine *engine, uint64_t seed,
                                       vd_request_options *options, vd_err *err);

#endif
