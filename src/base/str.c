/* str.c - see str.h. */
#include "base/str.h"

#include <string.h>

bool vd_str_starts(vd_str str, const char *prefix)
{
    size_t n = strlen(prefix);
    return str.n >= n && memcmp(str.data, prefix, n) == 0;
}

bool vd_str_is(vd_str str, const char *text)
{
    return str.n == strlen(text) && vd_str_starts(str, text);
}
