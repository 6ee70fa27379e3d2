/* download.c - see download.h. */
#include "cli/pull/download.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/format.h"
#include "cli/pull/meter.h"
#include "cli/pull/retry.h"

enum { NOTE_LIMIT = 1 << 16, POINTER_MAX = 1024, RESTARTS_MAX = 3 };

/* What the note says of the unfinished file; "" = nothing. */
typedef struct note {
    char validator[VD_HTTP_VALIDATOR_MAX], sha256[VD_SHA256_HEX + 1];
} note;

typedef struct transfer {
    const vd_download *d;
    vd_http_reply reply;
    note note;
    FILE *part;
    int64_t have; /* bytes of the part before this try */
    int64_t got;  /* and since */
    int64_t want; /* size of the file, -1 = not known */
    bool stale;   /* what the part holds is of another file: begin anew */
    bool ruined;  /* bytes that are not the file's were written */
    vd_meter meter;
} transfer;

static void keep_string(const json_t *object, const char *key, char *out, size_t n_out)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text != NULL && strlen(text) < n_out && strpbrk(text, "\r\n") == NULL)
        snprintf(out, n_out, "%s", text);
}

static void read_note(transfer *t)
{
    char *text = NULL;
    size_t n = 0;
    json_t *object = NULL;
    t->note = (note){{0}};
    if (vd_file_read(t->d->note_path, NOTE_LIMIT, &text, &n, NULL) == VD_OK &&
        vd_json_parse(text, n, &object, NULL) == VD_OK) {
        const char *key = json_string_value(json_object_get(object, "file"));
        if (key != NULL && strcmp(key, t->d->key) == 0) {
            keep_string(object, "validator", t->note.validator, sizeof(t->note.validator));
            keep_string(object, "sha256", t->note.sha256, sizeof(t->note.sha256));
        }
    }
    json_decref(object);
    vd_free(text);
}

static vd_status write_note(const transfer *t, vd_err *err)
{
    vd_atomic_file file = {0};
    json_t *object = json_pack("{s:s, s:s, s:s}", "file", t->d->key, "validator",
                               t->note.validator, "sha256", t->note.sha256);
    char *text = vd_json_text(object);
    json_decref(object);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the note on %s", t->d->what);
    vd_status st = vd_atomic_file_open(t->d->note_path, &file, err);
    if (st == VD_OK) {
        fputs(text, file.stream);
        st = vd_atomic_file_commit(&file, err);
    }
    vd_free(text);
    return st;
}

static void forget(const vd_download *d)
{
    unlink(d->part_path);
    unlink(d->note_path);
}

/* A 206 goes on where the part ends, if it is still of the same file. */
static vd_status begin_range(transfer *t, vd_err *err)
{
    const vd_http_reply *reply = &t->reply;
    bool same = strcmp(reply->linked_sha256, t->note.sha256) == 0;
    bool known = reply->linked_sha256[0] != '\0' && t->note.sha256[0] != '\0';
    if (reply->range_start != t->have)
        return VD_FAIL(err, VD_ERR_NETWORK,
                       "%s: asked for the bytes from %" PRId64 " on, got those from %" PRId64,
                       t->d->what, t->have, reply->range_start);
    t->stale = known ? !same : t->note.validator[0] == '\0';
    return t->stale ? VD_ERR_CANCELLED : VD_OK;
}

/* The size of the file by whoever knows it best, and whether this answer can be it. */
static vd_status begin_size(transfer *t, vd_err *err)
{
    const vd_http_reply *reply = &t->reply;
    int64_t named = reply->linked_bytes >= 0 ? reply->linked_bytes : t->d->bytes;
    int64_t end = reply->length >= 0 && reply->length <= INT64_MAX - t->have
                      ? t->have + reply->length
                      : -1;
    t->want = named >= 0 ? named : end;
    if (end <= t->want)
        return VD_OK;
    t->ruined = true;
    return VD_FAIL(err, VD_ERR_FORMAT, "%s: it has %" PRId64 " bytes, and the server would send %"
                   PRId64, t->d->what, t->want, end);
}

static vd_status check_room(const transfer *t, vd_err *err)
{
    struct statvfs disk;
    if (t->want < 0 || fstatvfs(fileno(t->part), &disk) != 0)
        return VD_OK;
    uint64_t need = (uint64_t)(t->want - t->have) + (uint64_t)t->d->bytes_behind, room;
    if (__builtin_mul_overflow((uint64_t)disk.f_bavail, (uint64_t)disk.f_frsize, &room) ||
        need <= room)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_IO, "%s needs %s, and the disk of %s has room for %s: make room "
                   "there, or name another place by VERDANT_HOME or --to", t->d->what,
                   vd_cli_size(need).text, t->d->part_path, vd_cli_size(room).text);
}

