/*
 * uk.c - Great Britain's public API (National Energy System Operator): half-hours, no key. Direct
 * emissions; imports counted.
 *
 *   /intensity/{from}/{to}                        {"data":[{"from":"…","to":"…","intensity":
 *                                                  {"forecast":266,"actual":263,"index":"…"}}]}
 *   /regional/intensity/{from}/{to}/regionid/{n}  {"data":{"regionid":n,"data":[forecasts only]}}
 *
 * `actual` is null until a half-hour is closed; then it replaces the forecast and is final. Regions
 * have forecasts only, so their values stay estimated.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "carbon/calendar.h"
#include "carbon/sources.h"

enum {
    DAY_S = 86400,
    PIECE_DAYS = 13,
    PAST_S = 2 * DAY_S,
    AHEAD_S = DAY_S,
    HORIZON_S = 4 * DAY_S,
    LONGEST_S = 3600,
    N_REGIONS = 17
};

static bool is_region(const vd_provider *p)
{
    return strcmp(p->tags.zone, "GB") != 0;
}

static vd_status fail(const vd_provider *p, vd_err *err, const char *what)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "the UK's API, zone %s: %s", p->tags.zone, what);
}

static vd_status read_one(const vd_provider *p, const json_t *one, int64_t now_s, vd_series *out,
                          vd_err *err)
{
    const json_t *intensity = json_object_get(one, "intensity");
    const json_t *actual = json_object_get(intensity, "actual");
    const json_t *forecast = json_object_get(intensity, "forecast");
    int64_t from_s, to_s;
    if (!vd_source_time(one, "from", &from_s) || !vd_source_time(one, "to", &to_s))
        return fail(p, err, "'from' or 'to' is missing or no time");
    if (from_s > now_s + HORIZON_S)
        return fail(p, err, "'from' lies in the future, beyond any forecast");
    if (to_s - from_s > LONGEST_S)
        return fail(p, err, "a value for more than an hour");
    if (!json_is_object(intensity))
        return fail(p, err, "'intensity' is missing");
    bool closed = json_is_number(actual);
    const json_t *value = closed ? actual : forecast;
    if ((actual != NULL && !json_is_null(actual) && !closed) ||
        (value != NULL && !json_is_null(value) && !json_is_number(value)))
        return fail(p, err, "'actual' or 'forecast' is no number");
    if (!json_is_number(value))
        return VD_OK; /* neither is known */
    double g = json_number_value(value);
    if (g > 0 && g < 1) /* whole grams are promised: kilograms, then */
        return fail(p, err, "a value lies between 0 and 1: it is g/kWh, not kg/kWh");
    return vd_source_add(p, g, from_s, to_s, !closed || is_region(p), "", "the UK's API", out,
                         err);
}

/* For a region one object around the list, by itself or as the only one of a list. */
static vd_status find_list(const vd_provider *p, const json_t *answer, const json_t **ret_list,
                           vd_err *err)
{
    const json_t *data = json_object_get(answer, "data");
    if (is_region(p)) {
        const json_t *region = json_is_array(data) ? json_array_get(data, 0) : data;
        if (json_integer_value(json_object_get(region, "regionid")) !=
            strtol(p->tags.zone, NULL, 10))
            return fail(p, err, "it answers for another region");
        data = json_object_get(region, "data");
    }
    if (!json_is_array(data))
        return fail(p, err, "'data' is no list");
    *ret_list = data;
    return VD_OK;
}

vd_status vd_uk_read(const vd_provider *p, const json_t *answer, int64_t now_s, vd_series *out,
                     vd_err *err)
{
    const json_t *list = NULL, *one;
    size_t i;
    vd_status st = find_list(p, answer, &list, err);
    if (st == VD_OK)
        json_array_foreach (list, i, one) {
            st = read_one(p, one, now_s, out, err);
            if (st != VD_OK)
                return st;
        }
    return st;
}

static vd_status uk_open(vd_provider *p, const vd_provider_options *o, vd_err *err)
{
    const char *zone = o->zone != NULL && strcmp(o->zone, "UK") != 0 ? o->zone : "GB";
    char *end = NULL;
    p->tags = (vd_intensity){.kind = "average", .scope = "direct", .basis = "location",
                             .boundary = "consumption",
                             .source = "National Energy System Operator, Carbon Intensity API"};
    vd_status st = vd_source_zone(p, zone, "GB, or a region's number 1 to 17", err);
    if (st != VD_OK)
        return st;
    long region = strtol(zone, &end, 10);
    if (is_region(p) && (zone[0] < '1' || zone[0] > '9' || *end != '\0' || region > N_REGIONS))
        return VD_FAIL(err, VD_ERR_ARG, "the UK's API has the zone GB and regions 1 to %d, not "
                       "'%.40s'", N_REGIONS, zone);
    return vd_source_url(p, o, "https://api.carbonintensity.org.uk", err);
}

static vd_status uk_history(vd_provider *p, const vd_asking *asking, int64_t from_s, int64_t to_s,
                            vd_series *out, vd_err *err)
{
    char path[160], from[VD_TIME_TEXT], to[VD_TIME_TEXT];
    json_t *answer = NULL;
    vd_time_text(from_s, from);
    vd_time_text(to_s, to);
    from[16] = to[16] = 'Z'; /* minutes, as the API has them */
    from[17] = to[17] = '\0';
    if (is_region(p))
        snprintf(path, sizeof(path), "/regional/intensity/%s/%s/regionid/%s", from, to,
                 p->tags.zone);
    else
        snprintf(path, sizeof(path), "/intensity/%s/%s", from, to);
    vd_status st = vd_source_ask(p, asking, path, NULL, NULL, &answer, err);
    if (st == VD_OK)
        st = vd_uk_read(p, answer, asking->now_s, out, err);
    json_decref(answer);
    return st;
}

/* The last days again, since their forecasts become actual values. */
static vd_status uk_latest(vd_provider *p, const vd_asking *asking, vd_series *out, vd_err *err)
{
    return uk_history(p, asking, asking->now_s - PAST_S, asking->now_s + AHEAD_S, out, err);
}

const vd_provider_ops vd_source_uk = {.name = "uk",
                                      .piece_s = (int64_t)PIECE_DAYS * DAY_S,
                                      .open = uk_open,
                                      .latest = uk_latest,
                                      .history = uk_history};
