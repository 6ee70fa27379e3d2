/* intensity.c - finding a zone of the table, and the tags of a value. See intensity.h. */
#include "carbon/intensity.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "carbon/calendar.h"
#include "carbon/regions.h"
#include "carbon/rounding.h"
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
                   "grids (US-CAL-CISO), cloud regions (aws:eu-west-1), EU and WORLD",
                   asked, list);
}

/* "aws:eu-west-1" to the zone it lies in; near ones are those that begin alike. */
static vd_status find_region(const char *code, const vd_zone **ret_zone, vd_err *err)
{
    enum { NEAR_MAX = 6 };
    size_t n, n_near = 0, n_list = 0, best = 0;
    const vd_region *region = vd_region_list(&n);
    char list[320] = "", asked[33] = "";
    for (size_t i = 0; i < n; i++) {
        size_t alike = 0;
        if (same(region[i].code, code))
            return vd_zone_find(region[i].zone, ret_zone, err);
        while (code[alike] != '\0' && plain(code[alike]) == plain(region[i].code[alike]))
            alike++;
        best = VD_MAX(best, alike);
    }
    quote(code, asked);
    for (size_t i = 0; i < n && n_near < NEAR_MAX && best > 0; i++) {
        size_t alike = 0;
        while (code[alike] != '\0' && plain(code[alike]) == plain(region[i].code[alike]))
            alike++;
        if (alike == best && n_list + strlen(region[i].code) + 10 < sizeof(list))
            n_list += (size_t)snprintf(list + n_list, sizeof(list) - n_list, "%s%s",
                                       n_near++ == 0 ? "; near: " : ", ", region[i].code);
    }
    return VD_FAIL(err, VD_ERR_NOT_FOUND, "no cloud region '%s'%s. Regions are written "
                   "aws:eu-west-1, gcp:europe-west4, azure:westeurope", asked, list);
}

vd_status vd_zone_find(const char *code, const vd_zone **ret_zone, vd_err *err)
{
    if (code == NULL || code[0] == '\0') {
        *ret_zone = &vd_zone_table[0];
        return VD_OK;
    }
    if (strchr(code, ':') != NULL)
        return find_region(code, ret_zone, err);
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

vd_intensity vd_zone_intensity(const vd_zone *zone, int64_t at_s)
{
    int64_t from_s = vd_year_begin_s(zone->year), to_s = vd_year_begin_s(zone->year + 1);
    vd_intensity value = {
        .g_per_kwh = zone->g_per_kwh,
        .kind = "average",
        .scope = zone->scope,
        .basis = "location",
        .boundary = zone->boundary,
        .source = zone->source,
        .valid_from_s = from_s,
        .valid_to_s = to_s,
        .estimated = at_s < from_s || at_s >= to_s,
    };
    snprintf(value.zone, sizeof(value.zone), "%s", zone->code);
    snprintf(value.version, sizeof(value.version), "%d", zone->year);
    return value;
}

bool vd_intensity_at(const vd_intensity *values, size_t n, int64_t at_s, bool failing,
                     vd_intensity *ret_value)
{
    const int64_t hour_s = 3600;
    size_t low = 0, high = n; /* the answer + 1 lies in [low, high] */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (values[middle].valid_from_s <= at_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    *ret_value = values[low - 1];
    if (at_s < ret_value->valid_to_s)
        return true;
    /* Sources publish an hour's value late; later than its own length it is stale. */
    int64_t length_s = ret_value->valid_to_s - ret_value->valid_from_s;
    ret_value->estimated = true;
    ret_value->stale = failing || at_s >= ret_value->valid_to_s + VD_MIN(length_s, hour_s);
    return true;
}

bool vd_intensity_alike(const vd_intensity *a, const vd_intensity *b)
{
    return strcmp(a->kind, b->kind) == 0 && strcmp(a->scope, b->scope) == 0 &&
           strcmp(a->basis, b->basis) == 0 && strcmp(a->boundary, b->boundary) == 0 &&
           strcmp(a->source, b->source) == 0 && strcmp(a->zone, b->zone) == 0;
}

json_t *vd_intensity_json(const vd_intensity *v)
{
    char from[VD_TIME_TEXT], to[VD_TIME_TEXT];
    vd_time_text(v->valid_from_s, from);
    vd_time_text(v->valid_to_s, to);
    return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b}",
                     "intensity_g_per_kwh", vd_rounded(v->g_per_kwh), "kind", v->kind, "scope",
                     v->scope, "basis", v->basis, "boundary", v->boundary, "zone", v->zone,
                     "source", v->source, "version", v->version, "valid_from", from, "valid_to", to,
                     "estimated", v->estimated, "stale", v->stale);
}