/* Before the first byte of a 200 or 206. */
static vd_status on_head(void *user, const vd_http_reply *reply, vd_err *err)
{
    transfer *t = user;
    vd_status st = VD_OK;
    if (strncasecmp(reply->type, "text/html", 9) == 0)
        return VD_FAIL(err, VD_ERR_NETWORK, "%s: the server sent a web page, not the file; a login "
                       "page of this network, or the address of a page (of the hub: /resolve/, not "
                       "/blob/)", t->d->what);
    if (reply->code == 206) {
        st = begin_range(t, err);
    } else {
        if (ftruncate(fileno(t->part), 0) != 0 || fseeko(t->part, 0, SEEK_SET) != 0)
            return VD_FAIL(err, VD_ERR_IO, "cannot empty %s: %s", t->d->part_path, strerror(errno));
        t->have = 0;
    }
    if (st != VD_OK || (st = begin_size(t, err)) != VD_OK || (st = check_room(t, err)) != VD_OK)
        return st;
    snprintf(t->note.validator, sizeof(t->note.validator), "%s", reply->validator);
    if (reply->linked_sha256[0] != '\0')
        snprintf(t->note.sha256, sizeof(t->note.sha256), "%s", reply->linked_sha256);
    else if (reply->code == 200)
        t->note.sha256[0] = '\0';
    return write_note(t, err);
}

static vd_status on_body(void *user, const void *data, size_t n, vd_err *err)
{
    transfer *t = user;
    if (t->want >= 0 && (int64_t)n > t->want - t->have - t->got) {
        t->ruined = true;
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: the server sends more than the %" PRId64
                       " bytes that were named", t->d->what, t->want);
    }
    if (fwrite(data, 1, n, t->part) != n)
        return VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", t->d->part_path, strerror(errno));
    t->got += (int64_t)n;
    return VD_OK;
}

static void on_tick(void *user, int64_t received)
{
    transfer *t = user;
    vd_meter_show(&t->meter, t->d->label, t->have + received, t->want);
}

/* Git keeps, in place of a large file, a text that names it; a mirror may hand out that. */
static bool is_pointer(const transfer *t)
{
    static const char begin[] = "version https://git-lfs.github.com/spec/";
    char text[sizeof(begin)] = {0};
    if (t->have + t->got >= POINTER_MAX || t->have + t->got < (int64_t)sizeof(begin))
        return false;
    FILE *part = fopen(t->d->part_path, "rbe");
    if (part == NULL)
        return false;
    size_t n = fread(text, 1, sizeof(begin) - 1, part);
    fclose(part);
    return n == sizeof(begin) - 1 && memcmp(text, begin, n) == 0;
}

/* The answer to a range that begins where the file ends, or behind. The condition on the validator
 * holds then, else the answer were the file. */
static vd_status judge_416(transfer *t)
{
    bool known = t->reply.linked_sha256[0] != '\0' || t->d->sha256 != NULL;
    bool whole = t->reply.range_bytes == t->have && (known || t->note.validator[0] != '\0');
    if (whole)
        t->want = t->have;
    else
        t->stale = true;
    return whole ? VD_OK : VD_ERR_CANCELLED;
}

/* An answer that came whole: is it the file? */
static vd_status judge(transfer *t, vd_err *err)
{
    vd_http_reply *reply = &t->reply;
    const char *what = t->d->what;
    long code = reply->code;
    if (code == 416 && t->have > 0)
        return judge_416(t);
    if (code == 200 || code == 206) {
        if (is_pointer(t)) {
            t->ruined = true;
            return VD_FAIL(err, VD_ERR_FORMAT, "%s: the server sent the Git LFS pointer that "
                           "stands for the file, not the file", what);
        }
        if (t->want < 0 || t->have + t->got == t->want)
            return VD_OK;
        reply->transient = true;
        return VD_FAIL(err, VD_ERR_NETWORK,
                       "%s: the transfer ended at byte %" PRId64 " of %" PRId64, what,
                       t->have + t->got, t->want);
    }
    /* the hub has let us and signed an address, whose time is over: it signs another */
    if ((code == 401 || code == 403) && reply->elsewhere && reply->linked_bytes >= 0) {
        reply->transient = true;
        return VD_FAIL(err, VD_ERR_PERM, "%s: the host of the file refuses the hub's signature "
                       "(HTTP %ld)", what, code);
    }
    if (t->d->explain != NULL && !reply->transient)
        return t->d->explain(t->d->user, reply, err);
    if (code == 404 || code == 410)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s: there is no such file (HTTP %ld)", what, code);
    if (code == 401 || code == 403)
        return VD_FAIL(err, VD_ERR_PERM, "%s: the server does not let us (HTTP %ld)", what, code);
    return VD_FAIL(err, VD_ERR_NETWORK, "%s: HTTP status %ld", what, code);
}

