/* bunzip.h - text that lies compressed by bzip2. */
#ifndef VD_EVAL_BUNZIP_H
#define VD_EVAL_BUNZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

/* Whether data[0..n) begins as a bzip2 stream does. */
bool vd_bunzip_is(const char *data, size_t n);

/* All streams of data[0..n), one after the other, as text with a NUL behind it (vd_free). At most
 * `limit` bytes, else VD_ERR_LIMIT. VD_ERR_FORMAT for what is damaged or cut short. */
VD_NODISCARD vd_status vd_bunzip(const char *data, size_t n, size_t limit, char **ret_text,
                                 size_t *ret_n, vd_err *err);

#endif
