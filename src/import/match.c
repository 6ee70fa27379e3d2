/* match.c - see match.h. */
#include "import/match.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

enum { NAME_MAX = 256, NUMBER_MAX = 1 << 20 };

/* Digits at *at to a number. */
static bool read_number(const char **at, int *ret)
{
    int n = 0;
    const char *begin = *at;
    for (; **at >= '0' && **at <= '9' && n < NUMBER_MAX; (*at)++)
        n = 10 * n + (**at - '0');
    *ret = n;
    return *at > begin;
}

/* `from` as in vd_rule; * at its end takes all that follows. */
static bool fits(const char *from, const char *name, vd_match *m)
{
    m->layer = m->expert = -1;
    for (; *from != '\0'; from++) {
        if (*from == '*')
            return true;
        if (*from == '%' || *from == '@') {
            if (!read_number(&name, *from == '%' ? &m->layer : &m->expert))
                return false;
        } else if (*from != *name++) {
            return false;
        }
    }
    return *name == '\0';
}

/* Without what publishers put in front: "model.language_model.layers.0..." to "layers.0...". */
static void strip(const char *name, char out[NAME_MAX])
{
    static const char *const fronts[] = {"model.", "transformer.", "bert."};
    static const char inside[] = "language_model.";
    snprintf(out, NAME_MAX, "%s", name);
    char *found = strstr(out, inside);
    if (found != NULL)
        memmove(found, found + strlen(inside), strlen(found + strlen(inside)) + 1);
    for (size_t i = 0; i < VD_COUNT(fronts); i++) {
        size_t n = strlen(fronts[i]);
        if (strncmp(out, fronts[i], n) == 0)
            memmove(out, out + n, strlen(out + n) + 1);
    }
}

static bool find(const vd_family *family, const char *name, vd_match *m)
{
    for (size_t i = 0; i < VD_COUNT(family->rules) && family->rules[i] != NULL; i++)
        for (const vd_rule *rule = family->rules[i]; rule->from != NULL; rule++)
            if (fits(rule->from, name, m)) {
                m->rule = rule;
                return true;
            }
    return false;
}

bool vd_match_name(const vd_family *family, const char *name, vd_match *ret)
{
    static const struct {
        const char *end, *suffix;
    } ends[] = {{".weight", "weight"}, {".bias", "bias"}, {".gamma", "weight"}, {".beta", "bias"}};
    char stem[NAME_MAX];
    vd_match m = {.suffix = "weight"};
    if (strlen(name) >= NAME_MAX)
        return false;
    strip(name, stem);
    bool found = find(family, stem, &m); /* some have no suffix, as experts in one tensor */
    for (size_t i = 0; !found && i < VD_COUNT(ends); i++) {
        size_t n = strlen(stem), n_end = strlen(ends[i].end);
        if (n <= n_end || strcmp(stem + n - n_end, ends[i].end) != 0)
            continue;
        stem[n - n_end] = '\0';
        snprintf(m.suffix, sizeof(m.suffix), "%s", ends[i].suffix);
        found = find(family, stem, &m);
        break;
    }
    if (found)
        *ret = m;
    return found;
}
