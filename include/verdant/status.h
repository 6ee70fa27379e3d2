/*
 * status.h - how every fallible function of Verdant reports what happened.
 *
 * Every function that can fail returns a vd_status and takes a caller-owned `vd_err *err` last.
 * NULL is allowed there. On failure outputs named ret_... are untouched and *err, when given, says
 * what was wrong, where, and what would be right. On success *err is untouched.
 *
 * The library never prints an error, never exits and never aborts on input.
 * Threads: a vd_err belongs to one thread at a time.
 */
#ifndef VERDANT_STATUS_H
#define VERDANT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define VD_API __attribute__((visibility("default")))
#define VD_NODISCARD __attribute__((warn_unused_result))
#define VD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* name, message. One list makes the enum, the names and the messages. */
#define VD_STATUS_LIST(X)                                                                          \
    X(OK, "success")                                                                               \
    X(ERR_NOMEM, "out of memory")                                                                  \
    X(ERR_IO, "input or output failed")                                                            \
    X(ERR_FORMAT, "malformed data")                                                                \
    X(ERR_UNSUPPORTED, "not supported by this build")                                              \
    X(ERR_ARG, "invalid argument")                                                                 \
    X(ERR_NOT_FOUND, "not found")                                                                  \
    X(ERR_EXISTS, "exists already")                                                                \
    X(ERR_LIMIT, "over a limit")                                                                   \
    X(ERR_CONTEXT, "context length exceeded")                                                      \
    X(ERR_CANCELLED, "cancelled")                                                                  \
    X(ERR_BUSY, "busy, try again later")                                                           \
    X(ERR_PERM, "permission denied")                                                               \
    X(ERR_NETWORK, "network failed")                                                               \
    X(ERR_TEMPLATE, "the template raised an error")                                                \
    X(ERR_CLOSED, "closed or shutting down")

typedef enum vd_status {
#define X(name, message) VD_##name,
    VD_STATUS_LIST(X)
#undef X
} vd_status;

enum { VD_ERR_MESSAGE_MAX = 512 };

/* The details of a failure. Zero-initialise; owned by the caller, holds no heap memory. */
typedef struct vd_err {
    vd_status status;
    int os_errno;                     /* errno at the failure, or 0 */
    const char *file;                 /* source file that noticed, static storage */
    int line;
    char message[VD_ERR_MESSAGE_MAX]; /* UTF-8, no newline at the end */
} vd_err;

/* "VD_ERR_IO" and "input or output failed". Static storage; any value is answered. */
VD_API const char *vd_status_name(vd_status status);
VD_API const char *vd_status_message(vd_status status);

#ifdef __cplusplus
}
#endif
#endif
