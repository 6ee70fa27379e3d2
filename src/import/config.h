/*
 * config.h - config.json: numbers under the several names that publishers give them.
 *
 * Names are lists: "n_head num_attention_heads" finds the first that is there and not null, in
 * text_config (of models that also see) before the top. Immutable once open.
 */
#ifndef VD_IMPORT_CONFIG_H
#define VD_IMPORT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <verdant/status.h>

#define VD_CONFIG_U32_END 4294967296.0f /* the first float that is no uint32_t */

typedef struct vd_config {
    json_t *root; /* owned */
    json_t *text; /* borrowed: text_config, or NULL */
    json_t *rope; /* borrowed: rope_parameters or rope_scaling, of global layers; or NULL */
    json_t *rope_local; /* borrowed: of layers with a window; or NULL */
    const char *architecture; /* borrowed: "LlamaForCausalLM" */
} vd_config;

/* VD_ERR_NOT_FOUND where the folder has no config.json; VD_ERR_FORMAT. */
VD_NODISCARD vd_status vd_config_open(const char *folder, vd_config *ret_config, vd_err *err);
void vd_config_done(vd_config *config);

/* NULL when none of the names is there. Borrowed. */
json_t *vd_config_find(const vd_config *config, const char *names);
/* Absent: *ret stays as it is. Of another type or out of range: VD_ERR_FORMAT with the name. */
VD_NODISCARD vd_status vd_config_u32(const vd_config *config, const char *names, uint32_t *ret,
                                     vd_err *err);
VD_NODISCARD vd_status vd_config_f32(const vd_config *config, const char *names, float *ret,
                                     vd_err *err);
VD_NODISCARD vd_status vd_config_bool(const vd_config *config, const char *names, bool *ret,
                                      vd_err *err);
/* As vd_config_u32, at least 1; absent is VD_ERR_FORMAT. */
VD_NODISCARD vd_status vd_config_need(const vd_config *config, const char *names, uint32_t *ret,
                                      vd_err *err);

/* Of rope: the same over one object (NULL allowed: all absent). */
VD_NODISCARD vd_status vd_config_rope_f32(const json_t *rope, const char *names, float *ret,
                                          vd_err *err);
/* "linear", "yarn", "llama3", "longrope", "default", ...; NULL when it says nothing. */
const char *vd_config_rope_type(const json_t *rope);
/* The base of the frequencies, in its old place or its new one; 10000 by default. */
VD_NODISCARD vd_status vd_config_rope_base(const vd_config *config, float *ret, vd_err *err);

#endif
