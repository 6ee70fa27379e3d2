/* energy_json.h - the energy object of the API. */
#ifndef VD_ENERGY_ENERGY_JSON_H
#define VD_ENERGY_ENERGY_JSON_H

#include "base/json.h"
#include "energy/energy.h"

/* {"total_j":…,"active_j":…,"idle_share_j":…,"prefill_j":…,"decode_j":…,
 *  "components_j":{"cpu":…,"dram":…,"gpu":…},"method":…,"uncertainty_pct":…,"carbon":…}
 * and "settled":false or "incomplete":true only where it is so. `carbon` (vd_carbon_json, NULL: the
 * key is absent) is taken, also on failure. A new reference, or NULL when memory is short. */
json_t *vd_energy_json(const vd_energy *energy, json_t *carbon);

#endif
