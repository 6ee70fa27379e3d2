/*
 * metrics.h - what /metrics shows, in Prometheus' text format 0.0.4.
 *
 * Counters are relaxed atomics: each is right by itself, a scrape is no snapshot of all of them.
 * Units are Prometheus' base units: seconds, bytes, joules, grams.
 */
#ifndef VD_SERVE_METRICS_H
#define VD_SERVE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "serve/backend.h"

struct vd_server;

enum {
    VD_N_ROUTES_MAX = 24,
    VD_N_STATUSES_MAX = 32,
    VD_N_BUCKETS = 14,
    VD_N_MODELS_MAX = 32,
    VD_N_PHASES = 3
};

typedef struct vd_histogram {
    atomic_uint_fast64_t bucket[VD_N_BUCKETS + 1]; /* not cumulative; the last is +Inf */
    atomic_uint_fast64_t sum_ns;
} vd_histogram;

typedef struct vd_metrics {
    /* [route][status]: statuses are found by vd_metrics_status_slot */
    atomic_uint_fast64_t requests[VD_N_ROUTES_MAX][VD_N_STATUSES_MAX];
    vd_histogram duration, step;
    atomic_uint_fast64_t prompt_tokens, cached_tokens, completion_tokens;
    atomic_uint_fast64_t finished[5]; /* by vd_finish */
    atomic_uint_fast64_t slow_readers, left_clients;
    /* Attributed to requests that ended, microjoules and nanograms. */
    atomic_uint_fast64_t cpu_uj, dram_uj, gpu_uj, operational_ng, embodied_ng;
    atomic_uint_fast64_t phase_uj[VD_N_MODELS_MAX][VD_N_PHASES]; /* of ended requests */
    atomic_uint_fast64_t begin_s;
} vd_metrics;

void vd_metrics_request(vd_metrics *metrics, unsigned route, unsigned http, uint64_t duration_ns);
void vd_histogram_add(vd_histogram *histogram, uint64_t duration_ns);
/* `model` is its place in the server. */
void vd_metrics_spent(vd_metrics *metrics, size_t model, const vd_spent *spent);
void vd_metrics_write(struct vd_server *server, vd_buf *out);

#endif
