/* head.c - see head.h. Header names and their meaning: RFC 9110, 8288 (Link), the IETF draft on
 * RateLimit header fields, and the answers of Hugging Face's hub. */
#include "cli/pull/head.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { VALUE_MAX = 4096 };

void vd_http_reply_init(vd_http_reply *reply)
{
    *reply = (vd_http_reply){.length = -1, .range_start = -1, .range_bytes = -1, .wait_s = -1,
                             .linked_bytes = -1};
}

/* A number of bytes or seconds at the start of the text; -1 when there is none that fits. */
static int64_t number(const char *text)
{
    if (text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    return errno == 0 ? (int64_t)value : -1;
}

/* Too long is as if absent. */
static void keep(char *out, size_t n_out, const char *value)
{
    size_t n = strlen(value);
    if (n < n_out)
        memcpy(out, value, n + 1);
}

/* "bytes 5-9/10" or, of a 416, "bytes *" "/10". */
static void read_range(vd_http_reply *reply, const char *value)
{
    const char *slash = strchr(value, '/');
    if (strncasecmp(value, "bytes ", 6) != 0 || slash == NULL)
        return;
    reply->range_start = number(value + 6);
    reply->range_bytes = number(slash + 1);
}

/* A Git LFS object is named by its SHA-256; other files by another hash, in quotes or not. */
static void read_linked(vd_http_reply *reply, const char *value)
{
    size_t quoted = value[0] == '"';
    const char *hex = value + quoted;
    if (strspn(hex, "0123456789abcdefABCDEF") != VD_SHA256_HEX ||
        strcmp(hex + VD_SHA256_HEX, quoted ? "\"" : "") != 0)
        return;
    for (size_t i = 0; i < VD_SHA256_HEX; i++)
        reply->linked_sha256[i] = (char)tolower((unsigned char)hex[i]);
    reply->linked_sha256[VD_SHA256_HEX] = '\0';
}

/* <address>; rel="next", perhaps among others. */
static void read_link(vd_http_reply *reply, const char *value)
{
    for (const char *at = value; (at = strchr(at, '<')) != NULL;) {
        const char *end = strchr(at, '>');
        if (end == NULL)
            return;
        size_t n_rest = strcspn(end, ",");
        const char *rel = memmem(end, n_rest, "rel=\"next\"", 10);
        if (rel == NULL)
            rel = memmem(end, n_rest, "rel=next", 8);
        size_t n = (size_t)(end - at - 1);
        if (rel != NULL && n < sizeof(reply->next)) {
            memcpy(reply->next, at + 1, n);
            reply->next[n] = '\0';
            return;
        }
        at = end;
    }
}

/* "api";r=0;t=55: no request is left, and there are new ones in 55 seconds. */
static void read_rate_limit(vd_http_reply *reply, const char *value)
{
    const char *t = strstr(value, ";t=");
    if (t != NULL && reply->wait_s < 0)
        reply->wait_s = number(t + 3);
}

/* Seconds, or a date. */
static void read_retry_after(vd_http_reply *reply, const char *value)
{
    time_t now = time(NULL), when = -1;
    if (value[0] < '0' || value[0] > '9')
        when = curl_getdate(value, NULL);
    reply->wait_s = when < 0 ? number(value) : when > now ? (int64_t)(when - now) : 0;
}

static void take(vd_http_reply *reply, const char *name, const char *value)
{
    if (strcasecmp(name, "ETag") == 0) {
        if (value[0] == '"') /* W/"..." is weak: not good enough to join bytes */
            keep(reply->validator, sizeof(reply->validator), value);
    } else if (strcasecmp(name, "Last-Modified") == 0) {
        if (reply->validator[0] == '\0')
            keep(reply->validator, sizeof(reply->validator), value);
    } else if (strcasecmp(name, "Content-Type") == 0) {
        keep(reply->type, sizeof(reply->type), value);
    } else if (strcasecmp(name, "Content-Length") == 0) {
        reply->length = number(value);
    } else if (strcasecmp(name, "Content-Range") == 0) {
        read_range(reply, value);
    } else if (strcasecmp(name, "Retry-After") == 0) {
        read_retry_after(reply, value);
    } else if (strcasecmp(name, "RateLimit") == 0) {
        read_rate_limit(reply, value);
    } else if (strcasecmp(name, "Link") == 0) {
        read_link(reply, value);
    } else if (strcasecmp(name, "X-Error-Code") == 0) {
        keep(reply->error_code, sizeof(reply->error_code), value);
    } else if (strcasecmp(name, "X-Error-Message") == 0) {
        keep(reply->error_text, sizeof(reply->error_text), value);
    } else if (strcasecmp(name, "X-Linked-Size") == 0) {
        if (reply->linked_bytes < 0)
            reply->linked_bytes = number(value);
    } else if (strcasecmp(name, "X-Linked-ETag") == 0) {
        if (reply->linked_sha256[0] == '\0')
            read_linked(reply, value);
    } else if (strcasecmp(name, "X-Repo-Commit") == 0) {
        if (reply->commit[0] == '\0' && value[strspn(value, "0123456789abcdef")] == '\0')
            keep(reply->commit, sizeof(reply->commit), value);
    }
}

static void begin_answer(vd_http_reply *reply)
{
    vd_http_reply fresh;
    vd_http_reply_init(&fresh);
    fresh.linked_bytes = reply->linked_bytes;
    memcpy(fresh.linked_sha256, reply->linked_sha256, sizeof(fresh.linked_sha256));
    memcpy(fresh.commit, reply->commit, sizeof(fresh.commit));
    *reply = fresh;
}

void vd_http_reply_line(vd_http_reply *reply, const char *line, size_t n)
{
    char text[VALUE_MAX];
    if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        begin_answer(reply);
        return;
    }
    while (n > 0 && (unsigned char)line[n - 1] <= ' ')
        n--;
    if (n == 0 || n >= sizeof(text) || memchr(line, '\0', n) != NULL)
        return;
    memcpy(text, line, n);
    text[n] = '\0';
    char *value = strchr(text, ':');
    if (value == NULL)
        return;
    *value++ = '\0';
    take(reply, text, value + strspn(value, " \t"));
}
