/*
 * config_yaml.h - where in a YAML file something stands, and complaints that say so.
 *
 * libcyaml loads a file by a schema, but names the line of the value before the wrong one, takes
 * "maybe" for true and a second document for nothing. So the file is held against the same schema
 * here first, with libyaml: syntax, aliases, keys, kinds of values. What libcyaml loads after that
 * is what was meant. A message begins "FILE:LINE: KEY: ", the key as "models[1].threads".
 */
#ifndef VD_SERVE_CONFIG_YAML_H
#define VD_SERVE_CONFIG_YAML_H

#include <cyaml/cyaml.h>
#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_yaml vd_yaml;

/* `path` is for messages, borrowed until freed; text[0..n) is not needed afterwards. Of the schema
 * mappings, sequences, pointers to strings, unsigned integers, floats and booleans are known.
 * VD_ERR_FORMAT, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_yaml_check(const char *path, const char *text, size_t n,
                                     const cyaml_schema_value_t *schema, vd_yaml **ret_yaml,
                                     vd_err *err);
void vd_yaml_free(vd_yaml *yaml); /* NULL is fine */

/* The line of the key "limits.streams" or of the entry "models[1]"; 0 when it is not there. */
size_t vd_yaml_line(const vd_yaml *yaml, const char *key);
/* Fills *err with "FILE:LINE: KEY: ..." and returns VD_ERR_FORMAT. */
vd_status vd_yaml_fail(const vd_yaml *yaml, const char *key, vd_err *err, const char *fmt, ...)
    VD_PRINTF(4, 5);

#endif
