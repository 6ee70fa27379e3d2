/*
 * prometheus.c - an external meter, by a metric that some exporter shows
 * (vd_source_prometheus_open in sources.h; docs/meters.md).
 *
 *   prometheus:http://127.0.0.1:9100/metrics#plug_power_watts{outlet="2"}&refresh=2&pct=1
 *              URL                          metric                       options
 *
 * A counter of joules or watt-hours is stepped, a gauge of watts is integrated. The unit comes from
 * the end of the metric's name (Prometheus' naming rules ask for it) or from an option.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/fetch.h"
#include "energy/sources/parts.h"
#include "energy/sources/prometheus_text.h"
#include "energy/sources/sampler.h"
#include "energy/sources/sources.h"

static const double refresh_default_s = 5, stale_default_s = 900;
/* A plug meter of class 1 or 2, and rounding of its display. */
static const double common_default_pct = 2, independent_pct = 2;
static const double most_w = 100000; /* a rack */
/* Plugs count in steps of up to 0.01 kWh. */
static const uint64_t slack_uj = UINT64_C(72000000000);
static const double most_uj = 9e18;

enum { URL_MAX = 400, PAGE_MAX = 4 << 20, TIMEOUT_MS = 3000 };

/* One of these ends a metric's name, or stands in unit=. */
static const struct {
    const char *suffix, *unit;
    bool counter;
    double factor; /* to microjoules or microwatts */
} units[] = {
    {"_joules", "J", true, 1e6},
    {"_millijoules", "mJ", true, 1e3},
    {"_microjoules", "uJ", true, 1},
    {"_kilojoules", "kJ", true, 1e9},
    {"_wh", "Wh", true, 3.6e9},
    {"_watthours", "Wh", true, 3.6e9},
    {"_watt_hours", "Wh", true, 3.6e9},
    {"_kwh", "kWh", true, 3.6e12},
    {"_kilowatthours", "kWh", true, 3.6e12},
    {"_kilowatt_hours", "kWh", true, 3.6e12},
    {"_watts", "W", false, 1e6},
    {"_milliwatts", "mW", false, 1e3},
    {"_microwatts", "uW", false, 1},
    {"_kilowatts", "kW", false, 1e9},
};

typedef struct endpoint {
    vd_channel channel;
    char url[URL_MAX];
    vd_metric_query query;
    bool counter;
    double factor;
    double refresh_s, stale_s, common_pct;
    unsigned parts;
    vd_buf page;
    atomic_bool stopping;
} endpoint;

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t n_end = strlen(end);
    return n >= n_end && memcmp(text + n - n_end, end, n_end) == 0;
}

/* By the end of its name, with or without the "_total" of counters. */
static bool unit_by_name(endpoint *e)
{
    size_t n = strlen(e->query.name);
    if (ends_with(e->query.name, n, "_total"))
        n -= 6;
    for (size_t i = 0; i < VD_COUNT(units); i++)
        if (ends_with(e->query.name, n, units[i].suffix)) {
            e->counter = units[i].counter;
            e->factor = units[i].factor;
            return true;
        }
    return false;
}

static bool unit_by_option(endpoint *e, const char *text)
{
    for (size_t i = 0; i < VD_COUNT(units); i++)
        if (strcmp(text, units[i].unit) == 0) {
            e->counter = units[i].counter;
            e->factor = units[i].factor;
            return true;
        }
    return false;
}

static bool number_within(const char *text, double least, double most, double *ret_value)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most))
        return false;
    *ret_value = value;
    return true;
}

static bool set_option(endpoint *e, const char *name, const char *value)
{
    if (strcmp(name, "unit") == 0)
        return unit_by_option(e, value);
    if (strcmp(name, "refresh") == 0)
        return number_within(value, 0.1, 3600, &e->refresh_s);
    if (strcmp(name, "stale") == 0)
        return number_within(value, 1, 1e6, &e->stale_s);
    if (strcmp(name, "pct") == 0)
        return number_within(value, 0, 100, &e->common_pct);
    return strcmp(name, "part") == 0 && vd_parts_parse(value, &e->parts);
}

/* "&unit=W&refresh=2"; false leaves the bad one in `option`. */
static bool parse_options(endpoint *e, const char *at, char *option, size_t size)
{
    while (*at == '&') {
        size_t n = strcspn(at + 1, "&");
        snprintf(option, size, "%.*s", (int)VD_MIN(n, size), at + 1);
        char *value = strchr(option, '=');
        if (n >= size || value == NULL)
            return false;
        *value++ = '\0';
        bool good = set_option(e, option, value);
        value[-1] = '=';
        if (!good)
            return false;
        at += n + 1;
    }
    snprintf(option, size, "%.60s", at);
    return *at == '\0';
}

