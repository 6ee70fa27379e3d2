/* cut.c - see cut.h. */
#include "compress/cut.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* A plain decimal number, no hexadecimal one; *ret_rest is what follows it. */
static bool read_number(const char *text, double *ret, const char **ret_rest)
{
    char *end = NULL;
    if ((!isdigit((unsigned char)text[0]) && text[0] != '.') || text[strspn(text, "0")] == 'x' ||
        text[strspn(text, "0")] == 'X')
        return false;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value))
        return false;
    *ret = value;
    *ret_rest = end;
    return true;
}

bool vd_cut_parse(const char *text, bool allow_auto, vd_cut *ret)
{
    vd_cut cut = {.kind = VD_CUT_VALUE};
    const char *rest = "";
    if (allow_auto && strcmp(text, "auto") == 0) {
        *ret = (vd_cut){.kind = VD_CUT_AUTO};
        return true;
    }
    if (text[0] == 'p')
        cut.kind = VD_CUT_PERCENT;
    if (!read_number(text + (text[0] == 'p'), &cut.value, &rest))
        return false;
    if (cut.kind == VD_CUT_VALUE && strcmp(rest, "rms") == 0) {
        cut.kind = VD_CUT_RMS;
        rest = "";
    }
    if (*rest != '\0' || (cut.kind == VD_CUT_PERCENT && cut.value > 100))
        return false;
    *ret = cut;
    return true;
}

/* "2:4" to n and m. */
static const char *read_group(const char *text, vd_prune *ret)
{
    char *end = NULL;
    unsigned long n = strtoul(text, &end, 10), m;
    if (!isdigit((unsigned char)text[0]) || *end != ':' || !isdigit((unsigned char)end[1]))
        return "expected METHOD:KEEP, such as magnitude:0.5 or wanda:2:4";
    m = strtoul(end + 1, &end, 10);
    if (*end != '\0' || m < 1 || m > VD_PRUNE_GROUP_MAX || n > m)
        return "N:M keeps N of every M weights: N at most M, M at most 64";
    if (n == 0)
        return "it would leave nothing";
    ret->n = (unsigned)n;
    ret->m = (unsigned)m;
    return NULL;
}

static const char *const names[] = {
    [VD_PRUNE_NONE] = "none",           [VD_PRUNE_MAGNITUDE] = "magnitude",
    [VD_PRUNE_WANDA] = "wanda",         [VD_PRUNE_SPARSEGPT] = "sparsegpt",
    [VD_PRUNE_OBS] = "obs",
};

uint64_t vd_prune_n_gone(double keep, uint64_t n)
{
    /* A little less: 0.55 * 100 is 55.00000000000001, and 56 would stay. */
    double kept = ceil(keep * (double)n * (1 - 0x1p-50));
    return n - VD_MIN(VD_MAX((uint64_t)kept, (uint64_t)1), n);
}

const char *vd_prune_name(vd_prune_method method)
{
    return names[method];
}

/* The method at the beginning of the text; *ret_rest is what stands behind its colon. */
static bool read_method(const char *text, vd_prune_method *ret, const char **ret_rest)
{
    size_t n = strcspn(text, ":");
    *ret = VD_PRUNE_MAGNITUDE;
    *ret_rest = text;
    if (isdigit((unsigned char)text[0]))
        return true;
    for (size_t i = VD_PRUNE_MAGNITUDE; i < VD_COUNT(names); i++)
        if (strlen(names[i]) == n && memcmp(names[i], text, n) == 0) {
            *ret = (vd_prune_method)i;
            *ret_rest = text + n + (text[n] == ':');
            return true;
        }
    return false;
}

const char *vd_prune_parse(const char *text, vd_prune *ret)
{
    vd_prune prune = {0};
    const char *rest, *end = "", *wrong;
    if (!read_method(text, &prune.method, &rest))
        return "there is no such method; expected magnitude, wanda, sparsegpt or obs, and behind "
               "a colon how much to keep";
    if (rest == text || strchr(rest, ':') != NULL) {
        wrong = read_group(rest, &prune);
        if (wrong != NULL)
            return wrong;
    } else {
        if (!read_number(rest, &prune.keep, &end) || *end != '\0' || prune.keep > 1)
            return "the keep-rate lies between 0 and 1: 1 keeps all, 0.5 half";
        if (prune.keep == 0)
            return "it would leave nothing";
    }
    *ret = prune;
    return NULL;
}
