/* retry.c - see retry.h. */
#include "cli/pull/retry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "cli/format.h"

enum { IDLE_MAX = 4, ALL_MAX = 100, WAIT_MAX_S = 300 };

vd_status vd_retry_wait(vd_retry *retry, vd_status failed, const vd_http_reply *reply,
                        bool progress, vd_err *err)
{
    retry->reached |= reply->code != 0;
    retry->n_idle = progress ? 0 : retry->n_idle + 1;
    retry->n_all++;
    if (failed == VD_ERR_CANCELLED || !reply->transient || !retry->reached)
        return failed;
    if (retry->n_idle > IDLE_MAX || retry->n_all > ALL_MAX) {
        vd_err_prefix(err, "given up after %u tries", retry->n_all);
        return failed;
    }
    int64_t wait_s = reply->wait_s >= 0 ? reply->wait_s
                     : progress         ? 1
                                        : (int64_t)1 << (retry->n_idle - 1);
    if (wait_s > WAIT_MAX_S) {
        vd_err_prefix(err, "the server asks for a wait of %" PRId64 " min, pull again then",
                      (wait_s + 59) / 60);
        return failed;
    }
    fputs("verdant pull: ", stderr);
    vd_cli_put_clean(stderr, err->message, strlen(err->message), SIZE_MAX);
    fprintf(stderr, "; trying again in %" PRId64 " s\n", wait_s);
    return vd_http_sleep(wait_s, err);
}