static vd_status parse_spec(endpoint *e, const char *spec, vd_err *err)
{
    const char *hash = strchr(spec, '#');
    char option[64];
    size_t n_query = 0, n_url = hash != NULL ? (size_t)(hash - spec) : 0;
    if (n_url == 0 || n_url >= URL_MAX)
        return VD_FAIL(err, VD_ERR_ARG,
                       "prometheus: wants http://HOST:PORT/metrics#METRIC, in at most %d bytes",
                       URL_MAX - 1);
    memcpy(e->url, spec, n_url);
    if (strchr(e->url, '@') != NULL)
        return VD_FAIL(err, VD_ERR_ARG, "prometheus: no password may stand in the address");
    vd_status st = vd_metric_query_parse(hash + 1, &e->query, &n_query, err);
    if (st != VD_OK)
        return st;
    bool has_unit = unit_by_name(e);
    if (!parse_options(e, hash + 1 + n_query, option, sizeof(option)))
        return VD_FAIL(err, VD_ERR_ARG,
                       "prometheus: \"%.60s\" is none of unit=, refresh= (s), stale= (s), pct=, "
                       "part=cpu|dram|gpu|all",
                       option);
    if (!has_unit && e->factor == 0)
        return VD_FAIL(err, VD_ERR_ARG,
                       "prometheus: %.100s does not say its unit: add &unit=W, J, kWh, ...",
                       e->query.name);
    return VD_OK;
}

static void prepare_channel(endpoint *e)
{
    e->channel = (vd_channel){
        .part = vd_parts_home(e->parts),
        .most_w = most_w,
        .slack_uj = slack_uj,
        .stuck_ns = (uint64_t)(e->stale_s * 1e9),
        .most_ns = e->counter ? 0 : (uint64_t)((4 * e->refresh_s + 10) * 1e9),
    };
    snprintf(e->channel.name, sizeof(e->channel.name), "%.60s", e->query.name);
}

/* Asks for the page and finds the value, in microjoules or microwatts. */
static vd_status ask(endpoint *e, uint64_t *ret_value, vd_err *err)
{
    long code = 0;
    vd_metric metric = {.value = 0};
    const vd_fetch fetch = {
        .url = e->url, .timeout_ms = TIMEOUT_MS, .body_max = PAGE_MAX, .stop = &e->stopping};
    vd_status st = vd_fetch_get(&fetch, &e->page, &code, err);
    if (st != VD_OK)
        return st;
    if (code != 200)
        return VD_FAIL(err, VD_ERR_IO, "the exporter answers with status %ld", code);
    st = vd_metric_find(vd_buf_text(&e->page), e->page.n, &e->query, &metric, err);
    if (st != VD_OK)
        return st;
    if (metric.type == VD_METRIC_COUNTER && !e->counter)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s is a counter, and its unit that of a power",
                       e->query.name);
    double scaled = metric.value * e->factor;
    if (!(scaled >= 0 && scaled < most_uj)) /* NaN too */
        return VD_FAIL(err, VD_ERR_FORMAT, "%s says %g", e->query.name, metric.value);
    *ret_value = (uint64_t)llround(scaled);
    return VD_OK;
}

static void sample_endpoint(void *self, uint64_t now_ns, vd_sample *sample)
{
    endpoint *e = self;
    vd_err err = {0};
    uint64_t value = 0;
    if (ask(e, &value, &err) != VD_OK)
        vd_channel_fail(&e->channel, sample, "cannot be read: %.300s", err.message);
    else if (e->counter)
        vd_channel_counter(&e->channel, now_ns, value, sample);
    else
        vd_channel_gauge(&e->channel, now_ns, value, sample);
}

static void free_endpoint(void *self)
{
    endpoint *e = self;
    vd_buf_done(&e->page);
    vd_free(e);
}

static vd_status start(endpoint *e, const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    uint64_t period_ns = (uint64_t)(e->refresh_s * 1e9);
    vd_source source = {.method = "prometheus",
                        .parts = e->parts,
                        .refresh_ns = 2 * period_ns, /* the exporter's own period and ours */
                        .common_pct = e->common_pct,
                        .independent_pct = independent_pct};
    snprintf(source.name, sizeof(source.name), "prometheus: %.34s", e->query.name);
    vd_sampler_plan plan = {.sample = sample_endpoint,
                            .free = free_endpoint,
                            .self = e,
                            .period_ns = period_ns,
                            .stopping = &e->stopping};
    prepare_channel(e);
    return vd_sampler_start(&plan, env, &source, ret_source, err);
}

vd_status vd_source_prometheus_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    endpoint *e = vd_calloc(1, sizeof(*e));
    uint64_t value = 0;
    if (e == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter prometheus");
    vd_buf_init(&e->page, PAGE_MAX);
    e->refresh_s = refresh_default_s;
    e->stale_s = stale_default_s;
    e->common_pct = common_default_pct;
    e->parts = VD_SOURCE_WHOLE;
    vd_status st = parse_spec(e, env->spec, err);
    if (st == VD_OK)
        st = ask(e, &value, err); /* for the reason, if it does not work */
    if (st == VD_OK)
        st = start(e, env, ret_source, err);
    if (st != VD_OK)
        free_endpoint(e);
    return st;
}
