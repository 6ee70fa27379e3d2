/* config.c - see config.h: the schema, what a schema cannot say, and the options it all becomes. */
#include "serve/config.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/log.h"
#include "serve/config_yaml.h"
#include "serve/listen.h"

enum { FILE_BYTES_MAX = 1 << 20, TEXT_MAX = 4096, TOKENS_MAX = 1 << 24 };
static const double life_min_years = 0.1, share_min = 1e-6; /* of a machine, of a server */

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(key, type, member)                                                                    \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | OPTIONAL, type, member, 1, TEXT_MAX)
#define COUNT(key, type, member) CYAML_FIELD_UINT(key, OPTIONAL, type, member)
#define REAL(key, type, member) CYAML_FIELD_FLOAT(key, OPTIONAL, type, member)
#define YES(key, type, member) CYAML_FIELD_BOOL(key, OPTIONAL, type, member)

static const cyaml_schema_field_t model_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, vd_config_model, name, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("ref", CYAML_FLAG_POINTER, vd_config_model, ref, 1, TEXT_MAX),
    TEXT("pooling", vd_config_model, pooling),
    TEXT("speculate", vd_config_model, speculate),
    TEXT("draft", vd_config_model, draft),
    COUNT("draft_tokens", vd_config_model, draft_tokens),
    COUNT("step_ms", vd_config_model, step_ms),
    TEXT("kv", vd_config_model, kv),
    COUNT("ctx_tokens", vd_config_model, ctx_tokens),
    COUNT("kv_tokens", vd_config_model, kv_tokens),
    COUNT("max_running", vd_config_model, max_running),
    COUNT("max_waiting", vd_config_model, max_waiting),
    COUNT("step_tokens", vd_config_model, step_tokens),
    COUNT("threads", vd_config_model, threads),
    YES("exact", vd_config_model, exact),
    YES("no_prefix_cache", vd_config_model, no_prefix_cache),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t model_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, vd_config_model, model_fields),
};

static const cyaml_schema_value_t host_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 256),
};

