/* base64.h - RFC 4648, section 4, with padding. */
#ifndef VD_BASE_BASE64_H
#define VD_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* text[0..n) to bytes, for which n bytes of room are enough; false when it is no base64. */
bool vd_base64_decode(const char *text, size_t n, char *bytes, size_t *ret_n);
void vd_base64_append(vd_buf *out, const char *bytes, size_t n);

#endif
