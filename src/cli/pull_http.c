/*
 * pull_http.c - a model from http: or https:, resumed where the last try ended.
 *
 * An unfinished file is gone on from by RFC 9110's range request: `Range: bytes=N-` with `If-Range`
 * and the validator (a strong ETag, else Last-Modified) that the note kept. A server whose file has
 * changed, or that knows no ranges, answers 200 with all of it and we begin anew; a 206 that does
 * not begin at N is refused. Redirects may lead from http to https, never to another scheme nor
 * from https to http, and libcurl forwards no credentials to another host.
 */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/format.h"
#include "cli/pull.h"

enum {
    REDIRECTS_MAX = 8, CONNECT_TIMEOUT_S = 30, STALLED_S = 60, VALIDATOR_MAX = 256,
    NOTE_LIMIT = 1 << 16
};
static const uint64_t progress_after_ns = 2000000000, progress_every_ns = 100000000;

typedef struct transfer {
    CURL *curl;
    const char *url, *part_path, *note_path;
    FILE *part;
    int64_t have;              /* bytes of the part from before */
    int64_t range_start;       /* of a 206, -1 = not said */
    char validator[VALIDATOR_MAX]; /* of the answer that is being read */
    bool begun;                /* the first byte of a good answer was seen */
    vd_status failed;          /* of ours, inside a callback */
    vd_err *err;
    uint64_t start_ns, shown_ns;
    bool bar;
    char curl_message[CURL_ERROR_SIZE];
} transfer;

/* The validator to resume with, when the note is of this address; "" otherwise. */
static void read_note(transfer *t, char validator[VALIDATOR_MAX])
{
    char *text = NULL;
    size_t n = 0;
    json_t *note = NULL;
    validator[0] = '\0';
    if (vd_file_read(t->note_path, NOTE_LIMIT, &text, &n, NULL) == VD_OK &&
        vd_json_parse(text, n, &note, NULL) == VD_OK) {
        const char *url = json_string_value(json_object_get(note, "url"));
        const char *kept = json_string_value(json_object_get(note, "validator"));
        if (url != NULL && kept != NULL && strcmp(url, t->url) == 0 &&
            strpbrk(kept, "\r\n") == NULL)
            snprintf(validator, VALIDATOR_MAX, "%s", kept);
    }
    json_decref(note);
    vd_free(text);
}

static vd_status write_note(const transfer *t, vd_err *err)
{
    vd_atomic_file file = {0};
    json_t *note = json_pack("{s:s, s:s}", "url", t->url, "validator", t->validator);
    char *text = vd_json_text(note);
    json_decref(note);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the note on %s", t->url);
    vd_status st = vd_atomic_file_open(t->note_path, &file, err);
    if (st == VD_OK) {
        fputs(text, file.stream);
        st = vd_atomic_file_commit(&file, err);
    }
    vd_free(text);
    return st;
}

/* The value of header `name` in the line, trimmed, into out; false when it is another header. */
static bool header_value(const char *line, size_t n, const char *name, char *out, size_t n_out)
{
    size_t n_name = strlen(name);
    if (n <= n_name || strncasecmp(line, name, n_name) != 0 || line[n_name] != ':')
        return false;
    line += n_name + 1;
    n -= n_name + 1;
    while (n > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        n--;
    }
    while (n > 0 && (unsigned char)line[n - 1] <= ' ')
        n--;
    snprintf(out, n_out, "%.*s", (int)(n < n_out ? n : 0), line); /* too long: as if absent */
    return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    transfer *t = user;
    char value[VALIDATOR_MAX];
    n *= size;
    if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* a redirect's answer came before */
        t->validator[0] = '\0';
        t->range_start = -1;
    }
    if (header_value(line, n, "ETag", value, sizeof(value)) && value[0] == '"')
        snprintf(t->validator, sizeof(t->validator), "%s", value);
    if (header_value(line, n, "Last-Modified", value, sizeof(value)) && t->validator[0] == '\0')
        snprintf(t->validator, sizeof(t->validator), "%s", value);
    if (header_value(line, n, "Content-Range", value, sizeof(value)) &&
        strncasecmp(value, "bytes ", 6) == 0 && value[6] >= '0' && value[6] <= '9') {
        errno = 0;
        t->range_start = strtoll(value + 6, NULL, 10);
    }
    return n;
}

