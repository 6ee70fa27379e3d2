/*
 * errors.h - what a client is told when its request fails, in the shape OpenAI's clients read:
 *
 *   {"error":{"message":"...","type":"invalid_request_error","param":"n","code":"invalid_type"}}
 *
 * `code` and `param` are strings or null, never numbers: the SDKs refuse anything else.
 */
#ifndef VD_SERVE_ERRORS_H
#define VD_SERVE_ERRORS_H

#include <stdbool.h>
#include <verdant/status.h>

#include "base/buf.h"

typedef struct vd_api_error {
    unsigned http;          /* status, 400.. */
    const char *type;       /* static */
    const char *code;       /* static; NULL: null */
    unsigned retry_after_s; /* 0: no Retry-After header */
    char param[96];         /* "": null */
    char message[480];
} vd_api_error;

/* Fills *error and returns VD_ERR_ARG, so that `return VD_API_FAIL(...)` reads in one line. The
 * type follows from the status; param NULL for none. */
vd_status vd_api_fail(vd_api_error *error, unsigned http, const char *code, const char *param,
                      const char *fmt, ...) VD_PRINTF(5, 6);
#define VD_BAD_PARAM(error, param, code, ...) \
    vd_api_fail((error), 400, (code), (param), __VA_ARGS__)

/* From a failure inside: its status decides the HTTP status; no internal text leaves the house
 * unless it speaks of the request (ERR_ARG, ERR_FORMAT, ERR_CONTEXT, ERR_TEMPLATE, ERR_LIMIT). */
vd_status vd_api_fail_from(vd_api_error *error, const vd_err *err, const char *param);

/* {"error":{...}} appended to `out`. */
void vd_api_error_write(const vd_api_error *error, vd_buf *out);
/* Should a client try the same request again? (x-should-retry) */
bool vd_api_error_may_retry(const vd_api_error *error);
/* "Not Found" for 404; "Error" for what we never send. Static. */
const char *vd_http_reason(unsigned http);

#endif
