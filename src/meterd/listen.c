/* listen.c - the socket in the file system: who may connect, and whose it was before. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fail.h"
#include "meterd/meterd.h"

/* Removes what a dead daemon left. A live one answers, or is too busy to. */
static vd_status remove_stale(const struct sockaddr_un *address, vd_err *err)
{
    struct stat info;
    const char *path = address->sun_path;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? VD_OK
                               : VD_FAIL(err, VD_ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(info.st_mode))
        return VD_FAIL(err, VD_ERR_EXISTS, "%s is there and is no socket: remove it, or give "
                       "another --socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "a socket: %s", strerror(errno));
    int saved = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    close(fd);
    if (saved != ECONNREFUSED)
        return VD_FAIL(err, VD_ERR_EXISTS, "something serves %s already%s%s", path,
                       saved != 0 ? ": " : "", saved != 0 ? strerror(saved) : "");
    if (unlink(path) != 0 && errno != ENOENT)
        return VD_FAIL(err, VD_ERR_IO, "the socket of a dead daemon, %s, cannot be removed: %s",
                       path, strerror(errno));
    return VD_OK;
}

/* Gives the socket that was just made to the group; 0 or an errno. Through a descriptor: who can
 * write in its folder may put another file, or a link to one, in its place at any moment. */
static int give_to_group(const vd_meterd_options *options)
{
    struct stat info;
    int saved = 0, fd = open(options->socket, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (fstat(fd, &info) != 0)
        saved = errno;
    else if (!S_ISSOCK(info.st_mode) || info.st_uid != geteuid())
        saved = ESTALE; /* not what we made */
    else if (fchownat(fd, "", (uid_t)-1, options->group, AT_EMPTY_PATH) != 0)
        saved = errno;
    close(fd);
    return saved;
}

/* Makes it with its mode at once; before listen() nobody can connect. 0 or an errno. */
static int bind_with_mode(int fd, const struct sockaddr_un *address, mode_t mode)
{
    mode_t before = umask(0777 & ~mode);
    int saved = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    umask(before);
    return saved;
}

vd_status vd_meterd_listen(const vd_meterd_options *options, int *ret_fd, vd_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(options->socket);
    if (n == 0 || n >= sizeof(address.sun_path))
        return VD_FAIL(err, VD_ERR_ARG, "the path of the socket must have 1 to %zu bytes",
                       sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, options->socket, n + 1);
    vd_status st = remove_stale(&address, err);
    if (st != VD_OK)
        return st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "a socket: %s", strerror(errno));
    int saved = bind_with_mode(fd, &address, options->mode);
    bool bound = saved == 0;
    if (saved == 0 && options->has_group)
        saved = give_to_group(options);
    if (saved == 0 && listen(fd, SOMAXCONN) != 0)
        saved = errno;
    if (saved == 0) {
        *ret_fd = fd;
        return VD_OK;
    }
    close(fd);
    if (bound)
        unlink(options->socket);
    return VD_FAIL(err, saved == EADDRINUSE ? VD_ERR_EXISTS : VD_ERR_IO,
                   "the socket %s cannot be made: %s", options->socket, strerror(saved));
}
