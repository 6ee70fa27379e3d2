/* config.c - see config.h. */
#include "import/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "import/folder.h"
#include "model/gguf.h"

/* The first of the names, separated by spaces, that `object` has with a value. */
static json_t *find_in(const json_t *object, const char *names, vd_str *ret_name)
{
    char name[64];
    *ret_name = (vd_str){names, strcspn(names, " ")};
    for (const char *at = names; *at != '\0';) {
        size_t n = strcspn(at, " ");
        snprintf(name, sizeof(name), "%.*s", (int)n, at);
        json_t *value = json_object_get(object, name);
        if (value != NULL && !json_is_null(value)) {
            *ret_name = (vd_str){at, n};
            return value;
        }
        at += n + strspn(at + n, " ");
    }
    return NULL;
}

static json_t *find(const vd_config *config, const char *names, vd_str *ret_name)
{
    json_t *value = find_in(config->text, names, ret_name);
    return value != NULL ? value : find_in(config->root, names, ret_name);
}

json_t *vd_config_find(const vd_config *config, const char *names)
{
    vd_str name;
    return find(config, names, &name);
}

/* rope_parameters (since 2025) may have one object for each kind of layer. */
static vd_status find_rope(vd_config *config, vd_err *err)
{
    vd_str name;
    json_t *rope = find(config, "rope_parameters rope_scaling", &name);
    if (rope != NULL && !json_is_object(rope))
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: %.*s must be an object", (int)name.n,
                       name.data);
    json_t *global = json_object_get(rope, "full_attention");
    config->rope_local = json_object_get(rope, "sliding_attention");
    config->rope = global != NULL ? global : rope;
    if (!json_is_object(config->rope))
        config->rope = NULL;
    if (!json_is_object(config->rope_local))
        config->rope_local = NULL;
    return VD_OK;
}

vd_status vd_config_open(const char *folder, vd_config *ret_config, vd_err *err)
{
    vd_config config = {0};
    vd_status st = vd_folder_json(folder, "config.json", &config.root, err);
    if (st == VD_OK && config.root == NULL)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has no config.json: a folder as save_pretrained "
                     "writes it is expected", folder);
    if (st != VD_OK)
        return st;
    config.text = json_object_get(config.root, "text_config");
    if (!json_is_object(config.text))
        config.text = NULL;
    st = find_rope(&config, err);
    const json_t *all = json_object_get(config.root, "architectures");
    config.architecture = json_string_value(json_array_get(all, 0));
    if (st == VD_OK && config.architecture == NULL)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s/config.json names no architecture (architectures: "
                     "[\"LlamaForCausalLM\"], for example)", folder);
    if (st != VD_OK) {
        vd_config_done(&config);
        return st;
    }
    *ret_config = config;
    return VD_OK;
}

void vd_config_done(vd_config *config)
{
    json_decref(config->root);
    *config = (vd_config){0};
}

vd_status vd_config_u32(const vd_config *config, const char *names, uint32_t *ret, vd_err *err)
{
    vd_str name;
    const json_t *value = find(config, names, &name);
    if (value == NULL)
        return VD_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > UINT32_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: %.*s must be a whole number below 2^32",
                       (int)name.n, name.data);
    *ret = (uint32_t)json_integer_value(value);
    return VD_OK;
}

vd_status vd_config_need(const vd_config *config, const char *names, uint32_t *ret, vd_err *err)
{
    uint32_t value = 0;
    vd_status st = vd_config_u32(config, names, &value, err);
    if (st == VD_OK && value == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "config.json: %.*s is missing or 0",
                     (int)strcspn(names, " "), names);
    if (st == VD_OK)
        *ret = value;
    return st;
}

static vd_status number(const json_t *value, vd_str name, float *ret, vd_err *err)
{
    if (value == NULL)
        return VD_OK;
    if (!json_is_number(value) || !isfinite((float)json_number_value(value)))
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: %.*s must be a number", (int)name.n,
                       name.data);
    *ret = (float)json_number_value(value);
    return VD_OK;
}

vd_status vd_config_f32(const vd_config *config, const char *names, float *ret, vd_err *err)
{
    vd_str name;
    const json_t *value = find(config, names, &name);
    return number(value, name, ret, err);
}

vd_status vd_config_bool(const vd_config *config, const char *names, bool *ret, vd_err *err)
{
    vd_str name;
    const json_t *value = find(config, names, &name);
    if (value == NULL)
        return VD_OK;
    if (!json_is_boolean(value))
        return VD_FAIL(err, VD_ERR_FORMAT, "config.json: %.*s must be true or false", (int)name.n,
                       name.data);
    *ret = json_is_true(value);
    return VD_OK;
}

vd_status vd_config_rope_f32(const json_t *rope, const char *names, float *ret, vd_err *err)
{
    vd_str name;
    const json_t *value = find_in(rope, names, &name);
    return number(value, name, ret, err);
}

const char *vd_config_rope_type(const json_t *rope)
{
    vd_str name;
    return json_string_value(find_in(rope, "rope_type type", &name));
}

vd_status vd_config_rope_base(const vd_config *config, float *ret, vd_err *err)
{
    float base = 10000;
    vd_status st = vd_config_f32(config, "rope_theta rotary_emb_base", &base, err);
    if (st == VD_OK)
        st = vd_config_rope_f32(config->rope, "rope_theta", &base, err);
    if (st == VD_OK)
        *ret = base;
    return st;
}
