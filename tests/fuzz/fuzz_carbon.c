/*
 * fuzz_carbon.c - answers of the carbon APIs, and a CSV file. The first byte says which: 'l' one
 * value of Electricity Maps or a list of them, 'w' WattTime, 'f' its forecast, 'u' the UK, 'r' a
 * region of it, 'c' a file. What is read must be sane, and in the order of time once tidy.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "carbon/sources.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define NOW_S INT64_C(1772372700) /* 2026-03-01T13:45:00Z: the time of the corpus */

static vd_provider *open_one(const char *name, const char *zone)
{
    vd_provider *p = NULL;
    const vd_provider_options o = {
        .name = name, .zone = zone, .file = strcmp(name, "csv") == 0 ? "f" : NULL};
    setenv("VERDANT_ELECTRICITYMAPS_TOKEN", "k", 1);
    setenv("VERDANT_WATTTIME_USER", "u", 1);
    setenv("VERDANT_WATTTIME_PASSWORD", "p", 1);
    if (vd_provider_open(&o, &p, NULL) != VD_OK)
        abort();
    return p;
}

static vd_status read_json(vd_provider *p, char which, const char *text, size_t n, vd_series *out)
{
    json_t *answer = NULL;
    vd_err err = {0};
    vd_status st = vd_json_parse(text, n, &answer, &err);
    if (st == VD_OK && which == 'l')
        st = vd_electricitymaps_read(p, answer, NOW_S, out, &err);
    else if (st == VD_OK && (which == 'w' || which == 'f'))
        st = vd_watttime_read(p, answer, which == 'f', NOW_S, out, &err);
    else if (st == VD_OK)
        st = vd_uk_read(p, answer, NOW_S, out, &err);
    json_decref(answer);
    return st;
}

static void check(const vd_series *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const vd_intensity *v = &s->value[i];
        if (!(v->g_per_kwh >= 0 && v->g_per_kwh <= VD_G_PER_KWH_MAX) ||
            v->valid_from_s >= v->valid_to_s ||
            (i > 0 && v->valid_from_s < s->value[i - 1].valid_to_s))
            abort();
        json_t *shown = vd_intensity_json(v);
        if (shown == NULL)
            abort();
        json_decref(shown);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct {
        char which;
        const char *name, *zone;
    } kinds[] = {{'l', "electricitymaps", "DE"}, {'w', "watttime", "CAISO_NORTH"},
                 {'f', "watttime", "CAISO_NORTH"}, {'u', "uk", "GB"}, {'r', "uk", "13"},
                 {'c', "csv", NULL}};
    vd_series out = {0};
    vd_err err = {0};
    vd_json_init();
    for (size_t i = 0; n > 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].which != (char)data[0])
            continue;
        const char *text = (const char *)data + 1;
        vd_provider *p = open_one(kinds[i].name, kinds[i].zone);
        vd_status st = kinds[i].which == 'c'
                           ? vd_csv_read(p, "f", text, n - 1, &out, &err)
                           : read_json(p, kinds[i].which, text, n - 1, &out);
        vd_series_tidy(&out);
        if (st == VD_OK)
            check(&out);
        vd_series_done(&out);
        vd_provider_close(p);
    }
    return 0;
}
