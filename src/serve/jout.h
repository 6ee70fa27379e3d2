/*
 * jout.h - JSON written straight into a buffer: one chunk per token must cost microseconds, not a
 * tree of objects. Reading JSON is jansson's work (base/json.h).
 */
#ifndef VD_SERVE_JOUT_H
#define VD_SERVE_JOUT_H

#include "base/buf.h"

/* text[0..n) in quotes, escaped; bytes that are no UTF-8 become U+FFFD. */
void vd_jout_string(vd_buf *out, const char *text, size_t n);
/* The text of one token: as above where it is whole UTF-8, else "bytes:\xf0\x9f", OpenAI's way. */
void vd_jout_token(vd_buf *out, const char *piece, size_t n);
/* [240,159] */
void vd_jout_bytes(vd_buf *out, const char *bytes, size_t n);
/* A finite number with `digits` significant digits; what is not finite becomes -9999 (the lowest
 * log probability OpenAI shows). */
void vd_jout_number(vd_buf *out, double value, int digits);

#endif
