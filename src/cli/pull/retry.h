/*
 * retry.h - how often a failed try is repeated, and after how long.
 *
 * Four repetitions in a row may bring nothing; a hundred there may be in all. A server that says
 * how long to wait (Retry-After, RateLimit) is obeyed up to five minutes; else 1, 2, 4 and 8 s.
 */
#ifndef VD_CLI_PULL_RETRY_H
#define VD_CLI_PULL_RETRY_H

#include "cli/pull/http.h"

typedef struct vd_retry {
    unsigned n_idle, n_all;
    bool reached; /* a server has answered before: this machine's network works */
} vd_retry;

/* After a try that ended in `failed` with *err: VD_OK when another one shall follow, and then it
 * has waited and said so on stderr; else the failure. */
VD_NODISCARD vd_status vd_retry_wait(vd_retry *retry, vd_status failed, const vd_http_reply *reply,
                                     bool progress, vd_err *err);

#endif
