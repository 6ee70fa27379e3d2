/* file.c - see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"

/* Says why `path` could not be opened, by errno. deed: "open", "write". */
static vd_status open_failed(const char *deed, const char *path, vd_err *err)
{
    vd_status st = errno == ENOENT                      ? VD_ERR_NOT_FOUND
                   : errno == EACCES || errno == EPERM ? VD_ERR_PERM
                                                        : VD_ERR_IO;
    return VD_FAIL(err, st, "cannot %s %s: %s", deed, path, strerror(errno));
}

vd_status vd_mapping_open(const char *path, vd_mapping *ret_mapping, vd_err *err)
{
    vd_status st = VD_OK;
    struct stat info;
    /* Not blocking: a pipe would make open wait for its writer. Regular files do not care. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return open_failed("open", path, err);
    if (fstat(fd, &info) != 0) {
        st = VD_FAIL(err, VD_ERR_IO, "cannot stat %s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        st = VD_FAIL(err, VD_ERR_ARG, "%s is not a regular file", path);
        goto out;
    }
    vd_mapping mapping = {.size = (size_t)info.st_size,
                          .device = (uint64_t)info.st_dev,
                          .inode = (uint64_t)info.st_ino};
    if (mapping.size > 0) {
        void *data = mmap(NULL, mapping.size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            st = VD_FAIL(err, VD_ERR_IO, "cannot map %s: %s", path, strerror(errno));
            goto out;
        }
        mapping.data = data;
    }
    *ret_mapping = mapping;
out:
    close(fd);
    return st;
}

void vd_mapping_close(vd_mapping *mapping)
{
    if (mapping->data != NULL)
        munmap((void *)mapping->data, mapping->size);
    *mapping = (vd_mapping){0};
}

void vd_mapping_drop(const unsigned char *data, size_t n_bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + n_bytes) / page * page;
    if (begin < end)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

bool vd_mapping_is(const vd_mapping *mapping, const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && (uint64_t)info.st_dev == mapping->device &&
           (uint64_t)info.st_ino == mapping->inode;
}

bool vd_file_same(const char *path, const char *other)
{
    struct stat a, b;
    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

vd_status vd_file_read(const char *path, size_t limit, char **ret_text, size_t *ret_n, vd_err *err)
{
    vd_status st = VD_OK;
    vd_buf buf;
    vd_buf_init(&buf, limit);
    FILE *stream = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    if (stream == NULL)
        return open_failed("open", path, err);
    char piece[1 << 16];
    size_t n;
    while (buf.failed == VD_OK && (n = fread(piece, 1, sizeof(piece), stream)) > 0)
        vd_buf_append(&buf, piece, n);
    if (ferror(stream)) {
        st = VD_FAIL(err, VD_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        goto out;
    }
    st = vd_buf_status(&buf, path, err);
    if (st != VD_OK)
        goto out;
    size_t size = buf.n;
    char *text = vd_buf_take(&buf);
    if (text == NULL) {
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for %s", path);
        goto out;
    }
    *ret_text = text;
    if (ret_n != NULL)
        *ret_n = size;
out:
    vd_buf_done(&buf);
    if (stream != stdin)
        fclose(stream);
    return st;
}

/* Where the bytes shall lie in the end: behind a symbolic link, that is its target. */
static vd_status final_path(const char *path, char **ret_path, vd_err *err)
{
    char *real = realpath(path, NULL); /* the C library's memory */
    *ret_path = vd_strdup(real != NULL ? real : path);
    free(real);
    if (*ret_path == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the name %s", path);
    return VD_OK;
}

enum { TEMP_NAME_MAX = 200 }; /* of the final name; file systems hold 255 bytes */

/* Beside the final file, so that a rename is enough: "DIR/NAME.part-PID". *ret_n_folder: bytes of
 * "DIR/", 0 without one. */
static vd_status temporary_path(const char *path, char **ret_path, size_t *ret_n_folder,
                                vd_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t n_folder = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    vd_buf temp;
    vd_buf_init(&temp, 8192);
    vd_buf_append(&temp, path, n_folder);
    vd_buf_printf(&temp, "%.*s.part-%ld", TEMP_NAME_MAX, path + n_folder, (long)getpid());
    vd_status st = vd_buf_status(&temp, "the name of a temporary file", err);
    char *temp_path = st == VD_OK ? vd_buf_take(&temp) : NULL;
    vd_buf_done(&temp);
    if (st == VD_OK && temp_path == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the name %s", path);
    *ret_path = temp_path;
    *ret_n_folder = n_folder;
    return st;
}

/* "/proc/self/fd/N": a name for what is open but has none. */
static const char *open_name(int fd, char room[static 32])
{
    snprintf(room, 32, "/proc/self/fd/%d", fd);
    return room;
}

/* A file without a name in the folder of temp_path: it goes with the process, however that ends.
 * -1 where the file system or a system without /proc cannot have it. */
static int open_nameless(char *temp_path, size_t n_folder)
{
    char room[32], kept = temp_path[n_folder];
    temp_path[n_folder] = '\0';
    int fd = open(n_folder > 0 ? temp_path : ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    temp_path[n_folder] = kept;
    if (fd >= 0 && access(open_name(fd, room), F_OK) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static vd_status open_temporary(vd_atomic_file *file, const struct stat *old, vd_err *err)
{
    size_t n_folder = 0;
    vd_status st = temporary_path(file->path, &file->temp_path, &n_folder, err);
    if (st != VD_OK)
        return st;
    int fd = open_nameless(file->temp_path, n_folder);
    if (fd < 0) {
        unlink(file->temp_path); /* of a process that was killed */
        fd = open(file->temp_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        file->named = fd >= 0;
    }
    if (fd >= 0 && (file->stream = fdopen(fd, "wb")) == NULL)
        close(fd);
    if (file->stream == NULL)
        return open_failed("write", file->path, err);
    if (old != NULL)
        (void)fchmod(fileno(file->stream), old->st_mode & 07777); /* else the umask's */
    return VD_OK;
}

vd_status vd_atomic_file_open(const char *path, vd_atomic_file *ret_file, vd_err *err)
{
    vd_atomic_file file = {0};
    struct stat info;
    bool there = stat(path, &info) == 0;
    if (!there && (errno != ENOENT || path[0] == '\0')) /* now, not after the work */
        return open_failed("write", path[0] != '\0' ? path : "to an empty name", err);
    if (there && S_ISDIR(info.st_mode))
        return VD_FAIL(err, VD_ERR_ARG, "cannot write %s: it is a directory", path);
    vd_status st = final_path(path, &file.path, err);
    if (st != VD_OK)
        goto out;
    if (there && !S_ISREG(info.st_mode)) { /* a device or a pipe: nothing to put in its place */
        file.stream = fopen(path, "wbe");
        if (file.stream == NULL)
            st = open_failed("write", path, err);
    } else {
        st = open_temporary(&file, there ? &info : NULL, err);
    }
    if (st != VD_OK)
        goto out;
    *ret_file = file;
    file = (vd_atomic_file){0};
out:
    vd_atomic_file_done(&file);
    return st;
}

vd_status vd_file_replace(const char *from, const char *path, vd_err *err)
{
    char *final = NULL;
    struct stat old;
    vd_status st = final_path(path, &final, err);
    if (st == VD_OK && stat(final, &old) == 0)
        (void)chmod(from, old.st_mode & 07777);
    if (st == VD_OK && rename(from, final) != 0)
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    vd_free(final);
    return st;
}

vd_status vd_atomic_file_check(const char *path, vd_err *err)
{
    struct stat info;
    vd_atomic_file file;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return VD_OK;
    vd_status st = vd_atomic_file_open(path, &file, err);
    if (st == VD_OK)
        vd_atomic_file_done(&file);
    return st;
}

/* Gives the file its temporary name. A link that somebody laid there is not followed. */
static vd_status name_file(vd_atomic_file *file, vd_err *err)
{
    char room[32];
    unlink(file->temp_path);
    if (linkat(AT_FDCWD, open_name(fileno(file->stream), room), AT_FDCWD, file->temp_path,
               AT_SYMLINK_FOLLOW) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", file->path, strerror(errno));
    file->named = true;
    return VD_OK;
}

static vd_status commit_steps(vd_atomic_file *file, vd_err *err)
{
    if (fflush(file->stream) != 0 || ferror(file->stream))
        return VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", file->path, strerror(errno));
    if (file->temp_path != NULL && fsync(fileno(file->stream)) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot sync %s: %s", file->path, strerror(errno));
    if (file->temp_path != NULL && !file->named) {
        vd_status st = name_file(file, err);
        if (st != VD_OK)
            return st;
    }
    int failed = fclose(file->stream);
    file->stream = NULL;
    if (failed != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot close %s: %s", file->path, strerror(errno));
    if (file->temp_path != NULL && rename(file->temp_path, file->path) != 0)
        return VD_FAIL(err, VD_ERR_IO, "cannot rename to %s: %s", file->path, strerror(errno));
    file->named = false; /* it has its own name now */
    return VD_OK;
}

vd_status vd_atomic_file_commit(vd_atomic_file *file, vd_err *err)
{
    vd_status st = commit_steps(file, err);
    vd_atomic_file_done(file);
    return st;
}

static vd_status take_steps(const vd_atomic_file *file, int *ret_fd, vd_err *err)
{
    char room[32];
    if (file->temp_path == NULL)
        return VD_FAIL(err, VD_ERR_ARG, "%s is no ordinary file", file->path);
    if (fflush(file->stream) != 0 || ferror(file->stream))
        return VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", file->path, strerror(errno));
    const char *name = file->named ? file->temp_path : open_name(fileno(file->stream), room);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return open_failed("open what was written for", file->path, err);
    *ret_fd = fd;
    return VD_OK;
}

vd_status vd_atomic_file_take(vd_atomic_file *file, int *ret_fd, vd_err *err)
{
    vd_status st = take_steps(file, ret_fd, err);
    vd_atomic_file_done(file);
    return st;
}

void vd_atomic_file_done(vd_atomic_file *file)
{
    if (file->stream != NULL)
        fclose(file->stream);
    if (file->named)
        unlink(file->temp_path);
    vd_free(file->temp_path);
    vd_free(file->path);
    *file = (vd_atomic_file){0};
}

bool vd_fd_write(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t written = write(fd, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        at += written;
        n -= (size_t)written;
    }
    return true;
}

bool vd_fd_read(int fd, void *bytes, size_t n)
{
    char *at = bytes;
    while (n > 0) {
        errno = 0;
        ssize_t got = read(fd, at, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

vd_status vd_make_dirs(const char *path, vd_err *err)
{
    vd_status st = VD_OK;
    char *copy = vd_strdup(path);
    if (copy == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the name %s", path);
    for (char *p = copy + 1; st == VD_OK; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        struct stat info;
        int failed = mkdir(copy, 0700) == 0 ? 0 : errno;
        bool stands = failed == EEXIST && stat(copy, &info) == 0;
        if (failed != 0 && !(stands && S_ISDIR(info.st_mode)))
            st = VD_FAIL(err, failed == EACCES || failed == EPERM ? VD_ERR_PERM : VD_ERR_IO,
                         "cannot make the directory %s: %s", copy,
                         stands ? "a file of that name is there" : strerror(failed));
        *p = kept;
        if (kept == '\0')
            break;
    }
    vd_free(copy);
    return st;
}
