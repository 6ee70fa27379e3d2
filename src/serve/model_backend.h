/*
 * model_backend.h - a model behind the server: an engine with its own compute thread, the model's
 * chat template, and the energy account that hears of every request and step.
 */
#ifndef VD_SERVE_MODEL_BACKEND_H
#define VD_SERVE_MODEL_BACKEND_H

#include <verdant/engine.h>

#include "carbon/feed.h"
#include "energy/account/account.h"
#include "serve/backend.h"
#include "serve/metrics.h"

typedef struct vd_model_backend vd_model_backend;

typedef struct vd_model_backend_options {
    const char *path; /* of the GGUF file */
    vd_engine_options engine;
    uint64_t first_id;    /* of its requests, 2^48 apart from those of others in the account */
    uint64_t calibrate_ns; /* for learning what a step costs, before the first request; 0: none */
    uint32_t number;      /* of its steps in the account: each model's cost is its own */
    vd_account *account;  /* borrowed; room for max_running + max_waiting of every model */
    vd_feed *feed;        /* borrowed: the tags of the account's grams */
    vd_site site;         /* for PUE and water */
    vd_hardware hardware; /* for embodied carbon */
    vd_histogram *steps;  /* durations of forward passes go here; borrowed */
} vd_model_backend_options;

/* Opens the model and starts its compute thread. What vd_engine_open and vd_template_parse
 * return. */
VD_NODISCARD vd_status vd_model_backend_open(const vd_model_backend_options *options,
                                             vd_model_backend **ret_model, vd_err *err);
/* Ends what runs as cancelled and frees; NULL is fine. */
void vd_model_backend_close(vd_model_backend *model);

/* The face that the server sees; valid until closed. */
vd_backend vd_model_backend_face(vd_model_backend *model);
vd_engine_info vd_model_backend_info(const vd_model_backend *model);

#endif
