/* path.c - a model that lies in the file system already. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "cli/pull/pull.h"

static vd_status copy_all(int from, int to, const char *path, vd_err *err)
{
    char piece[1 << 16];
    for (;;) {
        ssize_t n = read(from, piece, sizeof(piece));
        if (n == 0)
            return VD_OK;
        if (n < 0 && errno != EINTR)
            return VD_FAIL(err, VD_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        for (ssize_t done = 0; done < n;) {
            ssize_t written = write(to, piece + done, (size_t)(n - done));
            if (written < 0 && errno != EINTR)
                return VD_FAIL(err, VD_ERR_IO, "cannot write the copy of %s: %s", path,
                               strerror(errno));
            done += written > 0 ? written : 0;
        }
    }
}

vd_status vd_pull_path(const char *path, const char *part_path, vd_err *err)
{
    vd_status st = VD_OK;
    struct stat info;
    int to = -1, from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for a pipe */
    if (from < 0 || fstat(from, &info) != 0) {
        st = VD_FAIL(err, errno == ENOENT ? VD_ERR_NOT_FOUND : VD_ERR_IO, "cannot open %s: %s",
                     path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        st = VD_FAIL(err, VD_ERR_ARG, "%s is not a regular file", path);
        goto out;
    }
    unlink(part_path);
    if (linkat(AT_FDCWD, path, AT_FDCWD, part_path, AT_SYMLINK_FOLLOW) == 0)
        goto out;
    to = open(part_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0) {
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", part_path, strerror(errno));
        goto out;
    }
    if ((st = copy_all(from, to, path, err)) == VD_OK && fsync(to) != 0)
        st = VD_FAIL(err, VD_ERR_IO, "cannot sync %s: %s", part_path, strerror(errno));
out:
    if (to >= 0 && close(to) != 0 && st == VD_OK)
        st = VD_FAIL(err, VD_ERR_IO, "cannot close %s: %s", part_path, strerror(errno));
    if (from >= 0)
        close(from);
    return st;
}
