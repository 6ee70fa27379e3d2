/* template.c - see template.h. */
#include "import/template.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/utf8.h"
#include "import/folder.h"

static const char main_key[] = "tokenizer.chat_template";

/* The one called default stands alone; all are named in a list. */
static vd_status write_list(const json_t *list, vd_gguf_out *out, bool *ret_has, vd_err *err)
{
    size_t n = json_array_size(list), n_named = 0;
    char key[160];
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *text = json_string_value(json_object_get(item, "template"));
        if (name == NULL || text == NULL || name[0] == '\0' || strlen(name) > 64 ||
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
                strlen(name))
            return VD_FAIL(err, VD_ERR_FORMAT, "chat_template[%zu] needs a name (letters, digits, "
                           "_) and a template", i);
        bool is_main = strcmp(name, "default") == 0;
        snprintf(key, sizeof(key), is_main ? "%s" : "%s.%s", main_key, name);
        vd_gguf_out_str(out, key, text);
        n_named += !is_main;
        *ret_has = *ret_has || is_main;
    }
    if (n_named == 0)
        return VD_OK;
    vd_gguf_out_array(out, "tokenizer.chat_templates", VD_GGUF_TYPE_STRING, n_named);
    for (size_t i = 0; i < n; i++) {
        const char *name =
            json_string_value(json_object_get(json_array_get(list, i), "name"));
        if (strcmp(name, "default") != 0)
            vd_gguf_out_item_str(out, (vd_str){name, strlen(name)});
    }
    return VD_OK;
}

static vd_status write_value(const json_t *value, vd_gguf_out *out, bool *ret_has, vd_err *err)
{
    const char *text = json_string_value(value);
    if (json_is_array(value))
        return write_list(value, out, ret_has, err);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "chat_template must be a text or a list of them");
    vd_gguf_out_str(out, main_key, text);
    *ret_has = true;
    return VD_OK;
}

vd_status vd_template_write(const char *folder, vd_gguf_out *out, bool *ret_has, vd_err *err)
{
    static const char *const files[] = {"tokenizer_config.json", "chat_template.json"};
    char *text = NULL;
    size_t n = 0;
    vd_status st = VD_OK;
    *ret_has = false;
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(files); i++) {
        json_t *config = NULL;
        st = vd_folder_json(folder, files[i], &config, err);
        const json_t *value = json_object_get(config, "chat_template");
        bool found = st == VD_OK && value != NULL && !json_is_null(value);
        if (found)
            st = write_value(value, out, ret_has, err);
        json_decref(config);
        if (found || st != VD_OK)
            return st;
        if (i > 0)
            break;
        st = vd_folder_read(folder, "chat_template.jinja", &text, &n, err);
        if (st == VD_OK && text != NULL) {
            if (strlen(text) != n || !vd_utf8_valid(text, n))
                st = VD_FAIL(err, VD_ERR_FORMAT, "%s/chat_template.jinja is no text in UTF-8",
                             folder);
            else
                vd_gguf_out_str(out, main_key, text);
            *ret_has = st == VD_OK;
            vd_free(text);
            return st;
        }
    }
    return st;
}

/* The folder of the module that pools; NULL. Borrowed from `modules`. */
static const char *pooling_folder(const json_t *modules)
{
    for (size_t i = 0; i < json_array_size(modules); i++) {
        const json_t *module = json_array_get(modules, i);
        const char *type = json_string_value(json_object_get(module, "type"));
        size_t n = type != NULL ? strlen(type) : 0;
        if (n >= 7 && strcmp(type + n - 7, "Pooling") == 0)
            return json_string_value(json_object_get(module, "path"));
    }
    return NULL;
}

static vd_status write_pooling(const json_t *pooling, const char *arch, vd_gguf_out *out,
                               vd_err *err)
{
    /* GGUF: 0 none, 1 mean, 2 the first token, 3 the last */
    static const struct {
        const char *field, *mode;
        uint32_t type;
    } ways[] = {{"pooling_mode_mean_tokens", "mean", 1},
                {"pooling_mode_cls_token", "cls", 2},
                {"pooling_mode_lasttoken", "lasttoken", 3}};
    const char *mode = json_string_value(json_object_get(pooling, "pooling_mode"));
    char key[64];
    snprintf(key, sizeof(key), "%s.pooling_type", arch);
    for (size_t i = 0; i < VD_COUNT(ways); i++)
        if (json_is_true(json_object_get(pooling, ways[i].field)) ||
            (mode != NULL && strcmp(mode, ways[i].mode) == 0)) {
            vd_gguf_out_u32(out, key, ways[i].type);
            return VD_OK;
        }
    return VD_FAIL(err, VD_ERR_UNSUPPORTED, "the folder pools neither by mean nor by the first or "
                   "last token");
}

vd_status vd_pooling_write(const char *folder, const char *arch, vd_gguf_out *out, vd_err *err)
{
    char *text = NULL, name[256];
    size_t n = 0;
    json_t *modules = NULL, *pooling = NULL;
    vd_status st = vd_folder_read(folder, "modules.json", &text, &n, err);
    if (st != VD_OK || text == NULL)
        return st;
    st = vd_json_parse(text, n, &modules, err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s/modules.json", folder);
    const char *path = pooling_folder(modules);
    if (st == VD_OK && path != NULL) {
        snprintf(name, sizeof(name), "%.200s%sconfig.json", path, path[0] != '\0' ? "/" : "");
        if (strstr(name, "..") == NULL && name[0] != '/')
            st = vd_folder_json(folder, name, &pooling, err);
    }
    if (st == VD_OK && pooling != NULL)
        st = write_pooling(pooling, arch, out, err);
    json_decref(pooling);
    json_decref(modules);
    vd_free(text);
    return st;
}
