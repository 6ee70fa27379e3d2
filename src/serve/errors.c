/* errors.c - see errors.h. */
#include "serve/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"
#include "serve/jout.h"

static const char *type_of(unsigned http)
{
    if (http == 429)
        return "requests";
    return http >= 500 ? "server_error" : "invalid_request_error";
}

static void copy_text(char *to, size_t capacity, const char *from)
{
    size_t n = strnlen(from, capacity - 1);
    n = vd_utf8_complete(from, n); /* never half a character at the cut */
    memcpy(to, from, n);
    to[n] = 0;
    vd_utf8_mend(to);
}

vd_status vd_api_fail(vd_api_error *error, unsigned http, const char *code, const char *param,
                      const char *fmt, ...)
{
    *error = (vd_api_error){.http = http, .type = type_of(http), .code = code};
    if (param != NULL)
        copy_text(error->param, sizeof(error->param), param);
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    copy_text(error->message, sizeof(error->message), message);
    if (http == 429 || http == 503)
        error->retry_after_s = 1;
    return VD_ERR_ARG;
}

vd_status vd_api_fail_from(vd_api_error *error, const vd_err *err, const char *param)
{
    switch (err->status) {
    case VD_ERR_ARG:
    case VD_ERR_FORMAT:
    case VD_ERR_LIMIT:
    case VD_ERR_TEMPLATE:
        return vd_api_fail(error, 400, NULL, param, "%s", err->message);
    case VD_ERR_UNSUPPORTED:
        return vd_api_fail(error, 400, "unsupported_value", param, "%s", err->message);
    case VD_ERR_CONTEXT:
        return vd_api_fail(error, 400, "context_length_exceeded", param, "%s", err->message);
    case VD_ERR_BUSY:
        return vd_api_fail(error, 503, "overloaded", NULL,
                           "The server is at its limit of waiting requests. Try again shortly.");
    case VD_ERR_CLOSED:
    case VD_ERR_CANCELLED:
        return vd_api_fail(error, 503, "shutting_down", NULL, "The server is shutting down.");
    case VD_ERR_NOMEM:
        return vd_api_fail(error, 503, "out_of_memory", NULL,
                           "The server has no memory for this request now.");
    default:
        vd_log(VD_LOG_ERROR, "serve", "request failed status=%s message=\"%s\"",
               vd_status_name(err->status), err->message);
        return vd_api_fail(error, 500, NULL, NULL,
                           "The server failed on this request; its log says why.");
    }
}

void vd_api_error_write(const vd_api_error *error, vd_buf *out)
{
    vd_buf_puts(out, "{\"error\":{\"message\":");
    vd_jout_string(out, error->message, strlen(error->message));
    vd_buf_printf(out, ",\"type\":\"%s\",\"param\":", error->type);
    if (error->param[0] != 0)
        vd_jout_string(out, error->param, strlen(error->param));
    else
        vd_buf_puts(out, "null");
    vd_buf_puts(out, ",\"code\":");
    if (error->code != NULL)
        vd_buf_printf(out, "\"%s\"", error->code);
    else
        vd_buf_puts(out, "null");
    vd_buf_puts(out, "}}");
}

bool vd_api_error_may_retry(const vd_api_error *error)
{
    return error->http == 408 || error->http == 429 || error->http == 503;
}

const char *vd_http_reason(unsigned http)
{
    static const struct {
        unsigned http;
        const char *reason;
    } reasons[] = {
        {400, "Bad Request"},       {403, "Forbidden"},          {404, "Not Found"},
        {405, "Method Not Allowed"}, {408, "Request Timeout"},   {413, "Content Too Large"},
        {414, "URI Too Long"},      {429, "Too Many Requests"},  {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"}, {505, "HTTP Version Not Supported"},
        {431, "Request Header Fields Too Large"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].http == http)
            return reasons[i].reason;
    return "Error";
}
