/* http.c - see http.h. */
#include "cli/pull/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/fetch.h"
#include "cli/pull/head.h"

enum { REDIRECTS_MAX = 8, CONNECT_TIMEOUT_S = 30 };

typedef struct exchange {
    CURL *curl;
    const vd_http_get *get;
    vd_http_reply *reply;
    bool begun;       /* get->head has had its say */
    vd_status failed; /* of a callback */
    vd_err *err;
    char curl_message[CURL_ERROR_SIZE];
} exchange;

static volatile sig_atomic_t interrupted;
static struct sigaction old_int, old_term;

static void on_signal(int number)
{
    interrupted = number;
}

static void catch_one(int number, struct sigaction *old)
{
    /* no SA_RESTART: a wait ends */
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    if (sigaction(number, NULL, old) == 0 && old->sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

void vd_http_catch_interrupts(void)
{
    interrupted = 0;
    catch_one(SIGINT, &old_int);
    catch_one(SIGTERM, &old_term);
}

void vd_http_release_interrupts(void)
{
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
}

bool vd_http_interrupted(void)
{
    return interrupted != 0;
}

vd_status vd_http_sleep(int64_t seconds, vd_err *err)
{
    uint64_t end_ns = vd_now_ns() + (uint64_t)seconds * 1000000000u;
    for (uint64_t now; !vd_http_interrupted() && (now = vd_now_ns()) < end_ns;) {
        uint64_t left = end_ns - now < 100000000u ? end_ns - now : 100000000u;
        nanosleep(&(struct timespec){.tv_nsec = (long)left}, NULL);
    }
    return vd_http_interrupted() ? VD_FAIL(err, VD_ERR_CANCELLED, "interrupted") : VD_OK;
}

static vd_status begin_body(exchange *x)
{
    x->begun = true;
    return x->get->head(x->get->user, x->reply, x->err);
}

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    exchange *x = user;
    vd_http_reply_line(x->reply, line, n * size);
    return n * size;
}

static bool is_good(long code)
{
    return code == 200 || code == 206;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    exchange *x = user;
    n *= size;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->reply->code);
    if (!is_good(x->reply->code))
        return n; /* the page of an error */
    if (!x->begun)
        x->failed = begin_body(x);
    if (x->failed == VD_OK)
        x->failed = x->get->body(x->get->user, data, n, x->err);
    return x->failed == VD_OK ? n : 0;
}

static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t unused_total,
                       curl_off_t unused_now)
{
    exchange *x = user;
    if (vd_http_interrupted())
        return 1;
    if (x->begun && x->get->tick != NULL)
        x->get->tick(x->get->user, (int64_t)now);
    return 0;
}

/* Lines of ours in the request; *ret_lines NULL when there are none. */
static vd_status make_lines(const vd_http_get *get, struct curl_slist **ret_lines, vd_err *err)
{
    char line[VD_HTTP_VALIDATOR_MAX + 32];
    struct curl_slist *lines = NULL, *longer;
    if (get->from <= 0)
        return VD_OK;
    snprintf(line, sizeof(line), "Range: bytes=%" PRId64 "-", get->from);
    lines = curl_slist_append(NULL, line);
    longer = lines;
    if (lines != NULL && get->if_range != NULL) {
        snprintf(line, sizeof(line), "If-Range: %s", get->if_range);
        longer = curl_slist_append(lines, line);
    }
    if (longer == NULL) {
        curl_slist_free_all(lines);
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to fetch %s", get->url);
    }
    *ret_lines = longer;
    return VD_OK;
}

static CURLcode set_up(exchange *x, struct curl_slist *lines)
{
    const vd_http_get *get = x->get;
    const char *schemes = strncasecmp(get->url, "https:", 6) == 0 ? "https" : "http,https";
    CURL *c = x->curl;
    CURLcode failed = CURLE_OK;
#define SET(option, value) failed = failed != CURLE_OK ? failed : curl_easy_setopt(c, option, value)
    SET(CURLOPT_URL, get->url);
    SET(CURLOPT_PROTOCOLS_STR, schemes);
    SET(CURLOPT_REDIR_PROTOCOLS_STR, schemes);
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, get->stalled_s);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "verdant/" VD_VERSION);
    SET(CURLOPT_ERRORBUFFER, x->curl_message);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, x);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_HTTPHEADER, lines);
    if (get->token != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        SET(CURLOPT_XOAUTH2_BEARER, get->token);
        if (vd_http_is_loopback(get->url))
            SET(CURLOPT_NOPROXY, "*");
    }
