/*
 * download.h - one file from http: or https:, whole and checked, however often the transfer breaks.
 *
 * An unfinished file is gone on from by RFC 9110's range request, `Range: bytes=N-`, with
 * `If-Range` and the validator (a strong ETag, else Last-Modified) that the note kept. A server
 * whose file has changed, or that knows no ranges, answers 200 with all of it, and we begin anew.
 * Where there is no validator but the hub says the SHA-256 of the file before it redirects, a range
 * is asked for without condition and taken when that SHA-256 is the note's. A 206 that does not
 * begin at N is refused. See http.h for redirects, retry.h for repetitions.
 */
#ifndef VD_CLI_PULL_DOWNLOAD_H
#define VD_CLI_PULL_DOWNLOAD_H

#include "cli/pull/http.h"

typedef struct vd_download {
    const char *url;
    const char *token;   /* NULL: none */
    const char *key;     /* which file it is, in the note: what is gone on from has the same key */
    const char *what;    /* the file in messages */
    const char *label;   /* before the bar, "" = nothing */
    const char *part_path, *note_path;
    const char *sha256;  /* of its bytes, unless the server says it; NULL: not known */
    int64_t bytes;       /* its size, unless the server says it; -1: not known */
    int64_t bytes_behind; /* what the same disk is to hold afterwards */
    long stalled_s;

    /* Says an answer that is neither the file nor worth another try better than its code would;
     * NULL: nobody does. */
    vd_status (*explain)(void *user, const vd_http_reply *reply, vd_err *err);
    void *user;
} vd_download;

typedef struct vd_downloaded {
    char sha256[VD_SHA256_HEX + 1]; /* of the bytes, "" when nobody named one to compare with */
    char commit[VD_SHA256_HEX + 1]; /* which revision the hub took it from, or "" */
} vd_downloaded;

/* Leaves the whole file in part_path and its note in note_path. On failure both stay for the next
 * time where they can be of use, and the message says so. VD_ERR_FORMAT: the bytes are not those
 * that were named, and are gone. */
VD_NODISCARD vd_status vd_download_file(const vd_download *download, vd_downloaded *ret,
                                        vd_err *err);

#endif
