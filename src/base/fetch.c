/* fetch.c - see fetch.h. */
#include "base/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/fail.h"

enum { TIMEOUT_DEFAULT_MS = 10000, BODY_DEFAULT = 4 << 20, HOST_MAX = 256 };

typedef struct sink {
    vd_buf *body;
    size_t most;
    bool too_long;
} sink;

/* Asked by libcurl at least once a second. */
static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const atomic_bool *stop = user;
    return atomic_load_explicit(stop, memory_order_acquire);
}

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    sink *s = user;
    n *= size;
    if (n > s->most - s->body->n) {
        s->too_long = true;
        return 0;
    }
    vd_buf_append(s->body, data, n);
    return s->body->failed == VD_OK ? n : 0;
}

/* "http" or "https" and the host; false when the URL is none of ours. */
static bool parts_of(const char *url, bool *ret_tls, char host[HOST_MAX])
{
    char *scheme = NULL, *name = NULL;
    CURLU *parts = curl_url();
    bool good = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_HOST, &name, 0) == CURLUE_OK &&
                strlen(name) < HOST_MAX &&
                (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    if (good) {
        *ret_tls = strcasecmp(scheme, "https") == 0;
        memcpy(host, name, strlen(name) + 1);
    }
    curl_free(scheme);
    curl_free(name);
    curl_url_cleanup(parts);
    return good;
}

bool vd_fetch_is_loopback(const char *host)
{
    unsigned char address[4]; /* not by its first letters: 127.example.org is anywhere */
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, address) == 1 && address[0] == 127);
}

static CURLcode set_up(CURL *c, const vd_fetch *f, struct curl_slist *lines, sink *s, bool loopback,
                       char message[CURL_ERROR_SIZE])
{
    CURLcode failed = CURLE_OK;
    long timeout_ms = f->timeout_ms != 0 ? (long)f->timeout_ms : TIMEOUT_DEFAULT_MS;
#define SET(option, value) failed = failed != CURLE_OK ? failed : curl_easy_setopt(c, option, value)
    SET(CURLOPT_URL, f->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_TIMEOUT_MS, timeout_ms);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "verdant/" VD_VERSION);
    SET(CURLOPT_ERRORBUFFER, message);
    SET(CURLOPT_ACCEPT_ENCODING, "");
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, s);
    SET(CURLOPT_HTTPHEADER, lines);
    if (loopback)
        SET(CURLOPT_NOPROXY, "*");
    if (f->stop != NULL) {
        SET(CURLOPT_NOPROGRESS, 0L);
        SET(CURLOPT_XFERINFOFUNCTION, on_progress);
        SET(CURLOPT_XFERINFODATA, (void *)(uintptr_t)f->stop); /* only read */
#if LIBCURL_VERSION_NUM >= 0x075700
        SET(CURLOPT_QUICK_EXIT, 1L); /* nor wait for a name server that is silent */
#endif
    }
    if (f->user_password != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERPWD, f->user_password);
    }
#undef SET
    return failed;
}

static vd_status make_lines(const vd_fetch *f, struct curl_slist **ret_lines, vd_err *err)
{
    struct curl_slist *lines = NULL;
    for (size_t i = 0; f->headers != NULL && f->headers[i] != NULL; i++) {
        struct curl_slist *longer = curl_slist_append(lines, f->headers[i]);
        if (longer == NULL) {
            curl_slist_free_all(lines);
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a request");
        }
        lines = longer;
    }
    *ret_lines = lines;
    return VD_OK;
}

static void read_head(CURL *c, const vd_fetch *f, long *ret_code)
{
    curl_off_t after_s = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, ret_code);
    if (f->ret_retry_after_s == NULL)
        return;
    curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &after_s);
    *f->ret_retry_after_s = after_s < 0 ? 0 : (uint32_t)VD_MIN(after_s, (curl_off_t)UINT32_MAX);
}

vd_status vd_fetch_get(const vd_fetch *f, vd_buf *body, long *ret_code, vd_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char host[HOST_MAX], message[CURL_ERROR_SIZE] = "";
    bool tls = false, secret = f->headers != NULL || f->user_password != NULL;
    struct curl_slist *lines = NULL;
    sink s = {.body = body, .most = f->body_max != 0 ? f->body_max : BODY_DEFAULT};
    CURLcode result = CURLE_OK;
    pthread_once(&once, init_curl);
    vd_buf_clear(body);
    if (f->ret_retry_after_s != NULL)
        *f->ret_retry_after_s = 0;
    if (!parts_of(f->url, &tls, host))
        return VD_FAIL(err, VD_ERR_ARG, "not an http:// or https:// address: %.200s", f->url);
    bool loopback = vd_fetch_is_loopback(host);
    if (secret && !tls && !loopback)
        return VD_FAIL(err, VD_ERR_ARG, "a token for %s would travel unencrypted: use https://",
                       host);
    vd_status st = make_lines(f, &lines, err);
    if (st != VD_OK)
        return st;
    CURL *c = curl_easy_init();
    result = c == NULL ? CURLE_OUT_OF_MEMORY : set_up(c, f, lines, &s, loopback, message);
    if (result == CURLE_OK)
        result = curl_easy_perform(c);
    if (s.too_long)
        st = VD_FAIL(err, VD_ERR_LIMIT, "the answer of %s is longer than %zu bytes", host, s.most);
    else if (body->failed != VD_OK)
        st = vd_buf_status(body, "an answer", err);
    else if (result == CURLE_ABORTED_BY_CALLBACK)
        st = VD_FAIL(err, VD_ERR_CANCELLED, "asking %s was cancelled", host);
    else if (result == CURLE_OUT_OF_MEMORY)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory to ask %s", host);
    else if (result != CURLE_OK)
        st = VD_FAIL(err, VD_ERR_IO, "%s gave no answer: %s", host,
                     message[0] != '\0' ? message : curl_easy_strerror(result));
    else
        read_head(c, f, ret_code);
    curl_easy_cleanup(c);
    curl_slist_free_all(lines);
    return st;
}