static const cyaml_schema_field_t limits_fields[] = {
    COUNT("streams", vd_config_limits, streams),
    COUNT("connections", vd_config_limits, connections),
    COUNT("choices", vd_config_limits, choices),
    COUNT("body_kib", vd_config_limits, body_kib),
    COUNT("bodies_kib", vd_config_limits, bodies_kib),
    COUNT("stream_kib", vd_config_limits, stream_kib),
    COUNT("head_seconds", vd_config_limits, head_seconds),
    COUNT("body_seconds", vd_config_limits, body_seconds),
    COUNT("idle_seconds", vd_config_limits, idle_seconds),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t hardware_fields[] = {
    REAL("server_kg", vd_config_hardware, server_kg),
    REAL("life_years", vd_config_hardware, life_years),
    REAL("reserved_share", vd_config_hardware, reserved_share),
    COUNT("sockets", vd_config_hardware, sockets),
    COUNT("ssds", vd_config_hardware, ssds),
    COUNT("gpus", vd_config_hardware, gpus),
    TEXT("gpu", vd_config_hardware, gpu),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t ledger_fields[] = {
    TEXT("path", vd_config_ledger, path),
    YES("off", vd_config_ledger, off),
    TEXT("keys", vd_config_ledger, keys),
    YES("no_receipts", vd_config_ledger, no_receipts),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t carbon_fields[] = {
    TEXT("provider", vd_config_carbon, provider),
    TEXT("zone", vd_config_carbon, zone),
    TEXT("url", vd_config_carbon, url),
    TEXT("file", vd_config_carbon, file),
    TEXT("token_file", vd_config_carbon, token_file),
    TEXT("kind", vd_config_carbon, kind),
    TEXT("scope", vd_config_carbon, scope),
    TEXT("unit", vd_config_carbon, unit),
    COUNT("period_seconds", vd_config_carbon, period_seconds),
    COUNT("timeout_seconds", vd_config_carbon, timeout_seconds),
    REAL("pue", vd_config_carbon, pue),
    REAL("wue_site_l_per_kwh", vd_config_carbon, wue_site_l_per_kwh),
    REAL("wue_grid_l_per_kwh", vd_config_carbon, wue_grid_l_per_kwh),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t energy_fields[] = {
    CYAML_FIELD_BOOL_PTR("calibrate", OPTIONAL, vd_config_energy, calibrate),
    TEXT("meter", vd_config_energy, meter),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
    TEXT("listen", vd_config, listen),
    TEXT("zone", vd_config, zone),
    TEXT("log_level", vd_config, log_level),
    COUNT("drain_seconds", vd_config, drain_seconds),
    CYAML_FIELD_SEQUENCE_COUNT("hosts", CYAML_FLAG_POINTER | OPTIONAL, vd_config, hosts, n_hosts,
                               &host_value, 0, VD_HOSTS_MAX),
    CYAML_FIELD_SEQUENCE_COUNT("models", CYAML_FLAG_POINTER | OPTIONAL, vd_config, models, n_models,
                               &model_value, 0, VD_MODELS_MAX),
    CYAML_FIELD_MAPPING("limits", OPTIONAL, vd_config, limits, limits_fields),
    CYAML_FIELD_MAPPING("carbon", OPTIONAL, vd_config, carbon, carbon_fields),
    CYAML_FIELD_MAPPING("energy", OPTIONAL, vd_config, energy, energy_fields),
    CYAML_FIELD_MAPPING("ledger", OPTIONAL, vd_config, ledger, ledger_fields),
    CYAML_FIELD_MAPPING("hardware", OPTIONAL, vd_config, hardware, hardware_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t config_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, vd_config, config_fields),
};

/* What libcyaml would still complain of: the schema and config_yaml.c do not agree. */
static void collect(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    vd_err *why = ctx;
    size_t n = strlen(why->message);
    vsnprintf(why->message + n, sizeof(why->message) - n, fmt, args);
    why->message[strcspn(why->message, "\n")] = '\0';
}

static void *resize(void *ctx, void *old, size_t size)
{
    if (size != 0)
        return vd_realloc(old, size);
    vd_free(old);
    return NULL;
}

static cyaml_config_t library(vd_err *why)
{
    return (cyaml_config_t){.log_fn = collect,
                            .log_ctx = why,
                            .mem_fn = resize,
                            .log_level = CYAML_LOG_ERROR,
                            .flags = CYAML_CFG_NO_ALIAS};
}

void vd_config_free(vd_config *config)
{
    vd_err why = {0};
    cyaml_config_t cyaml = library(&why);
    if (config != NULL)
        cyaml_free(&cyaml, &config_value, config, 0);
}

/* ---- what a schema cannot say ----------------------------------------------------------------*/

static vd_status check_range(const vd_yaml *yaml, const char *key, double value, double max,
                             vd_err *err)
{
    if (value >= 0 && value <= max)
        return VD_OK;
    return vd_yaml_fail(yaml, key, err, "is %.10g; it must lie in 0 to %.10g", value, max);
}

static vd_status check_numbers(const vd_yaml *yaml, const vd_config *c, vd_err *err)
{
    const vd_config_limits *l = &c->limits;
    const struct {
        const char *key;
        double value, max;
    } numbers[] = {
        {"drain_seconds", c->drain_seconds, 86400},
        {"limits.streams", l->streams, 65536},
        {"limits.connections", l->connections, 65536 + 4096},
        {"limits.choices", l->choices, 128},
        {"limits.body_kib", l->body_kib, 1 << 20},
        {"limits.bodies_kib", l->bodies_kib, 1 << 26},
        {"limits.stream_kib", l->stream_kib, 1 << 20},
        {"limits.head_seconds", l->head_seconds, 3600},
        {"limits.body_seconds", l->body_seconds, 86400},
        {"limits.idle_seconds", l->idle_seconds, 86400},
        {"hardware.server_kg", c->hardware.server_kg, 1e6},
        {"hardware.life_years", c->hardware.life_years, 100},
        {"hardware.reserved_share", c->hardware.reserved_share, 1},
        {"hardware.sockets", c->hardware.sockets, 64},
        {"hardware.ssds", c->hardware.ssds, 1024},
        {"hardware.gpus", c->hardware.gpus, 64},
        {"carbon.period_seconds", c->carbon.period_seconds, 86400},
        {"carbon.timeout_seconds", c->carbon.timeout_seconds, 300},
        {"carbon.pue", c->carbon.pue, 10},
        {"carbon.wue_site_l_per_kwh", c->carbon.wue_site_l_per_kwh, 100},
        {"carbon.wue_grid_l_per_kwh", c->carbon.wue_grid_l_per_kwh, 100},
    };
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(numbers); i++)
        st = check_range(yaml, numbers[i].key, numbers[i].value, numbers[i].max, err);
    return st;
}

static vd_status check_model(const vd_yaml *yaml, const vd_config *c, size_t i, vd_err *err)
{
    const vd_config_model *m = &c->models[i];
    const struct {
        const char *key;
        uint32_t value, max;
    } numbers[] = {
        {"ctx_tokens", m->ctx_tokens, TOKENS_MAX},   {"kv_tokens", m->kv_tokens, TOKENS_MAX},
        {"max_running", m->max_running, 4096},       {"max_waiting", m->max_waiting, 65536},
        {"step_tokens", m->step_tokens, 65536},      {"threads", m->threads, 256},
        {"draft_tokens", m->draft_tokens, 16},       {"step_ms", m->step_ms, 600000},
    };
    char key[64];
    for (size_t k = 0; k < VD_COUNT(numbers); k++) {
        snprintf(key, sizeof(key), "models[%zu].%s", i, numbers[k].key);
        vd_status st = check_range(yaml, key, numbers[k].value, numbers[k].max, err);
        if (st != VD_OK)
            return st;
    }
    vd_pooling pooling;
    snprintf(key, sizeof(key), "models[%zu].pooling", i);
    if (m->pooling != NULL && !vd_pooling_parse(m->pooling, &pooling))
        return vd_yaml_fail(yaml, key, err, "is '%s'; mean, cls, last and none there are",
                            m->pooling);
    vd_speculate speculate;
    snprintf(key, sizeof(key), "models[%zu].speculate", i);
    if (m->speculate != NULL && !vd_speculate_parse(m->speculate, &speculate))
        return vd_yaml_fail(yaml, key, err, "is '%s'; off and lookup there are", m->speculate);
    if (m->speculate != NULL && m->draft != NULL)
        return vd_yaml_fail(yaml, key, err, "and `draft` exclude each other");
    vd_kv_type kv_type;
    snprintf(key, sizeof(key), "models[%zu].kv", i);
    if (m->kv != NULL && !vd_kv_type_parse(m->kv, &kv_type))
        return vd_yaml_fail(yaml, key, err, "is '%s'; f16, bf16, f32, q8_0 and q4_0 there are",
                            m->kv);
    snprintf(key, sizeof(key), "models[%zu].name", i);
    vd_err why;
    if (vd_model_name_check(m->name, &why) != VD_OK)
        return vd_yaml_fail(yaml, key, err, "%s", why.message);
    for (size_t k = 0; k < i; k++)
        if (strcmp(c->models[k].name, m->name) == 0)
            return vd_yaml_fail(yaml, key, err, "models[%zu] is named '%s' too", k, m->name);
    return VD_OK;
}

static bool is_table(const vd_config *c)
{
    return c->carbon.provider == NULL || strcmp(c->carbon.provider, "table") == 0;
}

static vd_status check_words(const vd_yaml *yaml, const vd_config *c, vd_err *err)
{
    vd_err why = {0};
    vd_log_level level;
    const vd_zone *zone;
    char *host = NULL;
    uint16_t port;
    vd_status st = VD_OK;
    if (c->listen != NULL && vd_config_address(c->listen, &host, &port, &why) != VD_OK)
        st = vd_yaml_fail(yaml, "listen", err, "%s", why.message);
    else if (c->zone != NULL && vd_zone_find(c->zone, &zone, &why) != VD_OK)
        st = vd_yaml_fail(yaml, "zone", err, "%s", why.message);
    else if (c->carbon.zone != NULL && is_table(c) &&
             vd_zone_find(c->carbon.zone, &zone, &why) != VD_OK)
        st = vd_yaml_fail(yaml, "carbon.zone", err, "%s", why.message);
    else if (c->log_level != NULL && !vd_log_level_parse(c->log_level, &level))
        st = vd_yaml_fail(yaml, "log_level", err, "is '%s'; error, warn, info and debug there are",
                          c->log_level);
    if (st == VD_OK && c->carbon.pue != 0 && c->carbon.pue < 1)
        st = vd_yaml_fail(yaml, "carbon.pue", err, "is %g; a building cannot use less than the "
                          "machines in it, so it is 1 or more", c->carbon.pue);
    if (st == VD_OK && c->hardware.life_years != 0 && c->hardware.life_years < life_min_years)
        st = vd_yaml_fail(yaml, "hardware.life_years", err, "is %g; it must be %g or more",
                          c->hardware.life_years, life_min_years);
    if (st == VD_OK && c->hardware.reserved_share != 0 && c->hardware.reserved_share < share_min)
        st = vd_yaml_fail(yaml, "hardware.reserved_share", err, "is %g; it must be %g or more",
                          c->hardware.reserved_share, share_min);
    if (st == VD_OK && c->hardware.gpu != NULL && !vd_part_is_gpu(c->hardware.gpu))
        st = vd_yaml_fail(yaml, "hardware.gpu", err, "is '%s'; gpu, a100, h100 and h200 there are",
                          c->hardware.gpu);
    vd_free(host);
    return st;
}

static vd_status check(const vd_yaml *yaml, vd_config *c, vd_err *err)
{
    char key[64];
    vd_status st = check_words(yaml, c, err);
    if (st == VD_OK)
        st = check_numbers(yaml, c, err);
    for (size_t i = 0; st == VD_OK && i < c->n_models; i++) {
        snprintf(key, sizeof(key), "models[%zu].ref", i);
        c->models[i].ref_line = (uint32_t)vd_yaml_line(yaml, key);
        snprintf(key, sizeof(key), "models[%zu].draft", i);
        c->models[i].draft_line = (uint32_t)vd_yaml_line(yaml, key);
        st = check_model(yaml, c, i, err);
    }
    return st;
}

vd_status vd_config_load(const char *path, vd_config **ret_config, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    vd_err why = {0};
    vd_yaml *yaml = NULL;
    vd_config *config = NULL;
    vd_status st = vd_file_read(path, FILE_BYTES_MAX, &text, &n, err);
    if (st == VD_OK)
        st = vd_yaml_check(path, text, n, &config_value, &yaml, err);
    if (st != VD_OK)
        goto out;
    cyaml_config_t cyaml = library(&why);
    cyaml_err_t failed = cyaml_load_data((const uint8_t *)text, n, &cyaml, &config_value,
                                         (cyaml_data_t **)&config, NULL);
    if (failed == CYAML_OK && config == NULL) /* "{}": libcyaml makes nothing of it */
        st = vd_alloc_array(1, sizeof(*config), "the configuration", &config, err);
    else if (failed == CYAML_ERR_OOM)
        st = VD_FAIL(err, VD_ERR_NOMEM, "%s: no memory for the configuration", path);
    else if (failed != CYAML_OK)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: %s", path,
                     why.message[0] != '\0' ? why.message : cyaml_strerror(failed));
    if (st == VD_OK)
        st = check(yaml, config, err);
    if (st != VD_OK)
        goto out;
    *ret_config = config;
    config = NULL;
out:
    vd_config_free(config);
    vd_yaml_free(yaml);
    vd_free(text);
    return st;
}

/* ---- to what the server takes ----------------------------------------------------------------*/

static void carbon_to(const vd_config *c, vd_service_options *o)
{
    const vd_config_carbon *carbon = &c->carbon;
    o->carbon = (vd_provider_options){.name = carbon->provider,
                                      .zone = carbon->zone != NULL ? carbon->zone : c->zone,
                                      .url = carbon->url,
                                      .file = carbon->file,
                                      .token_file = carbon->token_file,
                                      .kind = carbon->kind,
                                      .scope = carbon->scope,
                                      .unit = carbon->unit,
                                      .timeout_ms = carbon->timeout_seconds * 1000};
    o->carbon_period_s = carbon->period_seconds;
    o->site = (vd_site){.pue = carbon->pue,
                        .wue_site_l_per_kwh = carbon->wue_site_l_per_kwh,
                        .wue_grid_l_per_kwh = carbon->wue_grid_l_per_kwh};
    o->hardware = (vd_hardware){.server_kg = c->hardware.server_kg,
                                .life_years = c->hardware.life_years,
                                .reserved_share = c->hardware.reserved_share};
    o->parts = (vd_hardware_facts){.n_sockets = c->hardware.sockets,
                                   .n_ssd = c->hardware.ssds,
                                   .n_gpu = c->hardware.gpus,
                                   .gpu = c->hardware.gpu};
}

void vd_config_limits_to(const vd_config *c, vd_service_options *o)
{
    const uint64_t second_ns = 1000000000u;
    vd_server_options *to = &o->server;
    to->max_streams = c->limits.streams;
    to->max_connections = c->limits.connections;
    to->max_choices = c->limits.choices;
    to->body_bytes_max = (size_t)c->limits.body_kib << 10;
    to->bodies_bytes_max = (size_t)c->limits.bodies_kib << 10;
    to->stream_bytes_max = (size_t)c->limits.stream_kib << 10;
    to->head_ns = c->limits.head_seconds * second_ns;
    to->body_ns = c->limits.body_seconds * second_ns;
    to->idle_ns = c->limits.idle_seconds * second_ns;
    to->n_hosts = c->n_hosts;
    for (size_t i = 0; i < c->n_hosts; i++)
        to->hosts[i] = c->hosts[i];
    o->drain_ns = c->drain_seconds * second_ns;
    o->no_calibration = c->energy.calibrate != NULL && !*c->energy.calibrate;
    carbon_to(c, o);
    o->ledger = c->ledger.path;
    o->no_ledger = c->ledger.off;
    o->keys = c->ledger.keys;
    o->no_receipts = c->ledger.no_receipts;
}

vd_status vd_config_zone(const vd_config *c, const char *option, const vd_zone **ret_zone,
                         vd_err *err)
{
    const char *code = option;
    if (code == NULL && is_table(c))
        code = c->carbon.zone;
    if (code == NULL)
        code = c->zone;
    if (code == NULL && c->carbon.zone != NULL &&
        vd_zone_find(c->carbon.zone, ret_zone, NULL) == VD_OK)
        return VD_OK;
    if (code == NULL && c->carbon.provider != NULL && strcmp(c->carbon.provider, "uk") == 0)
        code = "GB";
    return vd_zone_find(code, ret_zone, err);
}

vd_engine_options vd_config_engine(const vd_config_model *m)
{
    vd_pooling pooling = VD_POOLING_MODEL;
    if (m->pooling != NULL)
        (void)vd_pooling_parse(m->pooling, &pooling); /* looked at in check_model */
    vd_speculate speculate = VD_SPECULATE_OFF;
    if (m->speculate != NULL)
        (void)vd_speculate_parse(m->speculate, &speculate); /* likewise */
    if (m->draft != NULL)
        speculate = VD_SPECULATE_MODEL;
    vd_kv_type kv_type = VD_KV_F16;
    if (m->kv != NULL)
        (void)vd_kv_type_parse(m->kv, &kv_type);
    return (vd_engine_options){
        .pooling = pooling,
        .speculate = speculate,
        .draft_path = m->draft,
        .draft_tokens = m->draft_tokens,
        .n_threads = m->threads,
        .ctx_tokens = m->ctx_tokens,
        .kv_tokens = m->kv_tokens,
        .max_running = m->max_running,
        .max_waiting = m->max_waiting,
        .step_tokens = m->step_tokens,
        .step_ms = m->step_ms,
        .kv_type = kv_type,
        .exact = m->exact,
        .no_prefix_cache = m->no_prefix_cache,
    };
}

vd_status vd_config_address(const char *listen, char **ret_host, uint16_t *ret_port, vd_err *err)
{
    const char *colon = strrchr(listen, ':');
    const char *host = listen;
    size_t n = colon != NULL ? (size_t)(colon - listen) : 0;
    if (n > 2 && listen[0] == '[' && listen[n - 1] == ']') {
        host++;
        n -= 2;
    }
    char *end = NULL;
    unsigned long port = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;
    if (n == 0 || colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > UINT16_MAX)
        return VD_FAIL(err, VD_ERR_ARG,
                       "'%s' is no address to listen on; it looks like 127.0.0.1:8080, [::1]:8080 "
                       "or localhost:0 (any free port)", listen);
    char *name = vd_strndup(host, n);
    if (name == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for an address");
    vd_status st = vd_listen_check(name, err);
    if (st != VD_OK) {
        vd_free(name);
        return st;
    }
    *ret_host = name;
    *ret_port = (uint16_t)port;
    return VD_OK;
}
