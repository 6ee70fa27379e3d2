/*
 * watttime.c - WattTime, API v3: what the plant emits that makes one more kilowatt-hour (marginal,
 * co2_moer), or all plants on the average (co2_aoer), every five minutes, combustion only.
 *
 *   /login               basic authentication -> {"token":"…"}, good for 30 minutes
 *   /v3/historical?region=R&signal_type=S&start=…&end=…      at most 32 days
 *   /v3/forecast?region=R&signal_type=S&horizon_hours=24
 *       {"data":[{"point_time":"…","value":870.1},…],
 *        "meta":{"region":R,"signal_type":S,"units":"lbs_co2_per_mwh",
 *                "data_point_period_seconds":300,"model":{"date":"…"}}}
 *
 * Values are pounds per megawatt-hour: x 0.45359237 kg/lb x 1000 g/kg / 1000 kWh/MWh.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "carbon/calendar.h"
#include "carbon/sources.h"

enum {
    DAY_S = 86400,
    PIECE_DAYS = 30,
    SESSION_S = 1500, /* of the 30 minutes that a token is good for */
    HORIZON_HOURS = 24,
    HORIZON_MAX_S = 4 * DAY_S,
    PAST_S = 7200,
    TOKEN_MAX = 4096
};
static const double g_per_kwh_per_lb_per_mwh = 0.45359237;

static const char *signal_of(const vd_provider *p)
{
    return strcmp(p->tags.kind, "marginal") == 0 ? "co2_moer" : "co2_aoer";
}

/* ---- reading ---------------------------------------------------------------------------------*/

static vd_status fail(const vd_provider *p, vd_err *err, const char *what)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "WattTime, region %s: %s", p->tags.zone, what);
}

static bool says(const json_t *object, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && strcmp(text, wanted) == 0;
}

static vd_status check_meta(const vd_provider *p, const json_t *meta, int64_t *ret_length_s,
                            vd_err *err)
{
    const json_t *length = json_object_get(meta, "data_point_period_seconds");
    if (!json_is_object(meta))
        return fail(p, err, "'meta' is missing");
    if (!says(meta, "region", p->tags.zone))
        return fail(p, err, "it answers for another region");
    if (!says(meta, "signal_type", signal_of(p)))
        return fail(p, err, "it answers with another signal_type than it was asked for");
    if (!says(meta, "units", "lbs_co2_per_mwh"))
        return fail(p, err, "the units are not lbs_co2_per_mwh");
    *ret_length_s = length == NULL ? 300 : (int64_t)json_integer_value(length);
    if (*ret_length_s < 60 || *ret_length_s > DAY_S)
        return fail(p, err, "'data_point_period_seconds' is not 60 to 86400");
    return VD_OK;
}

vd_status vd_watttime_read(const vd_provider *p, const json_t *answer, bool forecast, int64_t now_s,
                           vd_series *out, vd_err *err)
{
    const json_t *meta = json_object_get(answer, "meta"), *list = json_object_get(answer, "data");
    const json_t *model = json_object_get(meta, "model"), *one;
    const char *version = json_string_value(json_object_get(model, "date"));
    int64_t last_s = now_s + VD_SOURCE_SKEW_S + (forecast ? HORIZON_MAX_S : 0);
    int64_t length_s = 0, from_s;
    size_t i;
    vd_status st = check_meta(p, meta, &length_s, err);
    if (st == VD_OK && !json_is_array(list))
        st = fail(p, err, "'data' is no list");
    if (st != VD_OK)
        return st;
    json_array_foreach (list, i, one) {
        const json_t *value = json_object_get(one, "value");
        if (!vd_source_time(one, "point_time", &from_s))
            return fail(p, err, "'point_time' is missing or no time");
        if (from_s > last_s)
            return fail(p, err, "'point_time' lies in the future");
        if (json_is_null(value))
            continue;
        if (!json_is_number(value))
            return fail(p, err, "'value' is missing or no number");
        st = vd_source_add(p, json_number_value(value) * g_per_kwh_per_lb_per_mwh, from_s,
                           from_s + length_s, forecast, version, "WattTime", out, err);
        if (st != VD_OK)
            return st;
    }
    return VD_OK;
}

/* ---- asking ----------------------------------------------------------------------------------*/

static void forget_session(vd_provider *p)
{
    if (p->session != NULL)
        explicit_bzero(p->session, strlen(p->session));
    vd_free(p->session);
    p->session = NULL;
}

static bool is_token(const char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n > 0 && n < TOKEN_MAX;
}

