/* powercap.c - RAPL through the powercap tree (rapl.h) as a source. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/sources/sources.h"

/* Socket and memory counters of servers since Haswell agree with external meters within a few
 * percent (Desrochers, Paradis, Weaver 2016; Khan et al. 2018). */
static const double rapl_pct = 5;
/* What hangs on it differs by board; some show less than the package alone. */
static const double psys_pct = 15;

static bool powercap_read(vd_source *source, uint64_t now_ns, uint64_t uj[VD_PART_N])
{
    vd_rapl *rapl = source->self;
    bool seen = vd_rapl_read(rapl, now_ns, uj);
    source->lost_since_ns = rapl->lost_since_ns;
    if (!seen)
        memcpy(source->last_gap, rapl->last_gap, sizeof(source->last_gap));
    return seen;
}

static void powercap_close(vd_source *source)
{
    vd_rapl_close(source->self);
    vd_free(source->self);
}

static size_t powercap_zones(const vd_source *source, vd_rapl_zone_info *ret_zone, size_t max)
{
    const vd_rapl *rapl = source->self;
    size_t n = VD_MIN(rapl->n_zones, max);
    for (size_t i = 0; i < n; i++)
        ret_zone[i] = rapl->zone[i].info;
    return n;
}

static vd_status open_zones(const vd_source_env *env, bool psys, vd_rapl **ret_rapl, vd_err *err)
{
    vd_rapl *rapl = vd_calloc(1, sizeof(*rapl));
    if (rapl == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the energy counters");
    vd_rapl_open(rapl, env->sysfs, psys, env->open_file, env->ctx, env->now_ns);
    vd_status st = rapl->why;
    if (st != VD_OK) {
        st = VD_FAIL(err, st, "%s", rapl->why_text);
        vd_rapl_close(rapl);
        vd_free(rapl);
        return st;
    }
    *ret_rapl = rapl;
    return VD_OK;
}

static const vd_source_ops ops = {
    .read = powercap_read, .close = powercap_close, .zones = powercap_zones};

vd_status vd_source_powercap_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    vd_rapl *rapl = NULL;
    vd_status st = open_zones(env, false, &rapl, err);
    if (st != VD_OK)
        return st;
    *ret_source = (vd_source){
        .ops = &ops,
        .self = rapl,
        .method = "rapl",
        .name = "rapl by powercap",
        .parts = 1u << VD_PART_CPU | (rapl->has_dram ? 1u << VD_PART_DRAM : 0),
        .common_pct = rapl_pct,
    };
    memcpy(ret_source->note, rapl->why_text, sizeof(ret_source->note));
    return VD_OK;
}

vd_status vd_source_psys_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    vd_rapl *rapl = NULL;
    vd_status st = open_zones(env, true, &rapl, err);
    if (st != VD_OK)
        return st;
    *ret_source = (vd_source){
        .ops = &ops,
        .self = rapl,
        .method = "psys",
        .name = "psys by powercap",
        .parts = VD_SOURCE_WHOLE,
        .common_pct = psys_pct,
    };
    return VD_OK;
}
