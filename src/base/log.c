/* log.c - see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/utf8.h"

static atomic_int threshold = VD_LOG_INFO;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void vd_log_set_level(vd_log_level level)
{
    atomic_store(&threshold, (int)level);
}

bool vd_log_level_parse(const char *word, vd_log_level *ret_level)
{
    for (size_t i = 0; i < VD_COUNT(level_names); i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *ret_level = (vd_log_level)i;
            return true;
        }
    }
    return false;
}

void vd_log(vd_log_level level, const char *area, const char *fmt, ...)
{
    if ((int)level > atomic_load(&threshold))
        return;
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[1024], day[32];
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line, sizeof(line), "%s.%03ldZ %-5s %-7.32s ", day, now.tv_nsec / 1000000,
                     level_names[level], area);
    va_list args;
    va_start(args, fmt);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, args);
    va_end(args);
    size_t end = VD_MIN((size_t)n + (size_t)VD_MAX(m, 0), sizeof(line) - 2);
    if (end == sizeof(line) - 2) /* cut: not inside a character */
        end = (size_t)n + vd_utf8_complete(line + n, end - (size_t)n);
    /* A message is one line, whatever was put into it. */
    for (size_t i = (size_t)n; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F)
            line[i] = ' ';
    line[end] = '\n';
    ssize_t written = write(STDERR_FILENO, line, end + 1);
    (void)written; /* a log that cannot be written has nobody left to tell */
}
