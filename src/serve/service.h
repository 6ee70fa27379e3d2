/*
 * service.h - everything `verdant serve` runs: one meter, one energy account, the server, and a
 * model backend per model.
 *
 *   vd_service_block_signals     first of all, before any thread exists
 *   vd_service_open              binds; the port answers, with 503 "loading" for work
 *   vd_service_load              opens the models, measures the idle machine, says ready
 *   vd_service_run               until SIGTERM or SIGINT; settles the account once a second
 *   vd_service_close             drains (a second signal cuts that short), ends, frees
 *
 * All of it belongs to the main thread.
 */
#ifndef VD_SERVE_SERVICE_H
#define VD_SERVE_SERVICE_H

#include "serve/server.h"

typedef struct vd_service vd_service;

typedef struct vd_service_model {
    const char *name, *path; /* borrowed until the service is closed */
    vd_engine_options engine;
} vd_service_model;

typedef struct vd_service_options {
    vd_server_options server; /* `account` is filled in by the service */
    const vd_zone *zone;     /* of the built-in table, where the provider has no value yet */
    vd_provider_options carbon; /* name NULL or "table": only the table; texts borrowed */
    uint32_t carbon_period_s;
    vd_site site;
    vd_hardware_facts parts; /* what of it is configured; the rest is the machine's */
    vd_hardware hardware;    /* 0 in a field: guessed from the machine */
    const char *ledger; /* where the ledger lies; NULL: vd_books_path */
    const char *keys;   /* folder of the key of receipts; NULL: keys in VERDANT_HOME */
    bool no_ledger, no_receipts;
    uint64_t drain_ns;       /* 0: 30 s */
    const char *meter;       /* which energy meters; NULL: $VERDANT_METER, else "auto" */
    bool no_calibration;     /* spend no half second per model on learning its steps' cost */
    vd_service_model models[VD_MODELS_MAX];
    size_t n_models;
} vd_service_options;

/* Puts the defaults in for what is 0. vd_service_open does so by itself. */
void vd_service_options_fill(vd_service_options *options);

void vd_service_block_signals(void);

VD_NODISCARD vd_status vd_service_open(const vd_service_options *options,
                                       vd_service **ret_service, vd_err *err);
/* VD_ERR_CANCELLED when a signal came meanwhile. */
VD_NODISCARD vd_status vd_service_load(vd_service *service, vd_err *err);
void vd_service_run(vd_service *service);
void vd_service_close(vd_service *service); /* NULL is fine */

uint16_t vd_service_port(const vd_service *service);

#endif
