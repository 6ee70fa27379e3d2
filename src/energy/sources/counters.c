/* counters.c - see counters.h. */
#include "energy/sources/counters.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

/* Socket and memory counters of servers since Haswell agree with external meters within a few
 * percent (Desrochers, Paradis, Weaver 2016; Khan et al. 2018). */
static const double rapl_pct = 5;
/* What hangs on it differs by board; some show less than the package alone. */
static const double psys_pct = 15;

static bool counters_read(vd_source *source, uint64_t now_ns, uint64_t uj[VD_PART_N])
{
    vd_rapl *rapl = source->self;
    bool seen = vd_rapl_read(rapl, now_ns, uj);
    source->lost_since_ns = rapl->lost_since_ns;
    if (!seen)
        memcpy(source->last_gap, rapl->last_gap, sizeof(source->last_gap));
    return seen;
}

static void counters_close(vd_source *source)
{
    vd_counters_free(source->self);
    source->self = NULL;
}

static size_t counters_zones(const vd_source *source, vd_rapl_zone_info *ret_zone, size_t max)
{
    const vd_rapl *rapl = source->self;
    size_t n = VD_MIN(rapl->n_zones, max);
    for (size_t i = 0; i < n; i++)
        ret_zone[i] = rapl->zone[i].info;
    return n;
}

void vd_counters_source(vd_rapl *rapl, const char *name, vd_source *ret_source)
{
    static const vd_source_ops ops = {
        .read = counters_read, .close = counters_close, .zones = counters_zones};
    *ret_source = (vd_source){
        .ops = &ops,
        .self = rapl,
        .method = rapl->psys ? "psys" : "rapl",
        .parts = rapl->psys ? VD_SOURCE_WHOLE
                            : 1u << VD_PART_CPU | (rapl->has_dram ? 1u << VD_PART_DRAM : 0),
        .common_pct = rapl->psys ? psys_pct : rapl_pct,
    };
    snprintf(ret_source->name, sizeof(ret_source->name), "%s", name);
    memcpy(ret_source->note, rapl->why_text, sizeof(ret_source->note));
}

void vd_counters_free(vd_rapl *rapl)
{
    if (rapl != NULL)
        vd_rapl_close(rapl);
    vd_free(rapl);
}
