/* energy_json.c - see energy_json.h. */
#include "energy/energy_json.h"

#include <math.h>

/* Microjoules are whole, so joules have six decimals and read back exactly below 2^53 uJ. */
static json_t *joules(uint64_t uj)
{
    return json_real((double)uj / 1e6);
}

/* To a tenth: more would claim to know how unsure we are. */
static json_t *percent(double pct)
{
    return json_real(round(pct * 10) / 10);
}

json_t *vd_energy_json(const vd_energy *e, json_t *carbon)
{
    json_t *parts = json_pack("{s:o, s:o, s:o}", "cpu", joules(e->cpu_uj), "dram",
                              joules(e->dram_uj), "gpu", joules(e->gpu_uj));
    json_t *sure = json_pack("{s:o, s:o}", "common_pct", percent(e->common_pct),
                             "independent_pct", percent(e->independent_pct));
    json_t *value = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "total_j",
                              joules(e->total_uj), "active_j", joules(e->active_uj), "idle_share_j",
                              joules(e->idle_share_uj), "prefill_j", joules(e->prefill_uj),
                              "decode_j", joules(e->decode_uj), "components_j", parts, "method",
                              e->method, "uncertainty_pct", percent(e->uncertainty_pct),
                              "uncertainty", sure);
    int failed = value == NULL;
    if (!failed && !e->settled)
        failed |= json_object_set_new(value, "settled", json_false());
    if (!failed && e->incomplete)
        failed |= json_object_set_new(value, "incomplete", json_true());
    if (!failed && carbon != NULL)
        failed |= json_object_set(value, "carbon", carbon);
    json_decref(carbon);
    if (failed) {
        json_decref(value);
        return NULL;
    }
    return value;
}
