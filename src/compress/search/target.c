/* target.c - see target.h. */
#include "compress/search/target.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* A positive number and what stands behind it, up to a comma or the end. */
static bool number(const char *text, size_t n, double *ret, const char **ret_unit, size_t *ret_n)
{
    char copy[64];
    char *end;
    if (n == 0 || n >= sizeof(copy) || ((text[0] < '0' || text[0] > '9') && text[0] != '.'))
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (copy[1] == 'x' || copy[1] == 'X') /* strtod reads 0x10 */
        return false;
    errno = 0;
    *ret = strtod(copy, &end);
    *ret_unit = text + (end - copy);
    *ret_n = n - (size_t)(end - copy);
    return errno == 0 && end != copy && isfinite(*ret) && *ret > 0;
}

static bool unit_is(const char *unit, size_t n, const char *name)
{
    return n == strlen(name) && memcmp(unit, name, n) == 0;
}

static const char *parse_bytes(double value, const char *unit, size_t n, uint64_t *ret)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},      {"K", 1e3},     {"M", 1e6},      {"G", 1e9},
                 {"Ki", 1024}, {"Mi", 1 << 20}, {"Gi", 1 << 30}};
    for (size_t i = 0; i < VD_COUNT(units); i++)
        if (unit_is(unit, n, units[i].name)) {
            value *= units[i].factor;
            if (value < 1 || value > 1e18)
                break;
            *ret = (uint64_t)value;
            return NULL;
        }
    return "bytes is a number, with K, M, G or Ki, Mi, Gi behind it";
}

static const char *parse_one(const char *name, size_t n_name, const char *text, size_t n,
                             vd_target *target)
{
    double value, *to = NULL;
    const char *unit;
    size_t n_unit;
    if (!number(text, n, &value, &unit, &n_unit))
        return "behind = stands a number above 0";
    if (unit_is(name, n_name, "bytes"))
        return target->bytes != 0 ? "bytes comes twice"
                                  : parse_bytes(value, unit, n_unit, &target->bytes);
    if (unit_is(name, n_name, "loss")) {
        bool percent = unit_is(unit, n_unit, "%");
        if (n_unit != 0 && !percent)
            return "loss is a share such as 0.01, or a percentage such as 1%";
        to = &target->loss;
        value /= percent ? 100 : 1;
    } else if (n_unit != 0) {
        return "only bytes and loss have a unit";
    } else if (unit_is(name, n_name, "bpw")) {
        to = &target->bpw;
    } else if (unit_is(name, n_name, "tps")) {
        to = &target->tps;
    } else if (unit_is(name, n_name, "jpt")) {
        to = &target->jpt;
    }
    if (to == NULL)
        return "it takes bytes=N, bpw=X, tps=X, jpt=X and loss=X%, with commas between";
    if (*to != 0)
        return "a target comes twice";
    *to = value;
    return NULL;
}

const char *vd_target_parse(const char *text, vd_target *ret_target)
{
    vd_target target = {0};
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ","), n_name = strcspn(at, "=,");
        if (n_name == n)
            return "it takes bytes=N, bpw=X, tps=X, jpt=X and loss=X%, with commas between";
        const char *wrong = parse_one(at, n_name, at + n_name + 1, n - n_name - 1, &target);
        if (wrong != NULL)
            return wrong;
        at += n;
        if (*at == '\0')
            break;
    }
    *ret_target = target;
    return NULL;
}
