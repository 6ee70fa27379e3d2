/*
 * electricitymaps.c - Electricity Maps, API v3: hourly averages by zone, consumption-based (imports
 * counted), life-cycle or direct. Key in the header "auth-token".
 *
 *   /v3/carbon-intensity/latest?zone=DE&emissionFactorType=lifecycle
 *       {"zone":"DE","carbonIntensity":344,"datetime":"…","updatedAt":"…",
 *        "emissionFactorType":"lifecycle","isEstimated":true,"estimationMethod":"…"}
 *   /v3/carbon-intensity/history?…                     the last 24 hours, under "history"
 *   /v3/carbon-intensity/past-range?…&start=…&end=…    at most ten days, under "data"
 *
 * An hour is estimated until the grid's operator published it; then isEstimated becomes false.
 */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "carbon/calendar.h"
#include "carbon/sources.h"

enum { HOUR_S = 3600, DAY_S = 86400, PIECE_DAYS = 10 };

static vd_status fail(const vd_provider *p, vd_err *err, const char *what)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "Electricity Maps, zone %s: %s", p->tags.zone, what);
}

/* A text, or `otherwise` where it is missing or of another kind. */
static const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : otherwise;
}

static int64_t length_of(const json_t *answer)
{
    const char *word = text_of(answer, "temporalGranularity", "hourly");
    if (strcmp(word, "15_minutes") == 0)
        return 900;
    if (strcmp(word, "5_minutes") == 0)
        return 300;
    return HOUR_S;
}

/* One hour; *ret_null where the source has no value for it yet. */
static vd_status read_one(const vd_provider *p, const json_t *one, int64_t length_s, int64_t now_s,
                          vd_series *out, bool *ret_null, vd_err *err)
{
    const json_t *value = json_object_get(one, "carbonIntensity");
    const json_t *estimated = json_object_get(one, "isEstimated");
    int64_t from_s;
    *ret_null = json_is_null(value);
    if (!json_is_object(one))
        return fail(p, err, "an entry is no object");
    if (strcmp(text_of(one, "emissionFactorType", p->tags.scope), p->tags.scope) != 0)
        return fail(p, err, "it answers with another emissionFactorType than it was asked for");
    if (!vd_source_time(one, "datetime", &from_s))
        return fail(p, err, "'datetime' is missing or no time");
    if (from_s > now_s + VD_SOURCE_SKEW_S)
        return fail(p, err, "'datetime' lies in the future");
    if (*ret_null)
        return VD_OK;
    if (!json_is_number(value))
        return fail(p, err, "'carbonIntensity' is missing or no number");
    double g = json_number_value(value);
    if (g > 0 && g < 1) /* whole grams are promised: kilograms, then */
        return fail(p, err, "'carbonIntensity' lies between 0 and 1: it is g/kWh, not kg/kWh");
    return vd_source_add(p, g, from_s, from_s + length_s, !json_is_false(estimated),
                         text_of(one, "updatedAt", ""), "Electricity Maps", out, err);
}

vd_status vd_electricitymaps_read(const vd_provider *p, const json_t *answer, int64_t now_s,
                                  vd_series *out, vd_err *err)
{
    const json_t *list = json_object_get(answer, "history");
    const json_t *one;
    size_t i;
    bool null = false;
    if (strcmp(text_of(answer, "zone", p->tags.zone), p->tags.zone) != 0)
        return fail(p, err, "it answers for another zone");
    if (list == NULL)
        list = json_object_get(answer, "data");
    if (list == NULL) {
        if (json_object_get(answer, "zone") == NULL)
            return fail(p, err, "the answer names no zone");
        vd_status st = read_one(p, answer, length_of(answer), now_s, out, &null, err);
        if (st == VD_OK && null)
            st = VD_FAIL(err, VD_ERR_NOT_FOUND, "Electricity Maps has no value for %s now",
                         p->tags.zone);
        return st;
    }
    if (!json_is_array(list))
        return fail(p, err, "the values are no list");
    json_array_foreach (list, i, one) {
        vd_status st = read_one(p, one, length_of(answer), now_s, out, &null, err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

static vd_status ask(vd_provider *p, const vd_asking *asking, const char *what, const char *range,
                     vd_series *out, vd_err *err)
{
    char path[256], header[4200];
    json_t *answer = NULL;
    snprintf(path, sizeof(path), "/v3/carbon-intensity/%s?zone=%s&emissionFactorType=%s%s", what,
             p->tags.zone, p->tags.scope, range);
    snprintf(header, sizeof(header), "auth-token: %s", p->secret);
    vd_status st = vd_source_ask(p, asking, path, header, NULL, &answer, err);
    explicit_bzero(header, sizeof(header));
    if (st == VD_OK)
        st = vd_electricitymaps_read(p, answer, asking->now_s, out, err);
    json_decref(answer);
    return st;
}

static vd_status em_open(vd_provider *p, const vd_provider_options *o, vd_err *err)
{
    p->tags = (vd_intensity){.kind = "average", .basis = "location", .boundary = "consumption",
                             .source = "Electricity Maps, API v3"};
    vd_status st = vd_source_zone(p, o->zone, "DE, US-CAL-CISO", err);
    if (st == VD_OK)
        st = vd_source_word("carbon.scope", o->scope, "lifecycle", "direct", &p->tags.scope, err);
    if (st == VD_OK)
        st = vd_source_url(p, o, "https://api.electricitymaps.com", err);
    if (st == VD_OK)
        st = vd_source_secret(o, "VERDANT_ELECTRICITYMAPS_TOKEN", &p->secret, err);
    return st;
}

static vd_status em_latest(vd_provider *p, const vd_asking *asking, vd_series *out, vd_err *err)
{
    return ask(p, asking, "latest", "", out, err);
}

/* The last day is free of charge under another path. */
static vd_status em_history(vd_provider *p, const vd_asking *asking, int64_t from_s, int64_t to_s,
                            vd_series *out, vd_err *err)
{
    char range[80], from[VD_TIME_TEXT], to[VD_TIME_TEXT];
    if (from_s >= asking->now_s)
        return VD_OK;
    if (from_s >= asking->now_s - DAY_S + HOUR_S)
        return ask(p, asking, "history", "", out, err);
    vd_time_text(from_s, from);
    vd_time_text(to_s, to);
    snprintf(range, sizeof(range), "&start=%s&end=%s", from, to);
    return ask(p, asking, "past-range", range, out, err);
}

const vd_provider_ops vd_source_electricitymaps = {.name = "electricitymaps",
                                                   .piece_s = (int64_t)PIECE_DAYS * DAY_S,
                                                   .open = em_open,
                                                   .latest = em_latest,
                                                   .history = em_history};
