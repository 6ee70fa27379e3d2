/*
 * fetch.h - one small answer over HTTP(S): a carbon API, a meter's metrics. libcurl underneath.
 *
 * For documents that fit in memory; files come by cli/pull, which resumes. Blocks until done or
 * `timeout_ms`; so never on a thread that others wait for. Any thread. Redirects are not followed:
 * a token must not travel to another host.
 */
#ifndef VD_BASE_FETCH_H
#define VD_BASE_FETCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/buf.h"

/* 0 or NULL means the default in parentheses. */
typedef struct vd_fetch {
    const char *url;
    const char *const *headers; /* lines "Name: value", closed by NULL (none). May hold secrets */
    const char *user_password;  /* "user:password" of basic authentication (none) */
    uint32_t timeout_ms;        /* for all of it (10,000) */
    size_t body_max;            /* bytes; a longer answer is VD_ERR_LIMIT (4 MiB) */
    const atomic_bool *stop;    /* when it becomes true, the request ends within a second (never) */
    uint32_t *ret_retry_after_s; /* set to what Retry-After asks for, 0 where it is not sent */
} vd_fetch;

/* Replaces what is in `body` (initialised by the caller) with the answer's, whatever its code, and
 * sets *ret_code. VD_ERR_IO where no answer came (the message names the host, never a secret),
 * VD_ERR_ARG for an URL that is none, or that would send a secret over plain HTTP to a host that is
 * not loopback; VD_ERR_CANCELLED where `stop` ended it, VD_ERR_LIMIT, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_fetch_get(const vd_fetch *fetch, vd_buf *body, long *ret_code,
                                    vd_err *err);

/* "localhost", "127.x.y.z" or "[::1]": what is sent there stays on this machine. */
bool vd_fetch_is_loopback(const char *host);

#endif