/* One request. */
static vd_status try_once(transfer *t, vd_err *err)
{
    const vd_download *d = t->d;
    vd_status st = VD_OK;
    t->got = 0;
    t->stale = t->ruined = false;
    t->reply = (vd_http_reply){0};
    read_note(t);
    bool strong = t->note.validator[0] != '\0';
    if (!strong && t->note.sha256[0] == '\0')
        unlink(d->part_path); /* not ours to go on from, and perhaps a link to somebody's file */
    t->part = fopen(d->part_path, "abe"); /* makes it when it is not there */
    if (t->part == NULL || fseeko(t->part, 0, SEEK_END) != 0) {
        st = VD_FAIL(err, errno == EACCES ? VD_ERR_PERM : VD_ERR_IO, "cannot write %s: %s",
                     d->part_path, strerror(errno));
        goto out;
    }
    t->have = (int64_t)ftello(t->part);
    const vd_http_get get = {.url = d->url, .token = d->token, .from = t->have,
                             .if_range = strong ? t->note.validator : NULL,
                             .stalled_s = d->stalled_s, .head = on_head, .body = on_body,
                             .tick = on_tick, .user = t};
    vd_meter_begin(&t->meter, t->have);
    st = vd_http_fetch(&get, &t->reply, err);
    vd_meter_wipe(&t->meter);
    if ((fflush(t->part) != 0 || fsync(fileno(t->part)) != 0) && st == VD_OK)
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", d->part_path, strerror(errno));
    if (st == VD_OK)
        st = judge(t, err);
out:
    if (t->part != NULL)
        fclose(t->part);
    t->part = NULL;
    return st;
}

/* What is left for the next time, said behind the failure. */
static void say_what_stays(const transfer *t, vd_err *err)
{
    char *end = memchr(err->message, '\0', sizeof(err->message));
    if (t->have + t->got > 0 && end != NULL)
        snprintf(end, sizeof(err->message) - (size_t)(end - err->message),
                 "; pull again to go on from %s", vd_cli_size((uint64_t)(t->have + t->got)).text);
}

static vd_status transfer_all(transfer *t, vd_err *err)
{
    vd_retry retry = {0};
    unsigned n_restarts = 0;
    struct stat info;
    vd_err why = {0}; /* also where the caller wants none */
    vd_status st;
    while ((st = try_once(t, &why)) != VD_OK) {
        if (t->stale || t->ruined)
            forget(t->d);
        if (t->stale && ++n_restarts <= RESTARTS_MAX)
            continue;
        if (t->stale)
            st = VD_FAIL(&why, VD_ERR_NETWORK, "%s: it changes with every request", t->d->what);
        else if (!t->ruined)
            st = vd_retry_wait(&retry, st, &t->reply, t->got > 0, &why);
        if (st == VD_OK)
            continue;
        if (!t->ruined && !t->stale)
            say_what_stays(t, &why);
        if (stat(t->d->part_path, &info) == 0 && info.st_size == 0)
            forget(t->d); /* nothing to go on from */
        break;
    }
    if (st != VD_OK && err != NULL)
        *err = why;
    return st;
}

vd_status vd_download_file(const vd_download *download, vd_downloaded *ret, vd_err *err)
{
    transfer t = {.d = download, .want = -1};
    vd_downloaded got = {{0}};
    vd_http_catch_interrupts();
    vd_status st = transfer_all(&t, err);
    vd_http_release_interrupts();
    if (st != VD_OK)
        return st;
    const char *sha256 = download->sha256;
    if (t.reply.linked_sha256[0] != '\0')
        sha256 = t.reply.linked_sha256;
    if (sha256 != NULL && (st = vd_sha256_file(download->part_path, got.sha256, err)) != VD_OK)
        return st;
    if (sha256 != NULL && strcasecmp(sha256, got.sha256) != 0) {
        forget(download);
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: the SHA-256 of what came is %s, it should be %s",
                       download->what, got.sha256, sha256);
    }
    snprintf(got.commit, sizeof(got.commit), "%s", t.reply.commit);
    *ret = got;
    return VD_OK;
}
