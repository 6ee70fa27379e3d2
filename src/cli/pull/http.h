/*
 * http.h - one GET by libcurl, and what its answer says that a download needs.
 *
 * Redirects are followed, from http to https but never back nor to another scheme. The token goes
 * to the host that was asked and, by libcurl's rule for credentials, to no other host or port. The
 * environment's proxies apply, but not to a token for this very machine. Single-threaded.
 */
#ifndef VD_CLI_PULL_HTTP_H
#define VD_CLI_PULL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/sha256.h"

enum { VD_HTTP_VALIDATOR_MAX = 256, VD_HTTP_LINK_MAX = 2048, VD_HTTP_STALLED_S = 60 };

/* Sizes and times are -1 and texts "" where the answer does not say. */
typedef struct vd_http_reply {
    long code;                             /* 0: no answer */
    bool transient;                        /* the next try may fare better */
    bool elsewhere;                        /* redirected to another host */
    char validator[VD_HTTP_VALIDATOR_MAX]; /* for If-Range: a strong ETag, else Last-Modified */
    char type[64];                         /* Content-Type */
    int64_t length;                        /* Content-Length, of the body that follows */
    int64_t range_start, range_bytes;      /* Content-Range: first byte, and size of the file */
    int64_t wait_s;                        /* Retry-After, or the reset time of RateLimit */
    char next[VD_HTTP_LINK_MAX];           /* Link: <...>; rel="next" */
    char error_code[40], error_text[160];  /* X-Error-Code, X-Error-Message */

    /* Hugging Face says these on the redirect to the host of the file; the first word counts. */
    int64_t linked_bytes;                  /* X-Linked-Size */
    char linked_sha256[VD_SHA256_HEX + 1]; /* X-Linked-ETag where it is one, in lower case */
    char commit[VD_SHA256_HEX + 1];        /* X-Repo-Commit: hexadecimal */
} vd_http_reply;

typedef struct vd_http_get {
    const char *url;
    const char *token;    /* NULL: none */
    int64_t from;         /* > 0: only the bytes from here on */
    const char *if_range; /* NULL: unconditional */
    long stalled_s;       /* less than a byte per second for so long is a failure */

    /* Called with the body of a 200 or 206 only; `head` before the first byte, and before an empty
     * body's end. What they return, unless VD_OK, ends the transfer and is its status. */
    vd_status (*head)(void *user, const vd_http_reply *reply, vd_err *err);
    vd_status (*body)(void *user, const void *data, size_t n, vd_err *err);
    void (*tick)(void *user, int64_t received); /* some times a second; NULL: not wanted */
    void *user;
} vd_http_get;

/* VD_OK when an answer came whole, whatever its code. VD_ERR_NETWORK, VD_ERR_NOMEM;
 * VD_ERR_CANCELLED after an interrupt. *reply is filled in any case. */
VD_NODISCARD vd_status vd_http_fetch(const vd_http_get *get, vd_http_reply *reply, vd_err *err);

/* From the first to the second, SIGINT and SIGTERM end a transfer or a wait instead of the process;
 * coming twice they end it all the same. */
void vd_http_catch_interrupts(void);
void vd_http_release_interrupts(void);
bool vd_http_interrupted(void);

/* Waits, less than asked for when interrupted: VD_ERR_CANCELLED. */
VD_NODISCARD vd_status vd_http_sleep(int64_t seconds, vd_err *err);

bool vd_http_is_loopback(const char *url);
/* Scheme, host and port are the same. */
bool vd_http_same_origin(const char *a, const char *b);

#endif
