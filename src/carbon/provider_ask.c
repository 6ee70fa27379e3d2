/* provider_ask.c - what the sources share: words, keys, one question over HTTP. See sources.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/fetch.h"
#include "base/file.h"
#include "carbon/calendar.h"
#include "carbon/sources.h"

enum { SECRET_MAX = 4096 };

/* ---- words and keys --------------------------------------------------------------------------*/

vd_status vd_source_zone(vd_provider *p, const char *zone, const char *example, vd_err *err)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_-";
    size_t n = zone != NULL ? strlen(zone) : 0;
    if (n == 0)
        return VD_FAIL(err, VD_ERR_ARG, "%s needs a zone, as it calls it: %s", p->ops->name,
                       example);
    if (n >= VD_ZONE_MAX || strspn(zone, allowed) != n)
        return VD_FAIL(err, VD_ERR_ARG, "a zone of %s has letters, digits, - and _, at most %d, "
                       "such as %s", p->ops->name, VD_ZONE_MAX - 1, example);
    memcpy(p->tags.zone, zone, n + 1);
    return VD_OK;
}

vd_status vd_source_word(const char *what, const char *word, const char *first, const char *second,
                         const char **ret_word, vd_err *err)
{
    if (word == NULL || strcmp(word, first) == 0)
        *ret_word = first;
    else if (strcmp(word, second) == 0)
        *ret_word = second;
    else
        return VD_FAIL(err, VD_ERR_ARG, "%s is '%.40s'; it is %s or %s", what, word, first,
                       second);
    return VD_OK;
}

vd_status vd_source_url(vd_provider *p, const vd_provider_options *o, const char *otherwise,
                        vd_err *err)
{
    const char *url = o->url != NULL ? o->url : otherwise;
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
        strpbrk(url, "@?# ") != NULL)
        return VD_FAIL(err, VD_ERR_ARG, "the address of %s is http://HOST or https://HOST, "
                       "perhaps with a port and a path, and holds no name and no password",
                       p->ops->name);
    p->url = vd_strndup(url, n);
    return p->url != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for an address");
}

/* What may stand in a header line: printable, no blanks. */
static bool is_clean(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n > 0;
}

vd_status vd_source_secret(const vd_provider_options *o, const char *variable, char **ret_secret,
                           vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    const char *given = getenv(variable);
    vd_status st = VD_OK;
    if (o->token_file != NULL) {
        st = vd_file_read(o->token_file, SECRET_MAX, &text, &n, err);
    } else if (given != NULL && given[0] != '\0') {
        n = strlen(given);
        text = vd_strndup(given, n);
        if (text == NULL)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a key");
    } else {
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "there is no key: set %s, or carbon.token_file to a "
                     "file that holds it", variable);
    }
    if (st != VD_OK)
        return st;
    while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL)
        text[--n] = '\0';
    if (is_clean(text, n) && n < SECRET_MAX) {
        *ret_secret = text;
        return VD_OK;
    }
    explicit_bzero(text, n);
    vd_free(text);
    return VD_FAIL(err, VD_ERR_FORMAT, "the key in %s is no line of printable characters without "
                   "blanks", o->token_file != NULL ? o->token_file : variable);
}

/* ---- one question ----------------------------------------------------------------------------*/

/* "api.example.org:8080", for messages. */
static void host_of(const char *url, char host[80])
{
    const char *begin = strstr(url, "://");
    begin = begin != NULL ? begin + 3 : url;
    snprintf(host, 80, "%.*s", (int)strcspn(begin, "/"), begin);
}

static vd_status judge(long code, const char *host, const vd_provider *p, uint32_t after_s,
                       vd_err *err)
{
    if (code == 200)
        return VD_OK;
    if (code == 401)
        return VD_FAIL(err, VD_ERR_PERM, "%s does not know the key (401)", host);
    if (code == 403)
        return VD_FAIL(err, VD_ERR_PERM, "%s does not give this key the zone %s or this data "
                       "(403)", host, p->tags.zone);
    if (code == 404)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has nothing for the zone %s (404)", host,
                       p->tags.zone);
    if (code == 429 && after_s > 0)
        return VD_FAIL(err, VD_ERR_BUSY, "%s was asked too often (429), again in %u s", host,
                       after_s);
    if (code == 429)
        return VD_FAIL(err, VD_ERR_BUSY, "%s was asked too often (429)", host);
    return VD_FAIL(err, VD_ERR_NETWORK, "%s answered with status %ld", host, code);
}

