/*
 * str.h - bytes with a length, which somebody else owns.
 */
#ifndef VD_BASE_STR_H
#define VD_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

/* Not NUL-terminated, may hold any byte. */
typedef struct vd_str {
    const char *data;
    size_t n;
} vd_str;

/* `text` is NUL-terminated. */
bool vd_str_is(vd_str str, const char *text);
bool vd_str_starts(vd_str str, const char *prefix);

#endif
