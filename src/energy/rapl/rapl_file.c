/* rapl_file.c - see rapl_file.h. */
#include "energy/rapl/rapl_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool vd_rapl_parse(const char *text, size_t n, uint64_t *ret_number)
{
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    uint64_t number = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return false;
    }
    if (n == 0)
        return false;
    *ret_number = number;
    return true;
}

/* The file's beginning; the number of bytes, 0 when there are none. */
static size_t read_start(const char *dir, const char *file, char *text, size_t size)
{
    char path[VD_RAPL_PATH_MAX + 64];
    int length = snprintf(path, sizeof(path), "%s/%s", dir, file);
    int fd = length > 0 && (size_t)length < sizeof(path)
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                 : -1;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, size);
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

bool vd_rapl_file_text(const char *dir, const char *file, char *text, size_t size)
{
    size_t n = read_start(dir, file, text, size);
    if (n == 0 || n >= size)
        return false;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text[0] != '\0';
}

bool vd_rapl_file_start(const char *dir, const char *file, char *text, size_t size)
{
    size_t n = read_start(dir, file, text, size - 1);
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text[0] != '\0';
}

bool vd_rapl_file_number(const char *dir, const char *file, uint64_t *ret_number)
{
    char text[32];
    return vd_rapl_file_text(dir, file, text, sizeof(text)) &&
           vd_rapl_parse(text, strlen(text), ret_number);
}

/* 0 or an errno. A file that a program is just writing may hold the beginning of a number: where
 * there was a newline behind it once, there must be one. */
static int read_counter(vd_rapl_zone *zone, int fd, uint64_t *ret_uj)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof(text), 0);
    if (n < 0)
        return errno;
    bool ends_line = n > 0 && text[n - 1] == '\n';
    if ((zone->ends_line && !ends_line) || !vd_rapl_parse(text, (size_t)n, ret_uj))
        return EBADMSG;
    zone->ends_line = ends_line;
    return 0;
}

int vd_rapl_zone_open(const vd_rapl *rapl, vd_rapl_zone *zone, uint64_t *ret_uj)
{
    char path[VD_RAPL_PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/energy_uj", zone->dir);
    vd_rapl_zone_close(zone);
    int fd = rapl->open_file != NULL ? rapl->open_file(rapl->ctx, path)
                                     : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno;
    int saved = read_counter(zone, fd, ret_uj);
    if (saved != 0) {
        close(fd);
        return saved;
    }
    zone->fd = fd;
    return 0;
}

void vd_rapl_zone_close(vd_rapl_zone *zone)
{
    if (zone->fd >= 0)
        close(zone->fd);
    zone->fd = -1;
}

/* A file that was unlinked or renamed over keeps its old bytes behind an open descriptor: that
 * would be a counter that stands still. The kernel's own files answer ENODEV instead. */
static bool still_there(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

int vd_rapl_zone_value(const vd_rapl *rapl, vd_rapl_zone *zone, uint64_t *ret_uj)
{
    if (zone->fd >= 0 && still_there(zone->fd)) {
        int saved = read_counter(zone, zone->fd, ret_uj);
        /* Trees passed in by a host are rewritten by a program: it may just have emptied the file,
         * or written a part of the number. */
        for (int i = 0; saved == EBADMSG && i < 4; i++) {
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
            saved = read_counter(zone, zone->fd, ret_uj);
        }
        if (saved == 0 || saved == EBADMSG)
            return saved;
    }
    return vd_rapl_zone_open(rapl, zone, ret_uj);
}
