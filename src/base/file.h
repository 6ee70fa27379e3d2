/*
 * file.h - files as we need them: mapped to read, and written whole or not at all.
 * Threads: a value belongs to one thread; a mapping may be read by many.
 */
#ifndef VD_BASE_FILE_H
#define VD_BASE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <verdant/status.h>

/* A file mapped read-only. An empty file has data NULL and size 0. */
typedef struct vd_mapping {
    const unsigned char *data;
    size_t size;
    uint64_t device, inode; /* which file it is, whatever its name */
} vd_mapping;

/* Regular files only. A file that another process cuts short while it is mapped raises SIGBUS on
 * access, as any mapping does: models are replaced by rename, never rewritten in place. */
VD_NODISCARD vd_status vd_mapping_open(const char *path, vd_mapping *ret_mapping, vd_err *err);
void vd_mapping_close(vd_mapping *mapping);
/* True where `path` leads to the mapped file. */
bool vd_mapping_is(const vd_mapping *mapping, const char *path);

/* Bytes of a mapping that will not be read again soon: whole pages go back to the page cache. Never
 * other memory, which would be zeros afterwards. */
void vd_mapping_drop(const unsigned char *data, size_t n_bytes);

/* True where both names lead to one file that exists. */
bool vd_file_same(const char *path, const char *other);

/* The whole file as text with a NUL behind it (vd_free), refused above `limit` bytes.
 * "-" reads standard input. */
VD_NODISCARD vd_status vd_file_read(const char *path, size_t limit, char **ret_text, size_t *ret_n,
                                    vd_err *err);

/* A file without a name in the folder of its final one; commit names it, done without commit lets
 * it go. So a half-written file never stands under the final name, and nothing is left of a process
 * that is interrupted or killed. Where the file system cannot do that (NFS) the file has a
 * temporary name meanwhile, and a killed process leaves it. A symbolic link stays, its target is
 * replaced; a device or a pipe is written as it stands, for its name must not go. */
typedef struct vd_atomic_file {
    FILE *stream;
    char *path;
    char *temp_path; /* NULL for a device or a pipe */
    bool named;      /* it stands under temp_path */
} vd_atomic_file;

/* Whether it could be opened, to be said before long work and not behind it. Leaves nothing, and
 * does not touch a device or a pipe. */
VD_NODISCARD vd_status vd_atomic_file_check(const char *path, vd_err *err);
VD_NODISCARD vd_status vd_atomic_file_open(const char *path, vd_atomic_file *ret_file, vd_err *err);
/* Flushes, syncs, renames and closes. On failure the temporary file is removed. */
VD_NODISCARD vd_status vd_atomic_file_commit(vd_atomic_file *file, vd_err *err);
/* Instead of a commit: what was written, open to read and without a name, so that it goes with the
 * process. *ret_fd is the caller's to close. Not for a device or a pipe: VD_ERR_ARG. */
VD_NODISCARD vd_status vd_atomic_file_take(vd_atomic_file *file, int *ret_fd, vd_err *err);
void vd_atomic_file_done(vd_atomic_file *file);

/* The file `from`, of the same folder, takes the place of `path` and its mode; a symbolic link
 * stays, its target is replaced. VD_ERR_IO: both are as they were. */
VD_NODISCARD vd_status vd_file_replace(const char *from, const char *path, vd_err *err);

/* All n bytes to a descriptor, however many writes that takes; false: errno says why not. */
bool vd_fd_write(int fd, const void *bytes, size_t n);
/* Exactly n bytes from it; false at an earlier end too, errno then 0. */
bool vd_fd_read(int fd, void *bytes, size_t n);

/* Makes the directory and its parents, mode 0700. One that stands is fine. */
VD_NODISCARD vd_status vd_make_dirs(const char *path, vd_err *err);

#endif
