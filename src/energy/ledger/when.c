/* when.c - moments as people write them. See sums.h. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "energy/ledger/sums.h"

static bool read_ago(const char *text, int64_t now_s, int64_t *ret_s)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long long n = strtoull(text, &end, 10);
    int64_t unit = *end == 's'   ? 1
                   : *end == 'm' ? 60
                   : *end == 'h' ? 3600
                   : *end == 'd' ? 86400
                                 : 0;
    if (unit == 0 || end[1] != '\0' || n > 1000000 || (int64_t)n * unit > now_s)
        return false;
    *ret_s = VD_MAX(now_s - (int64_t)n * unit, (int64_t)1);
    return true;
}

bool vd_when_parse(const char *text, int64_t now_s, int64_t *ret_s)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%d %H:%M:%S"};
    const int64_t day_s = 86400;
    for (size_t i = 0; i < VD_COUNT(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end == NULL || *end != '\0' || tm.tm_year < 70 || tm.tm_year > 300)
            continue;
        int day = tm.tm_mday; /* which timegm makes the next month's where this one is shorter */
        int64_t at_s = (int64_t)timegm(&tm);
        if (tm.tm_mday != day)
            return false;
        *ret_s = VD_MAX(at_s, (int64_t)1);
        return true;
    }
    if (strcmp(text, "today") == 0 || strcmp(text, "yesterday") == 0) {
        *ret_s = now_s - now_s % day_s - (text[0] == 'y' ? day_s : 0);
        return true;
    }
    if (read_ago(text, now_s, ret_s))
        return true;
    char *end = NULL;
    unsigned long long seconds = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || seconds < 100000000 || seconds > 8000000000ull)
        return false;
    *ret_s = (int64_t)seconds;
    return true;
}
