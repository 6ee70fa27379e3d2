/* hub_list.c - what files a repository holds, by the hub's JSON. See hub.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/json.h"
#include "cli/pull/hub.h"

enum { PAGES_MAX = 1000, FILES_MAX = 100000, ANSWER_LIMIT = 16 << 20, URL_LIMIT = 1 << 14 };
/* Of one file: then the sum of FILES_MAX does not overflow. */
static const int64_t bytes_max = (int64_t)1 << 46;

void vd_hub_files_free(vd_hub_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        vd_free(files->file[i].path);
    vd_free(files->file);
    *files = (vd_hub_files){0};
}

vd_status vd_hub_files_add(vd_hub_files *files, const char *path, int64_t bytes,
                           const char *sha256, vd_err *err)
{
    if (files->n == FILES_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "the hub lists more than %d files", FILES_MAX);
    if ((files->n & (files->n - 1)) == 0) { /* room for 1, 2, 4, ... */
        size_t capacity = files->n > 0 ? 2 * files->n : 1;
        vd_hub_file *bigger = vd_realloc(files->file, capacity * sizeof(*bigger));
        if (bigger == NULL)
            return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a list of files");
        files->file = bigger;
    }
    vd_hub_file *file = &files->file[files->n];
    *file = (vd_hub_file){.path = vd_strdup(path), .bytes = bytes};
    if (file->path == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a list of files");
    if (sha256 != NULL && strlen(sha256) == VD_SHA256_HEX)
        memcpy(file->sha256, sha256, VD_SHA256_HEX);
    files->n++;
    return VD_OK;
}

/* One file of a listing: the path at `path_key`, the hash of its LFS object at `sha_key`. */
static vd_status add_entry(vd_hub_files *files, const json_t *entry, const char *path_key,
                           const char *sha_key, vd_err *err)
{
    const char *path = json_string_value(json_object_get(entry, path_key));
    const json_t *lfs = json_object_get(entry, "lfs"), *size = json_object_get(entry, "size");
    if (json_is_object(lfs) && json_is_integer(json_object_get(lfs, "size")))
        size = json_object_get(lfs, "size");
    if (path == NULL)
        return VD_FAIL(err, VD_ERR_FORMAT, "a file in the hub's listing has no '%s'", path_key);
    if (!vd_hub_path_valid(path))
        return VD_FAIL(err, VD_ERR_FORMAT, "the hub lists '%.100s', which is no path inside a "
                       "repository", path);
    int64_t bytes = json_is_integer(size) ? (int64_t)json_integer_value(size) : -1;
    if (json_is_number(size) && (bytes < 0 || bytes > bytes_max))
        return VD_FAIL(err, VD_ERR_FORMAT, "the hub lists %.100s with a size that cannot be", path);
    return vd_hub_files_add(files, path, bytes, json_string_value(json_object_get(lfs, sha_key)),
                            err);
}

static vd_status add_entries(vd_hub_files *files, const json_t *list, const char *path_key,
                             const char *sha_key, vd_err *err)
{
    size_t i;
    const json_t *entry;
    vd_status st = VD_OK;
    if (!json_is_array(list))
        return VD_FAIL(err, VD_ERR_FORMAT, "the hub's listing is no list");
    json_array_foreach(list, i, entry)
    {
        const char *type = json_string_value(json_object_get(entry, "type"));
        if (type != NULL && strcmp(type, "file") != 0)
            continue;
        if ((st = add_entry(files, entry, path_key, sha_key, err)) != VD_OK)
            break;
    }
    return st;
}

/* Fetches `url` as JSON. */
static vd_status get_json(const vd_hub *hub, const vd_hub_ref *ref, const char *url, json_t **ret,
                          vd_http_reply *reply, vd_err *err)
{
    vd_buf text;
    vd_buf_init(&text, ANSWER_LIMIT);
    vd_status st = vd_hub_get_text(hub, ref, url, &text, reply, err);
    if (st == VD_OK && (st = vd_json_parse(vd_buf_text(&text), text.n, ret, err)) != VD_OK)
        vd_err_prefix(err, "the hub's listing of %s", ref->repo);
    vd_buf_done(&text);
    return st;
}

/* The address of the next page into url; empty when this was the last. The token goes there, so it
 * must be the hub's own. */
static vd_status next_page(const vd_hub *hub, const char *next, vd_buf *url, vd_err *err)
{
    vd_buf_clear(url);
    if (next[0] == '/' && next[1] != '/') {
        const char *host = strstr(hub->endpoint, "//") + 2;
        vd_buf_append(url, hub->endpoint, (size_t)(host - hub->endpoint) + strcspn(host, "/"));
    } else if (next[0] != '\0' && !vd_http_same_origin(hub->endpoint, next)) {
        return VD_FAIL(err, VD_ERR_NETWORK, "the hub's listing goes on at another host: %.200s",
                       next);
    }
    vd_buf_puts(url, next);
    return vd_buf_status(url, "the address of a listing", err);
}

static vd_status list_tree(const vd_hub *hub, const vd_hub_ref *ref, vd_hub_files *files,
                           vd_http_reply *reply, vd_err *err)
{
    vd_buf url;
    vd_buf_init(&url, URL_LIMIT);
    vd_buf_printf(&url, "%s/api/models/%s/tree/", hub->endpoint, ref->repo);
    vd_hub_put_encoded(&url, vd_hub_revision(ref), "");
    vd_buf_puts(&url, "?recursive=true");
    vd_status st = vd_buf_status(&url, "the address of a listing", err);
    for (unsigned n_pages = 0; st == VD_OK && url.n > 0; n_pages++) {
        json_t *page = NULL;
        if (n_pages == PAGES_MAX)
            st = VD_FAIL(err, VD_ERR_LIMIT, "the hub's listing has more than %d pages", PAGES_MAX);
        else if ((st = get_json(hub, ref, vd_buf_text(&url), &page, reply, err)) == VD_OK &&
                 (st = add_entries(files, page, "path", "oid", err)) == VD_OK)
            st = next_page(hub, reply->next, &url, err);
        json_decref(page);
    }
    vd_buf_done(&url);
    return st;
}

/* The same by an older address, which hubs of others have. */
static vd_status list_siblings(const vd_hub *hub, const vd_hub_ref *ref, vd_hub_files *files,
                               vd_err *err)
{
    vd_http_reply reply;
    json_t *model = NULL;
    vd_buf url;
    vd_buf_init(&url, URL_LIMIT);
    vd_buf_printf(&url, "%s/api/models/%s/revision/", hub->endpoint, ref->repo);
    vd_hub_put_encoded(&url, vd_hub_revision(ref), "");
    vd_buf_puts(&url, "?blobs=true");
    vd_status st = vd_buf_status(&url, "the address of a listing", err);
    if (st == VD_OK)
        st = get_json(hub, ref, vd_buf_text(&url), &model, &reply, err);
    if (st == VD_OK)
        st = add_entries(files, json_object_get(model, "siblings"), "rfilename", "sha256", err);
    json_decref(model);
    vd_buf_done(&url);
    return st;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const vd_hub_file *)a)->path, ((const vd_hub_file *)b)->path);
}

vd_status vd_hub_list(const vd_hub *hub, const vd_hub_ref *ref, vd_hub_files *ret_files,
                      vd_err *err)
{
    vd_hub_files files = {0};
    vd_http_reply reply = {0};
    vd_err why = {0};
    vd_status st = list_tree(hub, ref, &files, &reply, &why);
    if (st == VD_ERR_NOT_FOUND && reply.code == 404 && reply.error_code[0] == '\0')
        st = list_siblings(hub, ref, &files, &why);
    if (st != VD_OK) {
        if (err != NULL)
            *err = why;
        vd_hub_files_free(&files);
        return st;
    }
    if (files.n > 0)
        qsort(files.file, files.n, sizeof(*files.file), by_path);
    *ret_files = files;
    return VD_OK;
}
