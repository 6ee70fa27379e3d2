/* unit.c - see unit.h. */
#include "carbon/unit.h"

#include <stdbool.h>
#include <string.h>

#include "base/checked.h"

enum { PLAIN_MAX = 128 };

/* Longer ones before those they end with. 1 lb = 0.45359237 kg, exactly. */
static const struct {
    const char *unit;
    double factor;
} units[] = {
    {"kg/kwh", 1000}, {"mg/kwh", 0.001},       {"g/kwh", 1},   {"kg/mwh", 1},
    {"g/mwh", 0.001}, {"lbs/mwh", 0.45359237}, {"lb/mwh", 0.45359237}, {"pounds/mwh", 0.45359237},
    {"lbs/kwh", 453.59237}, {"lb/kwh", 453.59237}, {"t/mwh", 1000},
    {"t/gwh", 1}, {"g/mj", 3.6},
    /* Traps: a power of emission, a mass. */
    {"kg/h", -1}, {"kg/hour", -1}, {"g/h", -1}, {"g/hour", -1}, {"t/h", -1}, {"lbs/h", -1},
    {"lb/h", -1},
};

/* Lower case; " per ", "_per_" and "/" are "/"; what names the gas, blanks and signs are left out.
 */
static void plain(const char *text, size_t n, char out[PLAIN_MAX])
{
    static const char *const gases[] = {"co2eq", "co2-eq", "co2e", "co\xe2\x82\x82" "eq",
                                        "co\xe2\x82\x82" "e", "co\xe2\x82\x82", "co2"};
    char lower[PLAIN_MAX];
    size_t n_lower = 0, n_out = 0;
    for (size_t i = 0; i < n && n_lower + 1 < PLAIN_MAX; i++) {
        char c = text[i];
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        lower[n_lower++] = strchr(" _.[]()", c) != NULL ? ' ' : c;
    }
    lower[n_lower] = '\0';
    for (size_t i = 0; i < n_lower;) {
        size_t skip = 0;
        for (size_t k = 0; skip == 0 && k < VD_COUNT(gases); k++)
            if (strncmp(lower + i, gases[k], strlen(gases[k])) == 0)
                skip = strlen(gases[k]);
        if (skip != 0) {
            i += skip;
        } else if (strncmp(lower + i, " per ", 5) == 0) {
            while (n_out > 0 && out[n_out - 1] == ' ')
                n_out--;
            out[n_out++] = '/';
            i += 5;
        } else if (lower[i] == ' ' && n_out > 0 && out[n_out - 1] == '/') {
            i++; /* "g / kWh" */
        } else {
            if (lower[i] == '/')
                while (n_out > 0 && out[n_out - 1] == ' ')
                    n_out--;
            out[n_out++] = lower[i++];
        }
    }
    out[n_out] = '\0';
}

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

double vd_unit_factor(const char *text, size_t n)
{
    char words[PLAIN_MAX];
    plain(text, n, words);
    for (size_t i = 0; i < VD_COUNT(units); i++) {
        const char *at = strstr(words, units[i].unit);
        if (at == NULL || is_letter(at[strlen(units[i].unit)]) ||
            (at > words && is_letter(at[-1])))
            continue;
        return units[i].factor;
    }
    return 0;
}
