/*
 * choose.h - which meters are read: what was named, or the best for each component.
 *
 *   auto                  the host's best, every GPU, the model for what neither covers
 *   rapl | meterd | ...   this one for the host, and nothing else
 *   rapl,nvml             these two
 *   auto,hwmon:fan        this one, and the best for what it does not cover
 *   battery | psys | ...  the whole machine: only when named, and only alone
 *
 * Inside src/energy.
 */
#ifndef VD_ENERGY_CHOOSE_H
#define VD_ENERGY_CHOOSE_H

#include "energy/meter.h"
#include "energy/sources/source.h"

typedef struct vd_choice {
    vd_source source[VD_METER_SOURCES_MAX];
    bool by_spec[VD_METER_SOURCES_MAX]; /* what it covers is the word of who named it */
    size_t n_sources;
    bool has_host; /* one of them counts the processor */
    bool with_model; /* the model serves what they do not cover, and stands in for lost ones */
    vd_meter_refusal refused[VD_METER_REFUSED_MAX];
    size_t n_refused;
} vd_choice;

/* Fills *choice, which vd_choice_close closes whatever comes back. VD_ERR_ARG: the specification is
 * malformed or adds up what overlaps; else what the named source said. */
VD_NODISCARD vd_status vd_choice_open(const char *spec, const vd_source_env *env, vd_choice *choice,
                                      vd_err *err);
void vd_choice_close(vd_choice *choice);

#endif
