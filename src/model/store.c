/* store.c - the folder of models. See store.h for its layout. */
#include "model/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "model/gguf.h"

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

static bool is_set(const char *value)
{
    return value != NULL && value[0] != '\0';
}

bool vd_store_name_valid(const char *name)
{
    static const char others[] = "._-";
    size_t n = strlen(name);
    if (n == 0 || n > VD_STORE_NAME_MAX || strchr(others, name[0]) != NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && strchr(others, c) == NULL)
            return false;
    }
    return true;
}

vd_status vd_store_name_check(const char *name, vd_err *err)
{
    if (vd_store_name_valid(name))
        return VD_OK;
    return VD_FAIL(err, VD_ERR_ARG,
                   "'%.80s' is no name for a model: letters, digits, '.', '_' and '-', beginning "
                   "with a letter or digit, at most %d", name, VD_STORE_NAME_MAX);
}

vd_status vd_store_directory(char **ret_path, vd_err *err)
{
    vd_buf path;
    vd_buf_init(&path, PATH_LIMIT);
    if (is_set(getenv("VERDANT_HOME"))) {
        vd_buf_printf(&path, "%s/models", getenv("VERDANT_HOME"));
    } else if (is_set(getenv("XDG_DATA_HOME"))) {
        vd_buf_printf(&path, "%s/verdant/models", getenv("XDG_DATA_HOME"));
    } else {
        const struct passwd *user = is_set(getenv("HOME")) ? NULL : getpwuid(getuid());
        const char *home = user != NULL ? user->pw_dir : getenv("HOME");
        if (!is_set(home))
            return VD_FAIL(err, VD_ERR_NOT_FOUND,
                           "no home directory: set VERDANT_HOME to where models may lie");
        vd_buf_printf(&path, "%s/.local/share/verdant/models", home);
    }
    vd_status st = vd_buf_status(&path, "the path of the model store", err);
    if (st == VD_OK)
        *ret_path = vd_buf_take(&path);
    vd_buf_done(&path);
    return st;
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
        st = vd_store_path(name_or_path, "", ".gguf", &path, err);
        if (st == VD_OK && !is_regular_file(path)) {
            const char *how = strcmp(name_or_path, "smollm2") == 0 ? "" : "REF --name ";
            st = VD_FAIL(err, VD_ERR_NOT_FOUND,
                         "there is no model '%s' and no such file; get it by `verdant pull %s%s`, "
                         "see what is here by `verdant list`", name_or_path, how, name_or_path);
        }
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

/* Fills *entry from a file name of the folder; name stays NULL when it is not a stored model. */
static vd_status read_entry(const char *file, vd_store_entry *entry, vd_err *err)
{
    struct stat info;
    *entry = (vd_store_entry){0};
    if (!ends_with(file, ".gguf"))
        return VD_OK;
    entry->name = vd_strndup(file, strlen(file) - strlen(".gguf"));
    if (entry->name == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the name %s", file);
    if (!vd_store_name_valid(entry->name)) {
        free_entry(entry);
        return VD_OK;
    }
    vd_status st = vd_store_path(entry->name, "", ".gguf", &entry->path, err);
    if (st != VD_OK || stat(entry->path, &info) != 0 || !S_ISREG(info.st_mode)) {
        free_entry(entry);
        return st;
    }
    entry->bytes = (uint64_t)info.st_size;
    entry->time_s = (int64_t)info.st_ctim.tv_sec;
    read_note(entry);
    return VD_OK;
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

/* Unlinks one of a name's files. *removed is set when it was there. */
static vd_status remove_file(const char *name, const char *prefix, const char *suffix,
                             bool *removed, vd_err *err)
{
    char *path = NULL;
    vd_status st = vd_store_path(name, prefix, suffix, &path, err);
    if (st != VD_OK)
        return st;
    if (unlink(path) == 0)
        *removed = true;
    else if (errno != ENOENT)
        st = VD_FAIL(err, errno == EACCES ? VD_ERR_PERM : VD_ERR_IO, "cannot remove %s: %s", path,
                     strerror(errno));
    vd_free(path);
    return st;
}

vd_status vd_store_remove(const char *name, vd_err *err)
{
    bool model = false, rest = false;
    int fd = -1;
    char *directory = NULL;
    vd_status st = vd_store_name_check(name, err);
    if (st != VD_OK || (st = vd_store_directory(&directory, err)) != VD_OK)
        return st;
    if (access(directory, F_OK) == 0)
        st = vd_store_lock(name, NULL, &fd, err);
    vd_free(directory);
    if (st == VD_OK && (st = remove_file(name, "", ".gguf", &model, err)) == VD_OK &&
        (st = remove_file(name, "", ".json", &rest, err)) == VD_OK &&
        (st = remove_file(name, ".", ".part", &model, err)) == VD_OK)
        st = remove_file(name, ".", ".part.json", &rest, err);
    if (st == VD_OK && !model)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "there is no model '%s'; `verdant list` shows what is "
                     "here", name);
    vd_store_unlock(name, &fd);
    return st;
}

static vd_status write_note(const char *name, const char *source, const char *sha256, vd_err *err)
{
    char *path = NULL, *text = NULL, *clean = vd_strdup(source);
    vd_atomic_file file = {0};
    json_t *note = NULL;
    if (clean != NULL) {
        vd_utf8_mend(clean); /* a path may be any bytes, JSON not */
        note = json_pack("{s:s, s:s?}", "source", clean, "sha256", sha256);
    }
    text = vd_json_text(note);
    json_decref(note);
    vd_free(clean);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the note on %s", name);
    vd_status st = vd_store_path(name, "", ".json", &path, err);
    if (st == VD_OK && (st = vd_atomic_file_open(path, &file, err)) == VD_OK) {
        fputs(text, file.stream);
        fputc('\n', file.stream);
        st = vd_atomic_file_commit(&file, err);
    }
    vd_free(text);
    vd_free(path);
    return st;
}

vd_status vd_store_commit(const char *name, const char *finished_path, const char *source,
                          const char *sha256, vd_err *err)
{
    vd_mapping mapping = {0};
    vd_gguf *gguf = NULL;
    char *path = NULL;
    uint32_t n_shards = 0;
    vd_status st = vd_store_path(name, "", ".gguf", &path, err);
    if (st != VD_OK || (st = vd_mapping_open(finished_path, &mapping, err)) != VD_OK ||
        (st = vd_gguf_open_memory(mapping.data, mapping.size, NULL, &gguf, err)) != VD_OK)
        goto out;
    if (vd_gguf_get_u32(gguf, "split.count", &n_shards) && n_shards > 1) {
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "a model in %u shards is not stored under a name; "
                     "use it by the path of its first file", n_shards);
        goto out;
    }
    if ((st = write_note(name, source, sha256, err)) != VD_OK)
        goto out;
    if (rename(finished_path, path) != 0)
        st = VD_FAIL(err, VD_ERR_IO, "cannot rename %s to %s: %s", finished_path, path,
                     strerror(errno));
out:
    vd_gguf_free(gguf);
    vd_mapping_close(&mapping);
    vd_free(path);
    return st;
}

vd_status vd_store_lock(const char *name, void (*waiting)(const char *name), int *ret_fd,
                        vd_err *err)
{
    char *path = NULL, *directory = NULL;
    int fd = -1;
    bool told = false;
    vd_status st = vd_store_path(name, ".", ".lock", &path, err);
    if (st != VD_OK || (st = vd_store_directory(&directory, err)) != VD_OK)
        goto out;
    if ((st = vd_make_dirs(directory, err)) != VD_OK) {
        vd_err_prefix(err, "the model store cannot be written (VERDANT_HOME may name another)");
        goto out;
    }
    for (;;) {
        struct stat held, named;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) {
            st = VD_FAIL(err, errno == EACCES ? VD_ERR_PERM : VD_ERR_IO,
                         "the model store cannot be written (VERDANT_HOME may name another): %s: "
                         "%s", path, strerror(errno));
            goto out;
        }
        int locked = flock(fd, LOCK_EX | LOCK_NB);
        if (locked != 0 && errno == EWOULDBLOCK) {
            if (!told && waiting != NULL)
                waiting(name);
            told = true;
            locked = flock(fd, LOCK_EX);
        }
        if (locked != 0 && errno != EINTR) {
            st = VD_FAIL(err, VD_ERR_IO, "cannot lock %s: %s", path, strerror(errno));
            goto out;
        }
        /* The one before removed the file when it was done: what we hold must still be named. */
        if (locked == 0 && fstat(fd, &held) == 0 && stat(path, &named) == 0 &&
            held.st_ino == named.st_ino && held.st_dev == named.st_dev)
            break;
        close(fd);
    }
    *ret_fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    vd_free(path);
    vd_free(directory);
    return st;
}

void vd_store_unlock(const char *name, int *fd)
{
    char *path = NULL;
    if (*fd < 0)
        return;
    if (vd_store_path(name, ".", ".lock", &path, NULL) == VD_OK)
        unlink(path);
    vd_free(path);
    flock(*fd, LOCK_UN); /* closing is not enough where a child has inherited it */
    close(*fd);
    *fd = -1;
}
