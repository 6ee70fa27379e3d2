/* carbon.c - grams and litres from joules. See carbon.h. */
#include "carbon/carbon.h"

#include "carbon/calendar.h"
#include "carbon/rounding.h"

static const double uj_per_kwh = 3.6e12;

double vd_carbon_flat_ug(uint64_t energy_uj, const vd_intensity *intensity)
{
    return (double)energy_uj / uj_per_kwh * intensity->g_per_kwh * 1e6;
}

void vd_carbon_of(const vd_carbon_use *use, const vd_intensity *intensity, const vd_site *site,
                  const vd_hardware *hardware, vd_carbon *ret_carbon)
{
    double pue = site != NULL && site->pue > 0 ? site->pue : 1;
    double it_kwh = (double)use->energy_uj / uj_per_kwh, water_l = -1;
    if (site != NULL && (site->wue_site_l_per_kwh > 0 || site->wue_grid_l_per_kwh > 0))
        water_l = it_kwh * (site->wue_site_l_per_kwh + pue * site->wue_grid_l_per_kwh);
    *ret_carbon = (vd_carbon){
        .operational_g = use->operational_ug * 1e-6 * pue,
        .embodied_g = vd_embodied_g(use->machine_ns, hardware),
        .water_l = water_l,
        .energy_kwh = it_kwh * pue,
        .pue = pue,
        .intensity = *intensity,
    };
    if (use->energy_uj > 0)
        ret_carbon->intensity.g_per_kwh = ret_carbon->operational_g / ret_carbon->energy_kwh;
}

void vd_carbon_add(vd_carbon *sum, const vd_carbon *one)
{
    const vd_carbon before = *sum;
    *sum = *one;
    if (before.intensity.kind == NULL) /* {0}: nothing is in it yet */
        return;
    vd_intensity *tags = &sum->intensity;
    sum->operational_g += before.operational_g;
    sum->embodied_g += before.embodied_g;
    sum->energy_kwh += before.energy_kwh;
    sum->water_l = before.water_l < 0 || one->water_l < 0 ? -1 : before.water_l + one->water_l;
    if (sum->energy_kwh > 0)
        tags->g_per_kwh = sum->operational_g / sum->energy_kwh;
    tags->estimated |= before.intensity.estimated;
    tags->stale |= before.intensity.stale;
    tags->mixed |= before.intensity.mixed || !vd_intensity_alike(&before.intensity, tags);
}

/* "2024" where the value is a year's, else the moment at which it begins to hold. */
static void valid_at(const vd_intensity *v, char text[VD_TIME_TEXT])
{
    const int64_t day_s = 86400;
    vd_time_text(v->valid_from_s, text);
    if (v->valid_to_s - v->valid_from_s >= 365 * day_s)
        text[4] = '\0';
}

static int put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value);
}

json_t *vd_carbon_json(const vd_carbon *c, uint64_t n_tokens)
{
    const vd_intensity *v = &c->intensity;
    char at[VD_TIME_TEXT];
    valid_at(v, at);
    json_t *value = json_pack(
        "{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:o}", "operational_g",
        vd_rounded(c->operational_g), "embodied_g", vd_rounded(c->embodied_g),
        "intensity_g_per_kwh", vd_rounded(v->g_per_kwh), "kind", v->kind, "scope", v->scope,
        "basis", v->basis, "boundary", v->boundary, "zone", v->zone, "source", v->source,
        "version", v->version, "valid_at", at, "estimated", v->estimated, "stale", v->stale, "pue",
        vd_rounded(c->pue));
    double total_g = c->operational_g + c->embodied_g;
    int failed = value == NULL;
    if (!failed && v->mixed)
        failed |= put(value, "mixed", json_true());
    if (!failed && c->water_l >= 0)
        failed |= put(value, "water_l", vd_rounded(c->water_l));
    if (!failed && n_tokens > 0)
        failed |= put(value, "sci",
                      json_pack("{s:o, s:o, s:I, s:s}", "g_per_request", vd_rounded(total_g),
                                "sci_mg_per_token", vd_rounded(total_g * 1e3 / (double)n_tokens),
                                "tokens", (json_int_t)n_tokens, "functional_unit",
                                "token read or written"));
    if (failed) {
        json_decref(value);
        return NULL;
    }
    return value;
}
