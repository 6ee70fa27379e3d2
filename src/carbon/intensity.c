/* intensity.c - finding a zone, and grams from joules. See intensity.h. */
#include "carbon/intensity.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "carbon/zones.h"

static char plain(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '_' ? '-' : c;
}

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && plain(*a) == plain(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

static bool contains(const char *text, const char *part)
{
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (part[i] != '\0' && plain(text[i]) == plain(part[i]))
            i++;
        if (part[i] == '\0')
            return true;
    }
    return false;
}

/* Edits between two words (Levenshtein 1966), at most `most`; words of up to 32 characters. */
static size_t distance(const char *a, const char *b, size_t most)
{
    enum { LONGEST = 32 };
    size_t n = strlen(a), m = strlen(b), row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST)
        return most;
    for (size_t k = 0; k <= m; k++)
        row[k] = k;
    for (size_t i = 0; i < n; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < m; k++) {
            size_t swapped = corner + (plain(a[i]) != plain(b[k]));
            corner = row[k + 1];
            row[k + 1] = VD_MIN(swapped, 1 + VD_MIN(row[k], row[k + 1]));
        }
    }
    return VD_MIN(row[m], most);
}

/* How unlike a zone is to what was asked for; smaller is nearer. FAR: not near at all. */
enum { FAR = 100 };
static size_t unlikeness(const vd_zone *zone, const char *code)
{
    size_t n = strlen(code), best = FAR;
    bool has_region = strcspn(code, "-_") == 2 && n > 2; /* "XX-..." */
    if (n >= 3 && contains(zone->name, code))
        best = 1;
    if (has_region && strlen(zone->code) == 2 &&
        plain(code[0]) == plain(zone->code[0]) && plain(code[1]) == plain(zone->code[1]))
        best = 0; /* the country of an unknown region */
    size_t edits = distance(zone->code, code, FAR);
    if (edits <= (n <= 3 ? 1 : 2))
        best = VD_MIN(best, 1 + edits);
    edits = distance(zone->name, code, FAR);
    if (n >= 4 && edits <= 1 + n / 4)
        best = VD_MIN(best, edits);
    return best;
}

/* Printable, and not longer than a message should be: it comes from outside. */
static void quote(const char *text, char quoted[33])
{
    size_t n = 0;
    for (; text[n] != '\0' && n < 32; n++)
        quoted[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    quoted[n] = '\0';
}

static vd_status not_found(const char *code, vd_err *err)
{
    enum { NEAR_MAX = 6 };
    char list[320] = "", asked[33] = "";
    size_t n_list = 0, n_near = 0;
    quote(code, asked);
    for (size_t level = 0; level < FAR && n_near < NEAR_MAX; level++)
        for (size_t i = 0; i < vd_zone_table_n && n_near < NEAR_MAX; i++) {
            const vd_zone *zone = &vd_zone_table[i];
            if (unlikeness(zone, asked) != level)
                continue;
            int n = snprintf(list + n_list, sizeof(list) - n_list, "%s%s (%s)",
                             n_near == 0 ? "; near: " : ", ", zone->code, zone->name);
            if (n < 0 || (size_t)n >= sizeof(list) - n_list) {
                list[n_list] = '\0';
                break;
            }
            n_list += (size_t)n;
            n_near++;
        }
    return VD_FAIL(err, VD_ERR_NOT_FOUND,
                   "no grid zone '%s'%s. Zones are ISO country codes (DE), US states (US-CA), some "
                   "grids (US-CAL-CISO), EU and WORLD",
                   asked, list);
}

vd_status vd_zone_find(const char *code, const vd_zone **ret_zone, vd_err *err)
{
    if (code == NULL || code[0] == '\0') {
        *ret_zone = &vd_zone_table[0];
        return VD_OK;
    }
    if (same(code, "UK")) /* reserved by ISO 3166 for the United Kingdom, and much used */
        code = "GB";
    for (size_t i = 0; i < vd_zone_table_n; i++)
        if (same(vd_zone_table[i].code, code)) {
            *ret_zone = &vd_zone_table[i];
            return VD_OK;
        }
    for (size_t i = 0; i < vd_zone_table_n; i++)
        if (same(vd_zone_table[i].name, code)) {
            *ret_zone = &vd_zone_table[i];
            return VD_OK;
        }
    return not_found(code, err);
}

const vd_zone *vd_zone_list(size_t *ret_n)
{
    *ret_n = vd_zone_table_n;
    return vd_zone_table;
}

double vd_embodied_server_kg(size_t n_sockets, uint64_t memory_bytes)
{
    double gb = (double)memory_bytes / 1e9, kg = 1000;
    if (n_sockets > 1)
        kg += 100 * (double)(n_sockets - 1);
    if (gb > 16)
        kg += (gb - 16) * 533 / 384;
    return kg;
}

void vd_carbon_of(uint64_t energy_uj, uint64_t machine_ns, const vd_zone *zone,
                  const vd_hardware *hardware, vd_carbon *ret_carbon)
{
    static const double uj_per_kwh = 3.6e12, ns_per_year = 365.25 * 86400 * 1e9;
    double kg = hardware != NULL && hardware->server_kg > 0 ? hardware->server_kg
                                                            : vd_embodied_server_kg(1, 0);
    double years = hardware != NULL && hardware->life_years > 0 ? hardware->life_years : 4;
    double share = hardware != NULL && hardware->reserved_share > 0 ? hardware->reserved_share : 1;
    *ret_carbon = (vd_carbon){
        .operational_g = (double)energy_uj / uj_per_kwh * zone->g_per_kwh,
        .embodied_g = kg * 1000 * ((double)machine_ns / (years * ns_per_year)) * share,
        .intensity_g_per_kwh = zone->g_per_kwh,
        .kind = "average",
        .scope = zone->scope,
        .basis = "location",
        .zone = zone->code,
        .source = zone->source,
    };
    snprintf(ret_carbon->valid_at, sizeof(ret_carbon->valid_at), "%d", zone->year);
}

void vd_carbon_add(vd_carbon *sum, const vd_carbon *one)
{
    double operational_g = sum->operational_g, embodied_g = sum->embodied_g;
    *sum = *one;
    sum->operational_g += operational_g;
    sum->embodied_g += embodied_g;
}

/* Six digits: more than the figures can bear, fewer than a double would show. */
static json_t *grams(double g)
{
    char text[32];
    snprintf(text, sizeof(text), "%.6g", g);
    double rounded = g;
    if (sscanf(text, "%lf", &rounded) != 1)
        rounded = g;
    return json_real(rounded);
}

json_t *vd_carbon_json(const vd_carbon *c)
{
    return json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s}", "operational_g",
                     grams(c->operational_g), "embodied_g", grams(c->embodied_g),
                     "intensity_g_per_kwh", grams(c->intensity_g_per_kwh), "kind", c->kind, "scope",
                     c->scope, "basis", c->basis, "zone", c->zone, "source", c->source, "valid_at",
                     c->valid_at);
}