#undef SET
    return failed;
}

static bool may_pass(CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    default:
        return false;
    }
}

static bool code_may_pass(long code)
{
    return code == 408 || code == 425 || code == 429 || code == 500 || (code >= 502 && code <= 504);
}

/* What became of the exchange, with the rest of *reply. */
static vd_status judge(exchange *x, CURLcode result)
{
    const char *url = x->get->url, *last = NULL, *why;
    vd_http_reply *reply = x->reply;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &reply->code);
    curl_easy_getinfo(x->curl, CURLINFO_EFFECTIVE_URL, &last);
    reply->elsewhere = last != NULL && !vd_http_same_origin(last, url);
    reply->transient = result == CURLE_OK ? code_may_pass(reply->code) : may_pass(result);
    why = x->curl_message[0] != '\0' ? x->curl_message : curl_easy_strerror(result);
    if (x->failed != VD_OK)
        return x->failed;
    if (result == CURLE_ABORTED_BY_CALLBACK)
        return VD_FAIL(x->err, VD_ERR_CANCELLED, "interrupted");
    if (result == CURLE_UNSUPPORTED_PROTOCOL)
        return VD_FAIL(x->err, VD_ERR_NETWORK, "%s: it leads to an address that is neither https "
                       "nor, where http was asked for, http (%s)", url, why);
    if (result == CURLE_OUT_OF_MEMORY)
        return VD_FAIL(x->err, VD_ERR_NOMEM, "no memory to fetch %s", url);
    if (result == CURLE_OPERATION_TIMEDOUT && reply->code != 0)
        return VD_FAIL(x->err, VD_ERR_NETWORK, "%s: nothing came for %ld s", url,
                       x->get->stalled_s);
    if (result != CURLE_OK)
        return VD_FAIL(x->err, VD_ERR_NETWORK, "%s: %s", url, why);
    if (is_good(reply->code) && !x->begun) /* an empty file */
        return begin_body(x);
    return VD_OK;
}

vd_status vd_http_fetch(const vd_http_get *get, vd_http_reply *reply, vd_err *err)
{
    exchange x = {.get = get, .reply = reply, .err = err};
    struct curl_slist *lines = NULL;
    vd_http_reply_init(reply);
    x.curl = curl_easy_init();
    if (x.curl == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to fetch %s", get->url);
    vd_status st = make_lines(get, &lines, err);
    if (st != VD_OK)
        goto out;
    CURLcode failed = set_up(&x, lines);
    if (failed != CURLE_OK) {
        st = VD_FAIL(err, VD_ERR_NETWORK, "cannot fetch %s: %s", get->url,
                     curl_easy_strerror(failed));
        goto out;
    }
    st = judge(&x, curl_easy_perform(x.curl));
out:
    curl_easy_cleanup(x.curl);
    curl_slist_free_all(lines);
    return st;
}

/* A part of the address; "" when it has none or is no address. */
static void url_part(const char *url, CURLUPart which, char *out, size_t n_out)
{
    CURLU *parts = curl_url();
    char *text = NULL;
    out[0] = '\0';
    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, which, &text, CURLU_DEFAULT_PORT) == CURLUE_OK)
        snprintf(out, n_out, "%s", text);
    curl_free(text);
    curl_url_cleanup(parts);
}

bool vd_http_is_loopback(const char *url)
{
    char host[256];
    url_part(url, CURLUPART_HOST, host, sizeof(host));
    return vd_fetch_is_loopback(host);
}

bool vd_http_same_origin(const char *a, const char *b)
{
    static const CURLUPart which[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
        char part_a[256], part_b[256];
        url_part(a, which[i], part_a, sizeof(part_a));
        url_part(b, which[i], part_b, sizeof(part_b));
        if (part_a[0] == '\0' || strcasecmp(part_a, part_b) != 0)
            return false;
    }
    return true;
}