/* The first bytes of an answer: 206 goes on where the part ends, 200 begins it anew. */
static vd_status begin(transfer *t, long code, vd_err *err)
{
    if (code == 206 && t->range_start != t->have)
        return VD_FAIL(err, VD_ERR_NETWORK,
                       "%s: asked for the bytes from %" PRId64 " on, got those from %" PRId64,
                       t->url, t->have, t->range_start);
    if (code == 200 && (ftruncate(fileno(t->part), 0) != 0 || fseeko(t->part, 0, SEEK_SET) != 0))
        return VD_FAIL(err, VD_ERR_IO, "cannot empty %s: %s", t->part_path, strerror(errno));
    if (code == 200)
        t->have = 0;
    t->begun = true;
    return write_note(t, err);
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    transfer *t = user;
    long code = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    n *= size;
    if (code != 200 && code != 206)
        return n; /* the page of an error */
    if (!t->begun && (t->failed = begin(t, code, t->err)) != VD_OK)
        return 0;
    if (fwrite(data, 1, n, t->part) != n) {
        t->failed = VD_FAIL(t->err, VD_ERR_IO, "cannot write %s: %s", t->part_path,
                            strerror(errno));
        return 0;
    }
    return n;
}

/* A bar on a terminal, once the transfer has taken two seconds. */
static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t unused_total,
                       curl_off_t unused_now)
{
    transfer *t = user;
    uint64_t time_ns = vd_now_ns(), took_ns = time_ns - t->start_ns;
    if (!t->bar || took_ns < progress_after_ns || time_ns - t->shown_ns < progress_every_ns)
        return 0;
    t->shown_ns = time_ns;
    uint64_t done = (uint64_t)(now + t->have);
    uint64_t rate = (uint64_t)((double)now * 1e9 / (double)took_ns);
    fprintf(stderr, "\r\033[K");
    if (total > 0) {
        int percent = (int)(100.0 * (double)done / (double)(total + t->have));
        fprintf(stderr, "%3d %% [%.*s%*s] ", percent, percent / 4, "=========================",
                25 - percent / 4, "");
    }
    fprintf(stderr, "%s, %s/s", vd_cli_size(done).text, vd_cli_size(rate).text);
    if (total > now && rate > 0)
        fprintf(stderr, ", %" PRIu64 " s left", (uint64_t)(total - now) / rate);
    fflush(stderr);
    return 0;
}

static vd_status judge(transfer *t, CURLcode result, bool *ret_again, vd_err *err)
{
    long code = 0;
    char *last = NULL;
    const char *why = t->curl_message[0] != '\0' ? t->curl_message : curl_easy_strerror(result);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(t->curl, CURLINFO_EFFECTIVE_URL, &last);
    if (t->failed != VD_OK)
        return t->failed;
    if (result == CURLE_UNSUPPORTED_PROTOCOL)
        return VD_FAIL(err, VD_ERR_NETWORK, "%s leads to an address that is neither https: nor, "
                       "from http:, http: (%s)", t->url, why);
    if (result == CURLE_OUT_OF_MEMORY)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to fetch %s", t->url);
    if (result != CURLE_OK)
        return VD_FAIL(err, VD_ERR_NETWORK, "%s: %s%s", t->url, why,
                       t->begun ? "; pull again to go on from here" : "");
    if (code == 416 && t->have > 0) { /* the part is longer than the file, or as long */
        *ret_again = true;
        return VD_OK;
    }
    if (code == 404 || code == 410)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s: there is no such file (HTTP %ld)", t->url, code);
    if (code == 401 || code == 403)
        return VD_FAIL(err, VD_ERR_PERM, "%s: the server does not let us (HTTP %ld)", t->url, code);
    if (code != 200 && code != 206)
        return VD_FAIL(err, VD_ERR_NETWORK, "%s: HTTP status %ld%s%s", t->url, code,
                       last != NULL && strcmp(last, t->url) != 0 ? " from " : "",
                       last != NULL && strcmp(last, t->url) != 0 ? last : "");
    if (!t->begun && (t->failed = begin(t, code, err)) != VD_OK) /* an empty file */
        return t->failed;
    return VD_OK;
}

