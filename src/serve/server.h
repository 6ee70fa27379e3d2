/*
 * server.h - the whole server: gate, libmicrohttpd, workers, models.
 *
 *   vd_server_create   binds; /healthz answers, /readyz and the API say 503 "loading"
 *   vd_server_add_model, vd_server_ready
 *   vd_server_stop     503 for new work, waits for what runs, then cancels it, then closes
 *
 * Threads: one gate, N_DAEMONS of libmicrohttpd (each connection stays on one), N_WORKERS that
 * parse and submit, and one compute thread per engine. create, add_model, ready, stop and free
 * belong to one thread; the rest is internal.
 */
#ifndef VD_SERVE_SERVER_H
#define VD_SERVE_SERVER_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "carbon/feed.h"
#include "energy/account/account.h"
#include "serve/backend.h"
#include "serve/gate.h"
#include "serve/metrics.h"
#include "serve/worker.h"

enum {
    VD_N_DAEMONS = 2,
    VD_N_WORKERS = 2,
    VD_MODELS_MAX = 32,
    VD_HOSTS_MAX = 16,
};

/* {0} in a field means its default. */
typedef struct vd_server_options {
    const char *host;          /* "127.0.0.1" */
    uint16_t port;             /* 0: any free one */
    size_t max_streams;        /* requests in work together; 1,024 */
    size_t max_connections;    /* max_streams + 256 */
    size_t body_bytes_max;     /* of one request; 4 MiB */
    size_t bodies_bytes_max;   /* of all requests together; 256 MiB */
    size_t stream_bytes_max;   /* events waiting for one slow reader; 64 KiB */
    size_t max_choices;        /* n x prompts of one request; 128 */
    uint64_t head_ns, body_ns, idle_ns; /* 10 s, 60 s, 75 s */
    const char *hosts[VD_HOSTS_MAX]; /* further names in Host and Origin; borrowed */
    size_t n_hosts;
    vd_account *account; /* for /metrics; borrowed, NULL: no meter is shown */
    struct vd_books *books; /* borrowed; NULL: none are kept */
    vd_feed *feed;       /* for /v1/carbon/intensity and /metrics; borrowed, NULL: no such route */
} vd_server_options;

typedef enum vd_server_state {
    VD_SERVER_LOADING,
    VD_SERVER_READY,
    VD_SERVER_DRAINING,
} vd_server_state;

typedef struct vd_model_entry {
    const char *name; /* borrowed until the server is freed */
    vd_backend backend;
} vd_model_entry;

typedef struct vd_server {
    vd_server_options options;
    bool loopback; /* listens on a loopback address: Host is checked */
    vd_gate *gate;
    struct MHD_Daemon *daemons[VD_N_DAEMONS];
    vd_workers *workers;
    vd_workers *readers; /* of slow GETs, one at a time: they keep no request waiting */
    vd_metrics metrics;
    atomic_int state;          /* vd_server_state */
    atomic_uint next_daemon;
    atomic_size_t n_running;   /* admitted requests */
    atomic_size_t n_requests;  /* vd_exchange objects alive */
    atomic_size_t bodies_bytes; /* held for bodies now */
    vd_model_entry models[VD_MODELS_MAX]; /* constant below n_models */
    atomic_size_t n_models;
} vd_server;

/* Puts the defaults in for what is 0. vd_server_create does so by itself. */
void vd_server_options_fill(vd_server_options *options);
VD_NODISCARD vd_status vd_server_create(const vd_server_options *options, vd_server **ret_server,
                                        vd_err *err);
VD_NODISCARD vd_status vd_server_add_model(vd_server *server, const char *name,
                                           const vd_backend *backend, vd_err *err);
void vd_server_ready(vd_server *server);
/* Drains at most drain_ns; returns sooner when *hurry becomes true (NULL: never). Ends with every
 * connection closed and no request alive. */
void vd_server_stop(vd_server *server, uint64_t drain_ns, const atomic_bool *hurry);
void vd_server_free(vd_server *server); /* stops without a drain when it runs; NULL is fine */

/* May a model have this name? 1 to 128 bytes of UTF-8 without control characters; VD_ERR_ARG. */
VD_NODISCARD vd_status vd_model_name_check(const char *name, vd_err *err);
uint16_t vd_server_port(const vd_server *server);
const vd_model_entry *vd_server_model(const vd_server *server, const char *name);

#endif
