/* hub.c - the hub's address, token and answers. See hub.h. */
#include "cli/pull/hub.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/pull/retry.h"

enum { STALLED_DEFAULT_S = 30, STALLED_MAX_S = 3600, TOKEN_LIMIT = 4096, TEXT_LIMIT = 16 << 20 };
enum { URL_LIMIT = 1 << 14 };

/* NULL where the variable is not set or empty. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static vd_status find_endpoint(char **ret, vd_err *err)
{
    const char *text = environment("HF_ENDPOINT");
    if (text == NULL)
        text = "https://huggingface.co";
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '/')
        n--;
    if ((strncasecmp(text, "https://", 8) != 0 && strncasecmp(text, "http://", 7) != 0) ||
        strpbrk(text, "@?# ") != NULL)
        return VD_FAIL(err, VD_ERR_ARG, "HF_ENDPOINT is no address of a hub: it is like "
                       "https://huggingface.co, without user, password or query");
    *ret = vd_strndup(text, n);
    return *ret != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for the hub's address");
}

/* Where the hub's own client keeps the token; "" where there is no home. */
static void put_token_path(vd_buf *path)
{
    if (environment("HF_TOKEN_PATH") != NULL)
        vd_buf_puts(path, environment("HF_TOKEN_PATH"));
    else if (environment("HF_HOME") != NULL)
        vd_buf_printf(path, "%s/token", environment("HF_HOME"));
    else if (environment("XDG_CACHE_HOME") != NULL)
        vd_buf_printf(path, "%s/huggingface/token", environment("XDG_CACHE_HOME"));
    else if (environment("HOME") != NULL)
        vd_buf_printf(path, "%s/.cache/huggingface/token", environment("HOME"));
}

/* text[0..n) without blanks around it; *ret stays NULL where nothing is left. */
static vd_status clean_token(const char *text, size_t n, const char *where, char **ret, vd_err *err)
{
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    while (n > 0 && isspace((unsigned char)*text)) {
        text++;
        n--;
    }
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return VD_FAIL(err, VD_ERR_ARG, "%s holds no token: there are blanks or control "
                           "characters inside it", where);
    if (n > 0 && (*ret = vd_strndup(text, n)) == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the hub's token");
    return VD_OK;
}

static vd_status find_token(char **ret, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    vd_buf path;
    const char *set = environment("HF_TOKEN");
    if (set != NULL)
        return clean_token(set, strlen(set), "HF_TOKEN", ret, err);
    vd_buf_init(&path, URL_LIMIT);
    put_token_path(&path);
    vd_status st = vd_buf_status(&path, "the path of the hub's token", err);
    if (st == VD_OK && path.n > 0 &&
        vd_file_read(vd_buf_text(&path), TOKEN_LIMIT, &text, &n, NULL) == VD_OK)
        st = clean_token(text, n, vd_buf_text(&path), ret, err);
    vd_free(text);
    vd_buf_done(&path);
    return st;
}

static vd_status find_timeout(long *ret, vd_err *err)
{
    const char *text = environment("HF_HUB_DOWNLOAD_TIMEOUT");
    char *end = NULL;
    long value = text != NULL ? strtol(text, &end, 10) : STALLED_DEFAULT_S;
    if (text != NULL && (*end != '\0' || value < 1 || value > STALLED_MAX_S))
        return VD_FAIL(err, VD_ERR_ARG, "HF_HUB_DOWNLOAD_TIMEOUT is a number of seconds from 1 to "
                       "%d, not '%.20s'", STALLED_MAX_S, text);
    *ret = value;
    return VD_OK;
}

vd_status vd_hub_open(vd_hub *ret_hub, vd_err *err)
{
    vd_hub hub = {0};
    vd_status st = find_endpoint(&hub.endpoint, err);
    if (st != VD_OK || (st = find_token(&hub.token, err)) != VD_OK ||
        (st = find_timeout(&hub.stalled_s, err)) != VD_OK)
        goto out;
    if (hub.token != NULL && strncasecmp(hub.endpoint, "https:", 6) != 0 &&
        !vd_http_is_loopback(hub.endpoint)) {
        st = VD_FAIL(err, VD_ERR_ARG, "the token would go to %s unencrypted: make HF_ENDPOINT an "
                     "https: address, or pull with HF_TOKEN_PATH=/dev/null and no HF_TOKEN",
                     hub.endpoint);
        goto out;
    }
    *ret_hub = hub;
    hub = (vd_hub){0};
out:
    vd_hub_close(&hub);
    return st;
}

void vd_hub_close(vd_hub *hub)
{
    if (hub->token != NULL)
        explicit_bzero(hub->token, strlen(hub->token));
    vd_free(hub->token);
    vd_free(hub->endpoint);
    *hub = (vd_hub){0};
}

void vd_hub_put_encoded(vd_buf *buf, const char *text, const char *others)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 0x80 && isalnum(c)) || strchr("-._~", c) != NULL || strchr(others, c) != NULL)
            vd_buf_putc(buf, *text);
        else
            vd_buf_printf(buf, "%%%02X", c);
    }
}

