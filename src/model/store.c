/* store.c - names, paths and what is in the folder of models. See store.h for its layout. */
#include "model/store.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/home.h"
#include "base/json.h"
#include "model/gguf.h"
#include "model/store_internal.h"

enum { PATH_LIMIT = 1 << 14, NOTE_LIMIT = 1 << 16, ENTRIES_LIMIT = 1 << 20 };

static bool is_regular_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* Why `path` cannot be the file of a model, when something is there; NULL when it may be a name. */
static const char *why_not(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return errno == EACCES ? "it lies in a folder that may not be read" : NULL;
    return S_ISDIR(info.st_mode) ? "it is a folder" : "it is no regular file";
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

bool vd_store_is_shard(const char *text, unsigned *ret_no, unsigned *ret_count, size_t *ret_stem)
{
    char file[VD_STORE_FILE_MAX];
    return snprintf(file, sizeof(file), "%s.gguf", text) < (int)sizeof(file) &&
           vd_gguf_shard_name(file, ret_no, ret_count, ret_stem);
}

bool vd_store_name_valid(const char *name)
{
    static const char others[] = "._-";
    size_t n = strlen(name), stem;
    unsigned no, count;
    if (n == 0 || n > VD_STORE_NAME_MAX || strchr(others, name[0]) != NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && strchr(others, c) == NULL)
            return false;
    }
    return !vd_store_is_shard(name, &no, &count, &stem);
}

vd_status vd_store_name_check(const char *name, vd_err *err)
{
    if (vd_store_name_valid(name))
        return VD_OK;
    return VD_FAIL(err, VD_ERR_ARG,
                   "'%.80s' is no name for a model: letters, digits, '.', '_' and '-', beginning "
                   "with a letter or digit, at most %d, and not ending like one of several files",
                   name, VD_STORE_NAME_MAX);
}

vd_status vd_store_directory(char **ret_path, vd_err *err)
{
    return vd_home_path("models", ret_path, err);
}

vd_status vd_store_path(const char *name, const char *prefix, const char *suffix, char **ret_path,
                        vd_err *err)
{
    char *directory = NULL;
    vd_buf path;
    vd_buf_init(&path, PATH_LIMIT);
    vd_status st = vd_store_name_check(name, err);
    if (st != VD_OK || (st = vd_store_directory(&directory, err)) != VD_OK)
        goto out;
    vd_buf_printf(&path, "%s/%s%s%s", directory, prefix, name, suffix);
    if ((st = vd_buf_status(&path, "a path in the model store", err)) == VD_OK)
        *ret_path = vd_buf_take(&path);
out:
    vd_free(directory);
    vd_buf_done(&path);
    return st;
}

vd_status vd_store_part_path(const char *name, unsigned no, unsigned count, bool note,
                             char **ret_path, vd_err *err)
{
    char suffix[64];
    if (count == 1)
        snprintf(suffix, sizeof(suffix), ".part%s", note ? ".json" : "");
    else
        snprintf(suffix, sizeof(suffix), ".part-%05u-of-%05u.%s", no, count,
                 note ? "json" : "gguf");
    return vd_store_path(name, ".", suffix, ret_path, err);
}

vd_status vd_store_file_path(const char *name, unsigned no, unsigned count, char **ret_path,
                             vd_err *err)
{
    char suffix[64] = ".gguf";
    if (count > 1)
        snprintf(suffix, sizeof(suffix), "-%05u-of-%05u.gguf", no, count);
    return vd_store_path(name, "", suffix, ret_path, err);
}

/* In how many files the model lies that is stored as `name`; 0 when there is none. */
static vd_status count_files(const char *name, unsigned *ret_count, vd_err *err)
{
    char *path = NULL, *directory = NULL;
    DIR *stream = NULL;
    const struct dirent *file;
    unsigned found = 0;
    vd_status st = vd_store_path(name, "", ".gguf", &path, err);
    if (st != VD_OK || (st = vd_store_directory(&directory, err)) != VD_OK)
        goto out;
    if (is_regular_file(path))
        found = 1;
    else
        stream = opendir(directory);
    while (stream != NULL && found == 0 && (file = readdir(stream)) != NULL) {
        unsigned no, count;
        size_t stem;
        if (vd_gguf_shard_name(file->d_name, &no, &count, &stem) && no == 1 && count > 1 &&
            stem == strlen(name) && memcmp(file->d_name, name, stem) == 0)
            found = count;
    }
    *ret_count = found;
out:
    if (stream != NULL)
        closedir(stream);
    vd_free(path);
    vd_free(directory);
    return st;
}

/* The first file of a stored model, or why there is none. */
static vd_status find_stored(const char *name, char **ret_path, vd_err *err)
{
    unsigned count = 0;
    vd_status st = count_files(name, &count, err);
    if (st != VD_OK)
        return st;
    if (count > 0)
        return vd_store_file_path(name, 1, count, ret_path, err);
    return VD_FAIL(err, VD_ERR_NOT_FOUND,
                   "there is no model '%s' and no such file; get it by `verdant pull %s%s`, see "
                   "what is here by `verdant list`", name,
                   strcmp(name, "smollm2") == 0 ? "" : "REF --name ", name);
}

