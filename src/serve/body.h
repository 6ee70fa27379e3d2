/*
 * body.h - a request body as JSON, and typed access to its fields with OpenAI's complaints.
 *
 * A field that is absent or null has its default. Every number is checked for type and range
 * before it is stored. Each function returns VD_OK or fills *error and returns VD_ERR_ARG.
 */
#ifndef VD_SERVE_BODY_H
#define VD_SERVE_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "serve/errors.h"

/* An object, or 400. Where the fault lies inside a member, its name is error->param. *ret_body is
 * a new reference. */
vd_status vd_body_parse(const char *text, size_t n, json_t **ret_body, vd_api_error *error);

/* NULL when absent or null. Borrowed. */
json_t *vd_body_get(json_t *body, const char *name);
vd_status vd_body_bool(json_t *body, const char *name, bool *value, vd_api_error *error);
vd_status vd_body_int(json_t *body, const char *name, int64_t min, int64_t max, int64_t *value,
                      vd_api_error *error);
vd_status vd_body_float(json_t *body, const char *name, double min, double max, float *value,
                        vd_api_error *error);
/* A whole JSON number, 3 or 3.0; false for anything else or outside int64. */
bool vd_body_whole(const json_t *value, int64_t *ret_value);
/* "a string", "an array"... */
const char *vd_body_kind(const json_t *value);

#endif
