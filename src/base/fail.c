/* fail.c - the names of the statuses, and filling a vd_err. */
#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const char *vd_status_name(vd_status status)
{
    switch (status) {
#define X(name, message)                                                                           \
    case VD_##name:                                                                                \
        return "VD_" #name;
        VD_STATUS_LIST(X)
#undef X
    }
    return "VD_UNKNOWN";
}

const char *vd_status_message(vd_status status)
{
    switch (status) {
#define X(name, message)                                                                           \
    case VD_##name:                                                                                \
        return message;
        VD_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

/* A message that filled its buffer was cut, perhaps inside a character: that one goes. What else is
 * no UTF-8 was quoted from a file or a text. */
static void keep_utf8(vd_err *err)
{
    size_t n = strlen(err->message);
    if (n + 1 == sizeof(err->message))
        err->message[vd_utf8_complete(err->message, n)] = '\0';
    vd_utf8_mend(err->message);
}

vd_status vd_fail_at(vd_err *err, vd_status status, const char *file, int line, const char *fmt,
                     ...)
{
    int saved = errno;
    if (err == NULL)
        return status;
    err->status = status;
    err->os_errno =
        (status == VD_ERR_IO || status == VD_ERR_PERM || status == VD_ERR_NETWORK) ? saved : 0;
    err->file = file;
    err->line = line;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    keep_utf8(err);
    return status;
}

void vd_err_prefix(vd_err *err, const char *fmt, ...)
{
    if (err == NULL)
        return;
    char tail[VD_ERR_MESSAGE_MAX];
    memcpy(tail, err->message, sizeof(tail));
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    /* A message longer than the buffer is cut: the beginning names the place, and that is kept. */
    if (n >= 0 && (size_t)n < sizeof(err->message))
        snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", tail);
    keep_utf8(err);
}
