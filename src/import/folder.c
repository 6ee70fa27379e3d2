/* folder.c - see folder.h. */
#include "import/folder.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
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

bool vd_folder_has(const char *folder, const char *name)
{
    char path[4096]; /* no memory is no reason to say no */
    struct stat info;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof(path) && stat(path, &info) == 0;
}

vd_status vd_folder_read(const char *folder, const char *name, char **ret_text, size_t *ret_n,
                         vd_err *err)
{
    char *path = NULL;
    if (!vd_folder_has(folder, name))
        return VD_OK;
    vd_status st = vd_folder_path(folder, name, &path, err);
    if (st == VD_OK)
        st = vd_file_read(path, VD_FOLDER_FILE_MAX, ret_text, ret_n, err);
    vd_free(path);
    return st;
}

vd_status vd_folder_json(const char *folder, const char *name, json_t **ret_value, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    json_t *value = NULL;
    vd_status st = vd_folder_read(folder, name, &text, &n, err);
    if (st != VD_OK || text == NULL)
        return st;
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