static vd_status set_up(transfer *t, struct curl_slist *headers, vd_err *err)
{
    const char *schemes = strncasecmp(t->url, "https:", 6) == 0 ? "https" : "http,https";
    CURL *c = t->curl;
    CURLcode failed = CURLE_OK;
#define SET(option, value) failed = failed != CURLE_OK ? failed : curl_easy_setopt(c, option, value)
    SET(CURLOPT_URL, t->url);
    SET(CURLOPT_PROTOCOLS_STR, schemes);
    SET(CURLOPT_REDIR_PROTOCOLS_STR, schemes);
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "verdant/" VD_VERSION);
    SET(CURLOPT_ERRORBUFFER, t->curl_message);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_HTTPHEADER, headers);
#undef SET
    if (failed == CURLE_OK)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_NETWORK, "cannot fetch %s: %s", t->url, curl_easy_strerror(failed));
}

/* Two header lines that ask for the rest of the file, when there is a part that may be kept. */
static vd_status resume_headers(const transfer *t, const char *validator,
                                struct curl_slist **ret_headers, vd_err *err)
{
    char line[VALIDATOR_MAX + 32];
    struct curl_slist *list = NULL, *longer = NULL;
    snprintf(line, sizeof(line), "Range: bytes=%" PRId64 "-", t->have);
    list = curl_slist_append(NULL, line);
    snprintf(line, sizeof(line), "If-Range: %s", validator);
    longer = list != NULL ? curl_slist_append(list, line) : NULL;
    if (longer == NULL) {
        curl_slist_free_all(list);
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to fetch %s", t->url);
    }
    *ret_headers = longer;
    return VD_OK;
}

/* One request. *ret_again: the part is of no use, ask for the whole file. */
static vd_status fetch(transfer *t, bool *ret_again, vd_err *err)
{
    char validator[VALIDATOR_MAX];
    struct curl_slist *headers = NULL;
    vd_status st = VD_OK;
    read_note(t, validator);
    if (validator[0] == '\0')
        unlink(t->part_path); /* not ours to go on from, and perhaps a link to somebody's file */
    t->part = fopen(t->part_path, "abe"); /* makes it when it is not there */
    if (t->part == NULL || fseeko(t->part, 0, SEEK_END) != 0) {
        st = VD_FAIL(err, errno == EACCES ? VD_ERR_PERM : VD_ERR_IO, "cannot write %s: %s",
                     t->part_path, strerror(errno));
        goto out;
    }
    t->have = (int64_t)ftello(t->part);
    if (t->have > 0 && (st = resume_headers(t, validator, &headers, err)) != VD_OK)
        goto out;
    if ((st = set_up(t, headers, err)) != VD_OK)
        goto out;
    CURLcode result = curl_easy_perform(t->curl);
    if (t->shown_ns > 0)
        fprintf(stderr, "\r\033[K");
    st = judge(t, result, ret_again, err);
    if ((fflush(t->part) != 0 || fsync(fileno(t->part)) != 0) && st == VD_OK)
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", t->part_path, strerror(errno));
out:
    if (t->part != NULL)
        fclose(t->part);
    t->part = NULL;
    curl_slist_free_all(headers);
    return st;
}

vd_status vd_pull_http(const char *url, const char *part_path, const char *note_path, vd_err *err)
{
    bool again = false;
    transfer t = {.url = url, .part_path = part_path, .note_path = note_path, .range_start = -1,
                  .err = err, .start_ns = vd_now_ns(), .bar = isatty(STDERR_FILENO) != 0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (t.curl = curl_easy_init()) == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory to fetch %s", url);
    vd_status st = fetch(&t, &again, err);
    if (st == VD_OK && again) {
        unlink(part_path);
        unlink(note_path);
        curl_easy_reset(t.curl);
        again = false;
        st = fetch(&t, &again, err);
    }
    curl_easy_cleanup(t.curl);
    curl_global_cleanup();
    return st;
}
