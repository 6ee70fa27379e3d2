/* store_write.c - what changes the folder of models: storing, removing, and the lock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "model/gguf.h"
#include "model/store.h"
#include "model/store_internal.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

/* What a file of the folder is to the model of a name. */
typedef enum file_role { FILE_OTHER, FILE_MODEL, FILE_NOTE, FILE_PART, FILE_PART_NOTE } file_role;

static file_role role_of(const char *file, const char *name)
{
    size_t n = strlen(name), hidden = file[0] == '.', stem;
    unsigned no, count;
    if (strncmp(file + hidden, name, n) != 0)
        return FILE_OTHER;
    const char *rest = file + hidden + n;
    if (!hidden && strcmp(rest, ".json") == 0)
        return FILE_NOTE;
    if (!hidden)
        return strcmp(rest, ".gguf") == 0 ||
                       (vd_gguf_shard_name(file, &no, &count, &stem) && file + stem == rest)
                   ? FILE_MODEL
                   : FILE_OTHER;
    if (strncmp(rest, ".part", 5) != 0)
        return FILE_OTHER;
    rest += 5;
    if (strcmp(rest, "") == 0 || strcmp(rest, ".json") == 0)
        return rest[0] == '\0' ? FILE_PART : FILE_PART_NOTE;
    if (vd_gguf_shard_name(file, &no, &count, &stem))
        return file + stem == rest ? FILE_PART : FILE_OTHER;
    char shard[VD_STORE_FILE_MAX];
    if (!ends_with(rest, ".json") || strlen(file) >= sizeof(shard))
        return FILE_OTHER;
    snprintf(shard, sizeof(shard), "%.*s", (int)(strlen(file) - strlen(".json")), file);
    bool note = vd_store_is_shard(shard, &no, &count, &stem) && file + stem == rest;
    return note ? FILE_PART_NOTE : FILE_OTHER;
}

/* Unlinks the files of a name with roles from..to. *removed is set when a model or a part was
 * there. */
static vd_status remove_files(const char *name, file_role from, file_role to, bool *removed,
                              vd_err *err)
{
    char *directory = NULL;
    const struct dirent *file;
    vd_status st = vd_store_directory(&directory, err);
    DIR *stream = st == VD_OK ? opendir(directory) : NULL;
    while (st == VD_OK && stream != NULL && (file = readdir(stream)) != NULL) {
        file_role role = role_of(file->d_name, name);
        if (role == FILE_OTHER || role < from || role > to)
            continue;
        if (unlinkat(dirfd(stream), file->d_name, 0) == 0)
            *removed |= role == FILE_MODEL || role == FILE_PART;
        else if (errno != ENOENT)
            st = VD_FAIL(err, errno == EACCES ? VD_ERR_PERM : VD_ERR_IO, "cannot remove %s/%s: %s",
                         directory, file->d_name, strerror(errno));
    }
    if (stream != NULL)
        closedir(stream);
    vd_free(directory);
    return st;
}

void vd_store_remove_parts(const char *name)
{
    bool unused = false;
    (void)!remove_files(name, FILE_PART, FILE_PART_NOTE, &unused, NULL);
}

vd_status vd_store_remove(const char *name, vd_err *err)
{
    bool model = false;
    int fd = -1;
    char *directory = NULL;
    vd_status st = vd_store_name_check(name, err);
    if (st != VD_OK || (st = vd_store_directory(&directory, err)) != VD_OK)
        return st;
    if (access(directory, F_OK) == 0)
        st = vd_store_lock(name, NULL, &fd, err);
    vd_free(directory);
    if (st == VD_OK)
        st = remove_files(name, FILE_MODEL, FILE_PART_NOTE, &model, err);
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

/* That the finished files are one model in n_files files. */
static vd_status check_parts(const char *name, unsigned n_files, vd_err *err)
{
    vd_mapping mapping = {0};
    vd_gguf *gguf = NULL;
    char *path = NULL;
    uint32_t n_shards = 1;
    vd_status st = vd_store_part_path(name, 1, n_files, false, &path, err);
    if (st != VD_OK)
        goto out;
    if (n_files > 1)
        st = vd_gguf_open(path, NULL, &gguf, err);
    else if ((st = vd_mapping_open(path, &mapping, err)) == VD_OK)
        st = vd_gguf_open_memory(mapping.data, mapping.size, NULL, &gguf, err);
    if (st != VD_OK)
        goto out;
    if (vd_gguf_get_u32(gguf, "split.count", &n_shards) && n_shards != n_files && n_shards > 1)
        st = VD_FAIL(err, VD_ERR_FORMAT, "it is one of %u files of a model, and not named like it "
                     "(NAME-00001-of-%05u.gguf)", n_shards, n_shards);
    else if (n_files > 1 && n_shards != n_files)
        st = VD_FAIL(err, VD_ERR_FORMAT, "it is a whole model, and named like one of %u files",
                     n_files);
out:
    vd_gguf_free(gguf);
    vd_mapping_close(&mapping);
    vd_free(path);
    return st;
}

static vd_status move_part(const char *name, unsigned no, unsigned n_files, vd_err *err)
{
    char *from = NULL, *to = NULL;
    vd_status st = vd_store_part_path(name, no, n_files, false, &from, err);
    if (st == VD_OK)
        st = vd_store_file_path(name, no, n_files, &to, err);
    if (st == VD_OK && rename(from, to) != 0)
        st = VD_FAIL(err, VD_ERR_IO, "cannot rename %s to %s: %s", from, to, strerror(errno));
    vd_free(from);
    vd_free(to);
    return st;
}

vd_status vd_store_commit(const char *name, unsigned n_files, const char *source,
                          const char *sha256, vd_err *err)
{
    vd_status st = check_parts(name, n_files, err);
    if (st == VD_OK)
        st = write_note(name, source, sha256, err);
    for (unsigned no = n_files; st == VD_OK && no >= 1; no--)
        st = move_part(name, no, n_files, err);
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
