/*
 * hub_folder.c - a model in safetensors as a folder, for `verdant import`. See pull.h.
 *
 * The files keep their names; one that is being fetched lies beside its place as .NAME.part. What
 * is there already stays when it is the same, byte for byte, and is never replaced by another.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/pull/hub.h"
#include "cli/pull/pull.h"

enum { PATH_LIMIT = 1 << 14 };

typedef struct folder {
    const char *path;
    int fd; /* held by flock while files come */
    vd_hub hub;
    vd_hub_ref ref;
    vd_hub_files files;
    char commit[VD_SHA256_HEX + 1];
} folder;

/* DIRECTORY/[SUB/]PREFIX NAME SUFFIX. vd_free. */
static vd_status place(const folder *f, const char *path, const char *prefix, const char *suffix,
                       char **ret, vd_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t n_sub = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    vd_buf text;
    vd_buf_init(&text, PATH_LIMIT);
    vd_buf_printf(&text, "%s/", f->path);
    vd_buf_append(&text, path, n_sub);
    vd_buf_printf(&text, "%s%s%s", prefix, path + n_sub, suffix);
    vd_status st = vd_buf_status(&text, "the name of a file", err);
    if (st == VD_OK)
        *ret = vd_buf_take(&text);
    vd_buf_done(&text);
    return st;
}

static vd_status is_another(const char *path, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_EXISTS, "%s is there, and is not the hub's file: remove it, or name "
                   "another folder by --to", path);
}

/* Whether the file is there already, as far as the listing can tell; another one is an error. */
static vd_status look_for(const vd_hub_file *file, const char *path, bool *ret_done, vd_err *err)
{
    char sha256[VD_SHA256_HEX + 1];
    struct stat info;
    *ret_done = false;
    if (stat(path, &info) != 0)
        return VD_OK;
    if (!S_ISREG(info.st_mode) || (file->bytes >= 0 && info.st_size != file->bytes))
        return is_another(path, err);
    if (file->sha256[0] == '\0')
        return VD_OK; /* it is fetched and compared */
    vd_status st = vd_sha256_file(path, sha256, err);
    if (st == VD_OK && strcmp(sha256, file->sha256) != 0)
        return is_another(path, err);
    *ret_done = st == VD_OK;
    return st;
}

/* Gives a finished file its name, unless the same is there. */
static vd_status settle(const char *part, const char *path, vd_err *err)
{
    char of_part[VD_SHA256_HEX + 1], of_path[VD_SHA256_HEX + 1];
    vd_status st;
    if (access(path, F_OK) == 0) {
        if ((st = vd_sha256_file(part, of_part, err)) != VD_OK ||
            (st = vd_sha256_file(path, of_path, err)) != VD_OK)
            return st;
        unlink(part);
        return strcmp(of_part, of_path) == 0 ? VD_OK : is_another(path, err);
    }
    if (rename(part, path) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot rename %s to %s: %s", part, path, strerror(errno));
    return VD_OK;
}

static vd_status make_parent(const char *path, vd_err *err)
{
    char *parent = vd_strndup(path, (size_t)(strrchr(path, '/') - path));
    vd_status st = parent != NULL ? vd_make_dirs(parent, err)
                                  : VD_FAIL(err, VD_ERR_NOMEM, "no memory to pull");
    vd_free(parent);
    return st;
}

static vd_status fetch(folder *f, size_t i, vd_err *err)
{
    const vd_hub_file *file = &f->files.file[i];
    char *path = NULL, *part = NULL, *note = NULL, label[48];
    bool done = false;
    vd_downloaded got;
    vd_status st = place(f, file->path, "", "", &path, err);
    if (st != VD_OK || (st = place(f, file->path, ".", ".part", &part, err)) != VD_OK ||
        (st = place(f, file->path, ".", ".part.json", &note, err)) != VD_OK ||
        (st = look_for(file, path, &done, err)) != VD_OK || done)
        goto out;
    if ((st = make_parent(path, err)) != VD_OK)
        goto out;
    snprintf(label, sizeof(label), "file %zu of %zu: ", i + 1, f->files.n);
    st = vd_hub_download(&f->hub, &f->ref, &f->files, i, f->commit, label, part, note, &got, err);
    if (st != VD_OK)
        goto out;
    if (f->commit[0] == '\0')
        memcpy(f->commit, got.commit, sizeof(got.commit));
    st = settle(part, path, err);
    unlink(note);
out:
    vd_free(path);
    vd_free(part);
    vd_free(note);
    return st;
}

static vd_status lock(folder *f, vd_err *err)
{
    vd_status st = vd_make_dirs(f->path, err);
    if (st != VD_OK)
        return st;
    f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot open %s: %s", f->path, strerror(errno));
    if (flock(f->fd, LOCK_EX | LOCK_NB) == 0)
        return VD_OK;
    fprintf(stderr, "verdant pull: another pull into this folder is running, waiting for it\n");
    while (flock(f->fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return VD_FAIL(err, VD_ERR_IO, "cannot lock %s: %s", f->path, strerror(errno));
    return VD_OK;
}

vd_status vd_pull_folder(const char *reference, const char *path, vd_pulled_folder *ret,
                         vd_err *err)
{
    folder f = {.path = path, .fd = -1};
    vd_pulled_folder pulled = {0};
    vd_status st = vd_hub_ref_parse(reference, &f.ref, err);
    if (st != VD_OK)
        return st;
    if (f.ref.file[0] != '\0')
        return VD_FAIL(err, VD_ERR_ARG, "--to takes all that a model in safetensors needs: leave "
                       "out ':%.100s'", f.ref.file);
    if ((st = vd_hub_open(&f.hub, err)) != VD_OK ||
        (st = vd_hub_find_weights(&f.hub, &f.ref, &f.files, err)) != VD_OK ||
        (st = lock(&f, err)) != VD_OK)
        goto out;
    for (size_t i = 0; i < f.files.n; i++) {
        if ((st = fetch(&f, i, err)) != VD_OK)
            goto out;
        pulled.bytes += f.files.file[i].bytes > 0 ? (uint64_t)f.files.file[i].bytes : 0;
        pulled.n_files++;
    }
    *ret = pulled;
out:
    if (f.fd >= 0)
        close(f.fd);
    vd_hub_files_free(&f.files);
    vd_hub_close(&f.hub);
    return st;
}
