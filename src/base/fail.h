/* fail.h - how our own code fills a vd_err. See include/verdant/status.h for the rules. */
#ifndef VD_BASE_FAIL_H
#define VD_BASE_FAIL_H

#include <verdant/status.h>

/* Fills *err (NULL allowed) and returns `status`, so that `return VD_FAIL(err, VD_ERR_IO, "...")`
 * reads in one line. errno is kept when the status is ERR_IO, ERR_PERM or ERR_NETWORK, else 0. */
#ifndef __clang_analyzer__
#define VD_FAIL(err, status, ...) vd_fail_at((err), (status), __FILE__, __LINE__, __VA_ARGS__)
#else /* clang-tidy sees one file at a time, and would follow paths where a failure returns VD_OK */
#define VD_FAIL(err, status, ...)                                                                  \
    ((void)vd_fail_at((err), (status), __FILE__, __LINE__, __VA_ARGS__), (status))
#endif

vd_status vd_fail_at(vd_err *err, vd_status status, const char *file, int line, const char *fmt,
                     ...) VD_PRINTF(5, 6);

/* Puts "prefix: " before the message of *err: who was doing what when it failed. */
void vd_err_prefix(vd_err *err, const char *fmt, ...) VD_PRINTF(2, 3);

#endif
