/*
 * json.h - jansson with our limits: depth, size, valid UTF-8, no duplicate keys, no NaN.
 * jansson's memory comes from our allocator after vd_json_init.
 */
#ifndef VD_BASE_JSON_H
#define VD_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

enum { VD_JSON_DEPTH_MAX = 64 };

/* Once per process, before any other use of jansson. */
void vd_json_init(void);

/* text[0..n) to a new reference (json_decref), or VD_ERR_FORMAT with line and column. Refuses
 * nesting deeper than VD_JSON_DEPTH_MAX before jansson sees the text. */
VD_NODISCARD vd_status vd_json_parse(const char *text, size_t n, json_t **ret_value, vd_err *err);

/* Compact text, non-ASCII kept, keys in order of insertion; vd_free. NULL when memory is short or
 * `value` is NULL (so that a builder that failed anywhere fails here). */
char *vd_json_text(const json_t *value);

#endif