/* The answer's own text stays out of messages: it may hold a token. */
static vd_status read_json(const vd_buf *body, const char *host, json_t **ret_answer, vd_err *err)
{
    const char *text = vd_buf_text(body);
    json_t *value = NULL;
    if (text[strspn(text, " \t\r\n")] == '<')
        return VD_FAIL(err, VD_ERR_FORMAT, "%s sent a web page, no JSON: is it the right address?",
                       host);
    vd_status st = vd_json_parse(text, body->n, &value, NULL);
    if (st == VD_ERR_NOMEM)
        return VD_FAIL(err, st, "no memory for the answer of %s", host);
    if (st != VD_OK || !json_is_object(value)) {
        json_decref(value);
        return VD_FAIL(err, VD_ERR_FORMAT, "%s sent %zu bytes that are no JSON object, or not a "
                       "whole one", host, body->n);
    }
    *ret_answer = value;
    return VD_OK;
}

vd_status vd_source_ask(vd_provider *p, const vd_asking *asking, const char *path,
                        const char *header, const char *user_password, json_t **ret_answer,
                        vd_err *err)
{
    enum { URL_MAX = 2048, BODY_MAX = 4 << 20 };
    char host[80];
    const char *const headers[] = {header, NULL};
    long code = 0;
    uint32_t after_s = 0;
    vd_buf url, body;
    vd_err why = {0};
    vd_buf_init(&url, URL_MAX);
    vd_buf_init(&body, BODY_MAX + 1);
    host_of(p->url, host);
    vd_buf_printf(&url, "%s%s", p->url, path);
    vd_status st = vd_buf_status(&url, "an address", &why);
    if (st == VD_OK) {
        const vd_fetch fetch = {.url = vd_buf_text(&url),
                                .headers = header != NULL ? headers : NULL,
                                .user_password = user_password,
                                .timeout_ms = p->timeout_ms,
                                .body_max = BODY_MAX,
                                .stop = asking->stop,
                                .ret_retry_after_s = &after_s};
        st = vd_fetch_get(&fetch, &body, &code, &why);
    }
    asking->retry->after_s = after_s;
    if (st == VD_OK)
        st = judge(code, host, p, after_s, &why);
    else if (st == VD_ERR_IO)
        st = why.status = VD_ERR_NETWORK;
    if (st == VD_OK)
        st = read_json(&body, host, ret_answer, &why);
    if (st != VD_OK && err != NULL)
        *err = why;
    if (body.data != NULL)
        explicit_bzero(body.data, body.n);
    vd_buf_done(&url);
    vd_buf_done(&body);
    return st;
}

/* ---- one value -------------------------------------------------------------------------------*/

bool vd_source_time(const json_t *object, const char *key, int64_t *ret_s)
{
    const json_t *text = json_object_get(object, key);
    return json_is_string(text) &&
           vd_time_parse(json_string_value(text), json_string_length(text), ret_s);
}

vd_status vd_source_add(const vd_provider *p, double g_per_kwh, int64_t from_s, int64_t to_s,
                        bool estimated, const char *version, const char *what, vd_series *out,
                        vd_err *err)
{
    vd_intensity value = p->tags;
    if (!isfinite(g_per_kwh) || g_per_kwh < 0 || g_per_kwh > VD_G_PER_KWH_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: %g g/kWh is no carbon intensity (0 to %g): "
                       "another unit?", what, g_per_kwh, VD_G_PER_KWH_MAX);
    if (from_s >= to_s)
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: it ends before it begins", what);
    value.g_per_kwh = g_per_kwh;
    value.valid_from_s = from_s;
    value.valid_to_s = to_s;
    value.estimated = estimated;
    if (version != NULL && is_clean(version, strlen(version)))
        snprintf(value.version, sizeof(value.version), "%s", version);
    return vd_series_add(out, &value, err);
}
