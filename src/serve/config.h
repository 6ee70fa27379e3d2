/*
 * config.h - what `verdant serve` reads from its configuration file (YAML, by libcyaml).
 *
 * examples/verdant.yaml shows every key with its default. A key that is not known, a number out of
 * its range, a name used twice: an error that says where. 0 or NULL in a field means its default.
 */
#ifndef VD_SERVE_CONFIG_H
#define VD_SERVE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <verdant/status.h>

#include "serve/service.h"

typedef struct vd_config_model {
    char *name, *ref; /* ref: a path or a stored name */
    char *pooling;    /* a word of vd_pooling_parse */
    char *speculate;  /* a word of vd_speculate_parse */
    char *draft;      /* like ref */
    uint32_t ctx_tokens, kv_tokens, max_running, max_waiting, step_tokens, threads;
    uint32_t draft_tokens, step_ms;
    char *kv;         /* a word of vd_kv_type_parse */
    bool exact, no_prefix_cache;
    uint32_t ref_line, draft_line; /* where they stand in the file, for messages */
} vd_config_model;

typedef struct vd_config_limits {
    uint32_t streams, connections, choices;
    uint32_t body_kib, bodies_kib, stream_kib;
    uint32_t head_seconds, body_seconds, idle_seconds;
} vd_config_limits;

typedef struct vd_config_hardware {
    double server_kg, life_years, reserved_share;
    uint32_t sockets, ssds, gpus;
    char *gpu; /* a part of vd_part_list */
} vd_config_hardware;

typedef struct vd_config_ledger {
    char *path, *keys;
    bool off, no_receipts;
} vd_config_ledger;

typedef struct vd_config_carbon {
    char *provider, *zone, *url, *file, *token_file, *kind, *scope, *unit;
    uint32_t period_seconds, timeout_seconds;
    double pue, wue_site_l_per_kwh, wue_grid_l_per_kwh;
} vd_config_carbon;

typedef struct vd_config_energy {
    bool *calibrate; /* NULL: yes */
    char *meter;
} vd_config_energy;

typedef struct vd_config {
    char *listen, *zone, *log_level;
    uint32_t drain_seconds;
    char **hosts;
    uint32_t n_hosts;
    vd_config_model *models;
    uint32_t n_models;
    vd_config_limits limits;
    vd_config_carbon carbon;
    vd_config_ledger ledger;
    vd_config_hardware hardware;
    vd_config_energy energy;
} vd_config;

/* Reads the file whole. VD_ERR_IO, VD_ERR_FORMAT with line and key, VD_ERR_NOMEM.
 * vd_config_free. */
VD_NODISCARD vd_status vd_config_load(const char *path, vd_config **ret_config, vd_err *err);
void vd_config_free(vd_config *config); /* NULL is fine */

/* All but listen, zone, log level and models. Names in `config` are borrowed by *options. */
void vd_config_limits_to(const vd_config *config, vd_service_options *options);
/* draft_path is what the file says, for vd_store_resolve; borrowed. */
vd_engine_options vd_config_engine(const vd_config_model *model);

/* The table's row: of `option` (NULL: none was given), else of carbon.zone where the table is the
 * provider, else of zone. For a live provider it stands in before the first value; without either
 * it is that of carbon.zone if the table has it, of GB for uk, else the world. VD_ERR_NOT_FOUND. */
VD_NODISCARD vd_status vd_config_zone(const vd_config *config, const char *option,
                                      const vd_zone **ret_zone, vd_err *err);

/* "127.0.0.1:8080", "[::1]:8080" or "localhost:0" into host and port. host: vd_free. VD_ERR_ARG. */
VD_NODISCARD vd_status vd_config_address(const char *listen, char **ret_host, uint16_t *ret_port,
                                         vd_err *err);

#endif
