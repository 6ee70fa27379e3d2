/* head.h - reads the lines of an answer's head into a vd_http_reply. */
#ifndef VD_CLI_PULL_HEAD_H
#define VD_CLI_PULL_HEAD_H

#include "cli/pull/http.h"

/* Nothing said yet. */
void vd_http_reply_init(vd_http_reply *reply);
/* line[0..n), without NUL; a status line begins another answer and forgets what the one before
 * said, but for the fields that are kept. */
void vd_http_reply_line(vd_http_reply *reply, const char *line, size_t n);

#endif
