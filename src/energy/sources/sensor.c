/* sensor.c - see sensor.h. */
#include "energy/sources/sensor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int open_path(int (*open_file)(void *ctx, const char *path), void *ctx, const char *path)
{
    return open_file != NULL ? open_file(ctx, path) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* A decimal number with or without a sign, and nothing behind it but a newline. */
static bool parse(const char *text, size_t n, int64_t *ret_value)
{
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    bool negative = n > 0 && text[0] == '-';
    int64_t value = 0;
    for (size_t i = negative; i < n; i++) {
        int64_t digit = text[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (n == (size_t)negative)
        return false;
    *ret_value = negative ? -value : value;
    return true;
}

static int read_number(int fd, int64_t *ret_value)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof(text), 0);
    if (n < 0)
        return errno;
    return (size_t)n < sizeof(text) && parse(text, (size_t)n, ret_value) ? 0 : EBADMSG;
}

/* A file that a program rewrites may be empty for a moment. */
static int read_patiently(vd_sensor *sensor, int64_t *ret_value)
{
    int failed = read_number(sensor->fd, ret_value);
    for (int i = 0; failed == EBADMSG && i < 4; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
        failed = read_number(sensor->fd, ret_value);
    }
    return failed;
}

/* A file that was unlinked or renamed over keeps its old bytes behind an open descriptor: that
 * would be a counter that stands still. */
static bool still_there(vd_sensor *sensor)
{
    struct stat info;
    if (fstat(sensor->fd, &info) != 0 || info.st_nlink == 0)
        return false;
    sensor->mtime_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return true;
}

static int open_again(vd_sensor *sensor, int64_t *ret_value)
{
    vd_sensor_close(sensor);
    sensor->fd = open_path(sensor->open_file, sensor->ctx, sensor->path);
    if (sensor->fd < 0)
        return errno;
    int failed = still_there(sensor) ? read_patiently(sensor, ret_value) : EIO;
    if (failed != 0)
        vd_sensor_close(sensor);
    return failed;
}

int vd_sensor_open(vd_sensor *sensor, const vd_source_env *env, const char *path,
                   int64_t *ret_value)
{
    int64_t value = 0;
    *sensor = (vd_sensor){.fd = -1, .open_file = env->open_file, .ctx = env->ctx};
    if ((size_t)snprintf(sensor->path, sizeof(sensor->path), "%s", path) >= sizeof(sensor->path))
        return ENAMETOOLONG;
    int failed = open_again(sensor, &value);
    if (failed == 0 && ret_value != NULL)
        *ret_value = value;
    return failed;
}

void vd_sensor_follow(vd_sensor *sensor, const char *driver)
{
    snprintf(sensor->driver, sizeof(sensor->driver), "%s", driver);
}

/* Points the path into the one folder beside its own that has the driver's name and the file. */
static bool find_moved(vd_sensor *sensor)
{
    char parent[VD_SENSOR_PATH_MAX], path[VD_SENSOR_PATH_MAX], found[VD_SENSOR_PATH_MAX], name[40];
    const vd_source_env env = {.open_file = sensor->open_file, .ctx = sensor->ctx};
    size_t n = 0;
    snprintf(parent, sizeof(parent), "%s", sensor->path);
    char *file = strrchr(parent, '/');
    if (file == NULL)
        return false;
    *file++ = '\0';
    char *folder = strrchr(parent, '/');
    DIR *listing = NULL;
    if (folder != NULL) {
        *folder = '\0';
        listing = opendir(parent);
    }
    const struct dirent *entry;
    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        snprintf(path, sizeof(path), "%.380s/%.64s/name", parent, entry->d_name);
        if (!vd_sensor_text(&env, path, name, sizeof(name)) || strcmp(name, sensor->driver) != 0)
            continue;
        snprintf(path, sizeof(path), "%.380s/%.64s/%.60s", parent, entry->d_name, file);
        if (access(path, F_OK) == 0 && n++ == 0)
            memcpy(found, path, sizeof(found));
    }
    if (listing != NULL)
        closedir(listing);
    if (n == 1)
        memcpy(sensor->path, found, sizeof(found));
    return n == 1;
}

int vd_sensor_read(vd_sensor *sensor, int64_t *ret_value)
{
    if (sensor->fd >= 0 && still_there(sensor)) {
        int failed = read_patiently(sensor, ret_value);
        if (failed == 0 || failed == EBADMSG)
            return failed;
    }
    int failed = open_again(sensor, ret_value);
    if (failed == ENOENT && sensor->driver[0] != '\0' && find_moved(sensor))
        failed = open_again(sensor, ret_value);
    return failed;
}

void vd_sensor_close(vd_sensor *sensor)
{
    if (sensor->fd >= 0)
        close(sensor->fd);
    sensor->fd = -1;
}

const char *vd_sensor_error(int failed)
{
    return failed == EBADMSG ? "not a number" : strerror(failed);
}

bool vd_sensor_sleeps(const vd_source_env *env, const char *runtime_status)
{
    char text[16];
    bool known = runtime_status[0] != '\0' &&
                 vd_sensor_text(env, runtime_status, text, sizeof(text));
    return known && strcmp(text, "suspended") == 0;
}

bool vd_sensor_text(const vd_source_env *env, const char *path, char *text, size_t size)
{
    text[0] = '\0';
    int fd = open_path(env->open_file, env->ctx, path);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text[0] != '\0' && (size_t)n < size - 1;
}
