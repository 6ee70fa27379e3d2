/* lookup.c - see lookup.h. */
#include "report/lookup.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

const json_t *vd_report_at(const json_t *report, const char *path)
{
    const json_t *value = report;
    while (value != NULL && *path != '\0') {
        char key[64];
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof(key), "%.*s", (int)VD_MIN(n, sizeof(key) - 1), path);
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10))
                                     : json_object_get(value, key);
        path += n + (path[n] == '.');
    }
    return value;
}

double vd_report_number(const json_t *report, const char *path, ...)
{
    char full[128];
    va_list args;
    va_start(args, path);
    vsnprintf(full, sizeof(full), path, args);
    va_end(args);
    const json_t *value = vd_report_at(report, full);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *vd_report_string(const json_t *report, const char *path, ...)
{
    char full[128];
    va_list args;
    va_start(args, path);
    vsnprintf(full, sizeof(full), path, args);
    va_end(args);
    return json_string_value(vd_report_at(report, full));
}
