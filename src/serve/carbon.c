/*
 * carbon.c - GET /v1/carbon/intensity: what a kilowatt-hour weighs now, and has weighed since the
 * server runs; and the same for /metrics. docs/api.md has the fields.
 *
 *   ?zone=DE             the built-in table's row instead, also of a cloud region
 *   ?from=T&to=T         of the history; ISO 8601 with a zone; by default the 24 hours before now
 */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "carbon/calendar.h"
#include "serve/endpoints.h"
#include "serve/jout.h"
#include "serve/server.h"

enum { DAY_S = 86400, HISTORY_MAX_S = 400 * DAY_S };

static int64_t now_s(void)
{
    return (int64_t)(vd_wall_ns() / 1000000000u);
}

static const char *parameter(const vd_exchange *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* *ret_s keeps its default where the parameter is not there. */
static vd_status time_parameter(const vd_exchange *r, const char *name, int64_t *ret_s,
                                vd_api_error *error)
{
    const char *text = parameter(r, name);
    if (text == NULL || vd_time_parse(text, strlen(text), ret_s))
        return VD_OK;
    return VD_BAD_PARAM(error, name, "invalid_value", "'%s' must be a time with a zone, such as "
                        "2026-03-01T00:00:00Z.", name);
}

/* Takes `value`; a failure of memory anywhere makes the whole NULL. */
static json_t *with(json_t *object, const char *key, json_t *value)
{
    if (object == NULL) {
        json_decref(value);
        return NULL;
    }
    if (json_object_set_new(object, key, value) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static vd_status put(json_t *value, vd_buf *out, vd_api_error *error)
{
    char *text = vd_json_text(value);
    json_decref(value);
    if (text == NULL)
        return vd_api_fail(error, 500, NULL, NULL, "Out of memory.");
    vd_buf_puts(out, text);
    vd_free(text);
    return VD_OK;
}

static vd_status show_zone(const char *code, vd_buf *out, vd_api_error *error)
{
    const vd_zone *zone = NULL;
    vd_err err = {0};
    if (vd_zone_find(code, &zone, &err) != VD_OK)
        return vd_api_fail(error, 404, "zone_not_found", "zone", "There is %s.", err.message);
    vd_intensity value = vd_zone_intensity(zone, now_s());
    json_t *answer = json_pack("{s:s, s:s, s:s}", "object", "carbon.intensity", "provider", "table",
                               "name", zone->name);
    return put(with(answer, "current", vd_intensity_json(&value)), out, error);
}

static json_t *time_or_null(int64_t s)
{
    char text[VD_TIME_TEXT];
    if (s == 0)
        return json_null();
    vd_time_text(s, text);
    return json_string(text);
}

/* Not negative where the clock was set back. */
static int64_t age_s(const vd_feed_state *s)
{
    return VD_MAX(now_s() - s->last_good_s, (int64_t)0);
}

static json_t *feed_json(const vd_feed_state *s)
{
    json_t *feed = json_pack("{s:b, s:I, s:I}", "failing", s->failing, "asked",
                             (json_int_t)s->n_asked, "failed", (json_int_t)s->n_failed);
    feed = with(feed, "last_good", time_or_null(s->last_good_s));
    feed = with(feed, "next", time_or_null(s->next_s));
    feed = with(feed, "age_s",
                s->last_good_s == 0 ? json_null() : json_integer(age_s(s)));
    feed = with(feed, "why", s->why[0] != '\0' ? json_string(s->why) : json_null());
    return with(feed, "note", s->note[0] != '\0' ? json_string(s->note) : json_null());
}

static json_t *history_json(const vd_intensity *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < n; i++)
        if (json_array_append_new(list, vd_intensity_json(&values[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

vd_status vd_carbon_show(vd_exchange *r, const char *argument, vd_buf *out, vd_api_error *error)
{
    vd_feed *feed = r->server->options.feed;
    const char *zone = parameter(r, "zone");
    int64_t to_s = now_s() + 1, from_s = 0;
    vd_intensity *values = NULL;
    vd_feed_state state;
    size_t n = 0;
    if (zone != NULL)
        return show_zone(zone, out, error);
    vd_status st = time_parameter(r, "to", &to_s, error);
    from_s = to_s - DAY_S;
    if (st == VD_OK)
        st = time_parameter(r, "from", &from_s, error);
    if (st != VD_OK)
        return st;
    if (from_s > to_s || to_s - from_s > HISTORY_MAX_S)
        return VD_BAD_PARAM(error, "from", "invalid_value", "'from' must lie before 'to', and at "
                            "most 400 days before.");
    if (feed == NULL)
        return vd_api_fail(error, 404, NULL, NULL, "This server knows no intensity.");
    if (vd_feed_history(feed, from_s, to_s, &values, &n, NULL) != VD_OK)
        return vd_api_fail(error, 500, NULL, NULL, "Out of memory.");
    vd_intensity value = vd_feed_at(feed, vd_now_ns());
    vd_feed_state_get(feed, &state);
    json_t *answer = json_pack("{s:s, s:s}", "object", "carbon.intensity", "provider",
                               state.provider);
    answer = with(answer, "current", vd_intensity_json(&value));
    answer = with(answer, "feed", feed_json(&state));
    answer = with(answer, "history", history_json(values, n));
    vd_free(values);
    return put(answer, out, error);
}

/* ---- /metrics --------------------------------------------------------------------------------*/

static void gauge(vd_buf *out, const char *name, const char *type, const char *help, double value)
{
    vd_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, type, name,
                  value);
}

static void label(vd_buf *out, const char *name, const char *value)
{
    vd_buf_printf(out, "%s=", name);
    vd_jout_string(out, value, strlen(value));
}

void vd_carbon_metrics(vd_feed *feed, vd_buf *out)
{
    vd_feed_state state;
    vd_intensity v = vd_feed_at(feed, vd_now_ns());
    vd_feed_state_get(feed, &state);
    vd_buf_puts(out, "# HELP verdant_carbon_intensity_g_per_kwh Grams of CO2 equivalent per kWh "
                     "that answers are weighed with now.\n"
                     "# TYPE verdant_carbon_intensity_g_per_kwh gauge\n"
                     "verdant_carbon_intensity_g_per_kwh{");
    label(out, "provider", state.provider);
    label(out, ",zone", v.zone);
    label(out, ",kind", v.kind);
    label(out, ",scope", v.scope);
    vd_buf_printf(out, "} %.9g\n", v.g_per_kwh);
    gauge(out, "verdant_carbon_intensity_estimated", "gauge",
          "1: the value is an estimate, or of another time.", v.estimated);
    gauge(out, "verdant_carbon_intensity_stale", "gauge",
          "1: the last known value stands in, nothing newer came.", v.stale);
    gauge(out, "verdant_carbon_feed_requests_total", "counter",
          "Questions to the source of intensities.", (double)state.n_asked);
    gauge(out, "verdant_carbon_feed_failures_total", "counter", "Those that failed.",
          (double)state.n_failed);
    gauge(out, "verdant_carbon_feed_age_seconds", "gauge",
          "Since the last good answer of the source; 0 where the built-in table is the source, "
          "-1 where none came yet.",
          !state.has_thread        ? 0
          : state.last_good_s == 0 ? -1
                                   : (double)age_s(&state));
}