vd_status vd_store_resolve(const char *name_or_path, char **ret_path, vd_err *err)
{
    char *path = NULL;
    vd_status st = VD_OK;
    if (is_regular_file(name_or_path)) {
        path = vd_strdup(name_or_path);
        if (path == NULL)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the path %s", name_or_path);
    } else if (!vd_store_name_valid(name_or_path)) {
        const char *why = why_not(name_or_path);
        st = why != NULL
                 ? VD_FAIL(err, VD_ERR_ARG, "%s cannot be a model: %s", name_or_path, why)
                 : VD_FAIL(err, VD_ERR_NOT_FOUND,
                           "there is no file %s, and it is no name of a stored model; `verdant "
                           "list` shows those", name_or_path);
    } else {
        st = find_stored(name_or_path, &path, err);
    }
    if (st == VD_OK) {
        *ret_path = path;
        path = NULL;
    }
    vd_free(path);
    return st;
}

static char *copy_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? vd_strdup(text) : NULL;
}

/* Reads NAME.json; a note that is absent or damaged leaves both unknown. */
static void read_note(vd_store_entry *entry)
{
    char *path = NULL, *text = NULL;
    size_t n = 0;
    json_t *note = NULL;
    if (vd_store_path(entry->name, "", ".json", &path, NULL) == VD_OK &&
        vd_file_read(path, NOTE_LIMIT, &text, &n, NULL) == VD_OK &&
        vd_json_parse(text, n, &note, NULL) == VD_OK) {
        entry->source = copy_of(note, "source");
        entry->sha256 = copy_of(note, "sha256");
    }
    json_decref(note);
    vd_free(text);
    vd_free(path);
}

static void free_entry(vd_store_entry *entry)
{
    vd_free(entry->name);
    vd_free(entry->path);
    vd_free(entry->source);
    vd_free(entry->sha256);
    *entry = (vd_store_entry){0};
}

/* Adds up the files of a model; one that is missing counts nothing. */
static vd_status add_files(vd_store_entry *entry, vd_err *err)
{
    for (unsigned no = 2; no <= entry->n_files; no++) {
        char *path = NULL;
        struct stat info;
        vd_status st = vd_store_file_path(entry->name, no, entry->n_files, &path, err);
        if (st != VD_OK)
            return st;
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode))
            entry->bytes += (uint64_t)info.st_size;
        vd_free(path);
    }
    return VD_OK;
}

/* Fills *entry from a file name of the folder; name stays NULL when it is not a stored model. */
static vd_status read_entry(const char *file, vd_store_entry *entry, vd_err *err)
{
    struct stat info;
    unsigned no = 1, count = 1;
    size_t stem;
    *entry = (vd_store_entry){0};
    if (!ends_with(file, ".gguf"))
        return VD_OK;
    if (!vd_gguf_shard_name(file, &no, &count, &stem))
        stem = strlen(file) - strlen(".gguf");
    if (no != 1)
        return VD_OK;
    entry->n_files = count;
    entry->name = vd_strndup(file, stem);
    if (entry->name == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the name %s", file);
    if (!vd_store_name_valid(entry->name)) {
        free_entry(entry);
        return VD_OK;
    }
    vd_status st = vd_store_file_path(entry->name, 1, count, &entry->path, err);
    if (st != VD_OK || stat(entry->path, &info) != 0 || !S_ISREG(info.st_mode)) {
        free_entry(entry);
        return st;
    }
    entry->bytes = (uint64_t)info.st_size;
    entry->time_s = (int64_t)info.st_ctim.tv_sec;
    read_note(entry);
    if ((st = add_files(entry, err)) != VD_OK)
        free_entry(entry);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const vd_store_entry *)a)->name, ((const vd_store_entry *)b)->name);
}

vd_status vd_store_list(vd_store_entry **ret_entries, size_t *ret_n, vd_err *err)
{
    char *directory = NULL;
    DIR *stream = NULL;
    vd_store_entry *entries = NULL, entry;
    size_t n = 0, capacity = 0;
    vd_status st = vd_store_directory(&directory, err);
    if (st != VD_OK)
        goto out;
    stream = opendir(directory);
    if (stream == NULL && errno != ENOENT) {
        st = VD_FAIL(err, VD_ERR_IO, "cannot read %s: %s", directory, strerror(errno));
        goto out;
    }
    const struct dirent *file;
    while (stream != NULL && n < ENTRIES_LIMIT && (file = readdir(stream)) != NULL) {
        if ((st = read_entry(file->d_name, &entry, err)) != VD_OK)
            goto out;
        if (entry.name == NULL)
            continue;
        if (n == capacity) {
            capacity = 2 * capacity + 16;
            vd_store_entry *bigger = vd_realloc(entries, capacity * sizeof(entry));
            if (bigger == NULL) {
                free_entry(&entry);
                st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a list of %zu models", n);
                goto out;
            }
            entries = bigger;
        }
        entries[n++] = entry;
    }
    if (n > 0)
        qsort(entries, n, sizeof(*entries), by_name);
    *ret_entries = entries;
    *ret_n = n;
    entries = NULL;
    n = 0;
out:
    vd_store_entries_free(entries, n);
    if (stream != NULL)
        closedir(stream);
    vd_free(directory);
    return st;
}

void vd_store_entries_free(vd_store_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free_entry(&entries[i]);
    vd_free(entries);
}
