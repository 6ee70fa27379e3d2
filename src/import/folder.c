/* folder.c - see folder.h. */
#include "import/folder.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"

vd_status vd_folder_path(const char *folder, const char *name, char **ret_path, vd_err *err)
{
    vd_buf buf;
    vd_buf_init(&buf, 1 << 16);
    vd_buf_printf(&buf, "%s/%s", folder, name);
    vd_status st = vd_buf_status(&buf, name, err);
    char *path = st == VD_OK ? vd_buf_take(&buf) : NULL;
    vd_buf_done(&buf);
    if (st == VD_OK && path == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the name of %s", name);
    if (st == VD_OK)
        *ret_path = path;
    return st;
}

static bool find(const char *folder, const char *name, struct stat *ret_info)
{
    char path[4096]; /* no memory is no reason to say no */
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof(path) && stat(path, ret_info) == 0;
}

bool vd_folder_has(const char *folder, const char *name)
{
    struct stat info;
    return find(folder, name, &info);
}

bool vd_folder_is_file(const char *folder, const char *path)
{
    static const char *const names[] = {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "chat_template.json", "chat_template.jinja", "modules.json",
        "model.safetensors.index.json"};
    struct stat other, own;
    if (stat(path, &other) != 0)
        return false;
    for (size_t i = 0; i < VD_COUNT(names); i++)
        if (find(folder, names[i], &own) && own.st_dev == other.st_dev &&
            own.st_ino == other.st_ino)
            return true;
    return false;
}

vd_status vd_folder_read(const char *folder, const char *name, char **ret_text, size_t *ret_n,
                         vd_err *err)
{
    char *path = NULL;
    struct stat info;
    if (!find(folder, name, &info))
        return VD_OK;
    if (!S_ISREG(info.st_mode)) /* a pipe would be waited for */
        return VD_FAIL(err, VD_ERR_ARG, "%s/%s is not a regular file", folder, name);
    vd_status st = vd_folder_path(folder, name, &path, err);
    if (st == VD_OK)
        st = vd_file_read(path, VD_FOLDER_FILE_MAX, ret_text, ret_n, err);
    vd_free(path);
    return st;
}

/* Python writes integers of any length (model_max_length is 1000000000000000019884624838656 where a
 * tokenizer has none); they become floats, in place: 100000000000000e16 and spaces. */
static void shorten_integers(char *text)
{
    enum { KEPT = 15, DIGITS_MAX = 18 };
    bool quoted = false;
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '"' || (quoted && *at == '\\' && at[1] != '\0')) {
            quoted = quoted != (*at == '"');
            at += *at == '\\';
            continue;
        }
        size_t n = quoted ? 0 : strspn(at, "0123456789");
        bool fraction = at > text && (at[-1] == '.' || tolower((unsigned char)at[-1]) == 'e');
        if (n > DIGITS_MAX && !fraction && strchr(".eE", at[n] != '\0' ? at[n] : ' ') == NULL) {
            char exponent[24];
            int length = snprintf(exponent, sizeof(exponent), "e%zu", n - KEPT);
            memset(at + KEPT, ' ', n - KEPT);
            if ((size_t)length <= n - KEPT)
                memcpy(at + KEPT, exponent, (size_t)length);
        }
        at += n > 0 ? n - 1 : 0;
    }
}

vd_status vd_folder_json(const char *folder, const char *name, json_t **ret_value, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    json_t *value = NULL;
    vd_status st = vd_folder_read(folder, name, &text, &n, err);
    if (st != VD_OK || text == NULL)
        return st;
    shorten_integers(text);
    st = vd_json_parse(text, n, &value, err);
    if (st == VD_OK && !json_is_object(value))
        st = VD_FAIL(err, VD_ERR_FORMAT, "an object is expected");
    if (st == VD_OK)
        *ret_value = json_incref(value);
    else
        vd_err_prefix(err, "%s/%s", folder, name);
    json_decref(value);
    vd_free(text);
    return st;
}