/* An answer that is no file and no reason to try again. `file` is "" for a listing. */
static vd_status explain(const vd_hub *hub, const vd_hub_ref *ref, const char *file,
                         const vd_http_reply *reply, vd_err *err)
{
    const char *code = reply->error_code, *revision = vd_hub_revision(ref);
    const char *why = reply->error_text[0] != '\0' ? reply->error_text : "it says no more";
    if (strcmp(code, "GatedRepo") == 0 && hub->token == NULL)
        return VD_FAIL(err, VD_ERR_PERM, "%s is gated: accept its terms at %s/%s, then set "
                       "HF_TOKEN to an access token of your account", ref->repo, hub->endpoint,
                       ref->repo);
    if (strcmp(code, "GatedRepo") == 0)
        return VD_FAIL(err, VD_ERR_PERM, "%s is gated, and the token's account is not let in: "
                       "accept its terms, or see how your request stands, at %s/%s", ref->repo,
                       hub->endpoint, ref->repo);
    if (strcmp(code, "RevisionNotFound") == 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has no revision '%s'", ref->repo, revision);
    if (strcmp(code, "EntryNotFound") == 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has no file '%s' in its revision '%s'; `verdant "
                       "pull hf:%s` shows what there is", ref->repo, file, revision, ref->repo);
    if (reply->code == 401 && hub->token != NULL && strcmp(code, "RepoNotFound") != 0)
        return VD_FAIL(err, VD_ERR_PERM, "the hub does not accept the token (HTTP 401: %s); set "
                       "HF_TOKEN to a valid one, or to none", why);
    if (strcmp(code, "RepoNotFound") == 0 || reply->code == 401 || reply->code == 404)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "there is no model %s at %s, or it is private%s",
                       ref->repo, hub->endpoint,
                       hub->token != NULL ? " and not the token's to read"
                                          : ": then set HF_TOKEN to an access token");
    if (reply->code == 403)
        return VD_FAIL(err, VD_ERR_PERM, "the hub does not let %s read %s (HTTP 403: %s)",
                       hub->token != NULL ? "the token" : "us", ref->repo, why);
    return VD_FAIL(err, VD_ERR_NETWORK, "%s: HTTP status %ld: %s", ref->repo, reply->code, why);
}

static vd_status on_text_head(void *user, const vd_http_reply *reply, vd_err *err)
{
    vd_buf_clear(user);
    return VD_OK;
}

static vd_status on_text(void *user, const void *data, size_t n, vd_err *err)
{
    vd_buf_append(user, data, n);
    return vd_buf_status(user, "the hub's answer", err);
}

static vd_status try_text(const vd_http_get *get, const vd_hub *hub, const vd_hub_ref *ref,
                          vd_http_reply *reply, vd_err *err)
{
    vd_status st = vd_http_fetch(get, reply, err);
    if (st != VD_OK || reply->code == 200)
        return st;
    if (reply->transient)
        return VD_FAIL(err, VD_ERR_NETWORK, "the hub's listing of %s: HTTP status %ld", ref->repo,
                       reply->code);
    return explain(hub, ref, "", reply, err);
}

vd_status vd_hub_get_text(const vd_hub *hub, const vd_hub_ref *ref, const char *url, vd_buf *text,
                          vd_http_reply *reply, vd_err *err)
{
    const vd_http_get get = {.url = url, .token = hub->token, .stalled_s = hub->stalled_s,
                             .head = on_text_head, .body = on_text, .user = text};
    vd_retry retry = {0};
    vd_err why = {0};
    vd_status st;
    vd_http_catch_interrupts();
    while ((st = try_text(&get, hub, ref, reply, &why)) != VD_OK)
        if ((st = vd_retry_wait(&retry, st, reply, false, &why)) != VD_OK)
            break;
    vd_http_release_interrupts();
    if (st != VD_OK && err != NULL)
        *err = why;
    return st;
}

typedef struct asked {
    const vd_hub *hub;
    const vd_hub_ref *ref;
    const char *file;
} asked;

static vd_status explain_file(void *user, const vd_http_reply *reply, vd_err *err)
{
    const asked *a = user;
    return explain(a->hub, a->ref, a->file, reply, err);
}

vd_status vd_hub_download(const vd_hub *hub, const vd_hub_ref *ref, const vd_hub_files *files,
                          size_t i, const char *commit, const char *label, const char *part_path,
                          const char *note_path, vd_downloaded *ret, vd_err *err)
{
    const vd_hub_file *file = &files->file[i];
    vd_buf url, key, what;
    int64_t bytes_behind = 0;
    for (size_t k = i + 1; k < files->n; k++)
        bytes_behind += files->file[k].bytes > 0 ? files->file[k].bytes : 0;
    asked a = {hub, ref, file->path};
    vd_buf_init(&url, URL_LIMIT);
    vd_buf_init(&key, URL_LIMIT);
    vd_buf_init(&what, URL_LIMIT);
    vd_buf_printf(&url, "%s/%s/resolve/", hub->endpoint, ref->repo);
    vd_hub_put_encoded(&url, commit[0] != '\0' ? commit : vd_hub_revision(ref), "");
    vd_buf_putc(&url, '/');
    vd_hub_put_encoded(&url, file->path, "/");
    vd_buf_printf(&key, "%s/%s@%s:%s", hub->endpoint, ref->repo, vd_hub_revision(ref), file->path);
    vd_buf_printf(&what, "%s of %s", file->path, ref->repo);
    vd_status st = vd_buf_status(&url, "the address of a file", err);
    if (st == VD_OK)
        st = vd_buf_status(&key, "the name of a file", err);
    if (st == VD_OK)
        st = vd_buf_status(&what, "the name of a file", err);
    if (st == VD_OK) {
        const vd_download download = {.url = vd_buf_text(&url), .token = hub->token,
                                      .key = vd_buf_text(&key), .what = vd_buf_text(&what),
                                      .label = label, .part_path = part_path,
                                      .note_path = note_path, .bytes = file->bytes,
                                      .bytes_behind = bytes_behind,
                                      .sha256 = file->sha256[0] != '\0' ? file->sha256 : NULL,
                                      .stalled_s = hub->stalled_s, .explain = explain_file,
                                      .user = &a};
        st = vd_download_file(&download, ret, err);
    }
    vd_buf_done(&url);
    vd_buf_done(&key);
    vd_buf_done(&what);
    return st;
}