static vd_status log_in(vd_provider *p, const vd_asking *asking, vd_err *err)
{
    json_t *answer = NULL;
    forget_session(p);
    vd_status st = vd_source_ask(p, asking, "/login", NULL, p->secret, &answer, err);
    if (st == VD_ERR_PERM)
        return VD_FAIL(err, st, "WattTime does not know this name with this password");
    if (st != VD_OK)
        return st;
    const char *token = json_string_value(json_object_get(answer, "token"));
    if (!is_token(token))
        st = fail(p, err, "the login gave no token");
    else if ((p->session = vd_strdup(token)) == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a token");
    p->session_s = asking->now_s;
    json_decref(answer);
    return st;
}

static vd_status ask_once(vd_provider *p, const vd_asking *asking, const char *path,
                          json_t **ret_answer, vd_err *err)
{
    char header[TOKEN_MAX + 32];
    bool old = p->session == NULL || asking->now_s - p->session_s >= SESSION_S ||
               asking->now_s < p->session_s;
    vd_status st = old ? log_in(p, asking, err) : VD_OK;
    if (st != VD_OK)
        return st;
    snprintf(header, sizeof(header), "Authorization: Bearer %s", p->session);
    st = vd_source_ask(p, asking, path, header, NULL, ret_answer, err);
    explicit_bzero(header, sizeof(header));
    return st;
}

/* A token that is refused is renewed once. */
static vd_status ask(vd_provider *p, const vd_asking *asking, const char *what, const char *range,
                     vd_series *out, vd_err *err)
{
    char path[256];
    json_t *answer = NULL;
    bool had_session = p->session != NULL;
    snprintf(path, sizeof(path), "/v3/%s?region=%s&signal_type=%s%s", what, p->tags.zone,
             signal_of(p), range);
    vd_status st = ask_once(p, asking, path, &answer, err);
    if (st == VD_ERR_PERM && had_session) {
        forget_session(p);
        st = ask_once(p, asking, path, &answer, err);
    }
    if (st == VD_OK)
        st = vd_watttime_read(p, answer, strcmp(what, "forecast") == 0, asking->now_s, out, err);
    json_decref(answer);
    return st;
}

static vd_status wt_history(vd_provider *p, const vd_asking *asking, int64_t from_s, int64_t to_s,
                            vd_series *out, vd_err *err)
{
    char range[80], from[VD_TIME_TEXT], to[VD_TIME_TEXT];
    if (from_s >= asking->now_s)
        return VD_OK;
    vd_time_text(from_s, from);
    vd_time_text(to_s, to);
    snprintf(range, sizeof(range), "&start=%s&end=%s", from, to);
    return ask(p, asking, "historical", range, out, err);
}

/* What was and what is to come; some plans have only one of them. */
static vd_status wt_latest(vd_provider *p, const vd_asking *asking, vd_series *out, vd_err *err)
{
    char range[40];
    vd_err first = {0};
    vd_status past = wt_history(p, asking, asking->now_s - PAST_S, asking->now_s, out, &first);
    if (past != VD_OK && past != VD_ERR_PERM) {
        if (err != NULL)
            *err = first;
        return past;
    }
    snprintf(range, sizeof(range), "&horizon_hours=%d", HORIZON_HOURS);
    vd_status st = ask(p, asking, "forecast", range, out, err);
    return st == VD_ERR_PERM && past == VD_OK ? VD_OK : st;
}

static vd_status open_secret(vd_provider *p, const vd_provider_options *o, vd_err *err)
{
    char *user = NULL, *password = NULL;
    if (o->token_file != NULL) {
        vd_status st = vd_source_secret(o, "", &p->secret, err);
        if (st == VD_OK && strchr(p->secret, ':') == NULL)
            st = VD_FAIL(err, VD_ERR_FORMAT, "%s must hold NAME:PASSWORD", o->token_file);
        return st;
    }
    vd_status st = vd_source_secret(o, "VERDANT_WATTTIME_USER", &user, err);
    if (st == VD_OK)
        st = vd_source_secret(o, "VERDANT_WATTTIME_PASSWORD", &password, err);
    if (st == VD_OK && strchr(user, ':') != NULL)
        st = VD_FAIL(err, VD_ERR_FORMAT, "VERDANT_WATTTIME_USER may hold no colon");
    if (st == VD_OK) {
        size_t n = strlen(user) + strlen(password) + 2;
        p->secret = vd_alloc(n);
        if (p->secret != NULL)
            snprintf(p->secret, n, "%s:%s", user, password);
        else
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a password");
    }
    if (password != NULL)
        explicit_bzero(password, strlen(password));
    vd_free(password);
    vd_free(user);
    return st;
}

static vd_status wt_open(vd_provider *p, const vd_provider_options *o, vd_err *err)
{
    p->tags = (vd_intensity){.scope = "direct", .basis = "location", .boundary = "unknown",
                             .source = "WattTime, API v3"};
    vd_status st = vd_source_zone(p, o->zone, "CAISO_NORTH", err);
    if (st == VD_OK)
        st = vd_source_word("carbon.kind", o->kind, "marginal", "average", &p->tags.kind, err);
    if (st == VD_OK)
        st = vd_source_url(p, o, "https://api.watttime.org", err);
    if (st == VD_OK)
        st = open_secret(p, o, err);
    return st;
}

const vd_provider_ops vd_source_watttime = {.name = "watttime",
                                            .piece_s = (int64_t)PIECE_DAYS * DAY_S,
                                            .open = wt_open,
                                            .latest = wt_latest,
                                            .history = wt_history};
