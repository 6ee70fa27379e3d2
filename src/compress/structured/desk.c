/* desk.c - see desk.h. */
#include "compress/structured/desk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"

static const char prefix[] = ".verdant-recover-";

/* Files, and folders with what is in them; closes `fd`. */
static void empty(int fd)
{
    DIR *all = fdopendir(fd);
    if (all == NULL) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0)
            empty(inner);
        unlinkat(fd, entry->d_name, AT_REMOVEDIR);
    }
    closedir(all);
}

/* Those that nobody holds. */
static void clear_left(const char *folder)
{
    DIR *all = opendir(folder);
    for (struct dirent *entry; all != NULL && (entry = readdir(all)) != NULL;) {
        if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) != 0)
            continue;
        int fd = openat(dirfd(all), entry->d_name,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            close(fd);
            continue;
        }
        empty(fd);
        unlinkat(dirfd(all), entry->d_name, AT_REMOVEDIR);
    }
    if (all != NULL)
        closedir(all);
}

vd_status vd_desk_open(const char *folder, vd_desk *ret_desk, vd_err *err)
{
    vd_desk desk = {.fd = -1};
    size_t n = strlen(folder) + sizeof(prefix) + sizeof("/XXXXXX");
    vd_status st = vd_alloc_array(n, 1, "a name", &desk.path, err);
    if (st != VD_OK)
        return st;
    clear_left(folder);
    snprintf(desk.path, n, "%s/%sXXXXXX", folder, prefix);
    if (mkdtemp(desk.path) == NULL) {
        st = VD_FAIL(err, VD_ERR_IO, "cannot make %s: %s", desk.path, strerror(errno));
        vd_free(desk.path);
        return st;
    }
    desk.fd = open(desk.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (desk.fd < 0 || flock(desk.fd, LOCK_EX | LOCK_NB) != 0) {
        st = VD_FAIL(err, VD_ERR_IO, "cannot lock %s: %s", desk.path, strerror(errno));
        vd_desk_close(&desk);
        return st;
    }
    *ret_desk = desk;
    return VD_OK;
}

void vd_desk_close(vd_desk *desk)
{
    if (desk->fd >= 0)
        empty(desk->fd);
    if (desk->path != NULL)
        rmdir(desk->path);
    vd_free(desk->path);
    *desk = (vd_desk){.fd = -1};
}
