/*
 * rapl.c - RAPL by the better of two ways: perf events where they are allowed, else powercap.
 *
 * Perf events count in 64 bits, and a process may be allowed them without being root. Both show the
 * same registers, so they must show the same domains. Where they do not, powercap is read if it may
 * be and shows the memory as well as perf events do; either way the difference is said.
 */
#include "energy/sources/rapl.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "energy/sources/sources.h"

/* How many counters of each kind there are, twins and parts aside. */
typedef struct domains {
    size_t n_packages, n_dram;
} domains;

/* Those that are read, or all that are shown. */
static domains count_domains(const vd_rapl_zone_info *zone, size_t n, bool all)
{
    domains d = {0};
    for (size_t i = 0; i < n; i++) {
        vd_rapl_use use = zone[i].use;
        bool counts = use == VD_RAPL_READ ||
                      (all && (use == VD_RAPL_DENIED || use == VD_RAPL_BROKEN));
        d.n_packages += counts && zone[i].part == VD_PART_CPU;
        d.n_dram += counts && zone[i].part == VD_PART_DRAM;
    }
    return d;
}

/* What powercap shows, whether it may be read or not; false when there is nothing. */
static bool look_at_powercap(const vd_source_env *env, vd_rapl *rapl, domains *ret)
{
    vd_rapl_zone_info *zone = vd_calloc(VD_RAPL_ZONES_MAX, sizeof(*zone));
    vd_rapl_open(rapl, env->sysfs, false, env->open_file, env->ctx, env->now_ns);
    size_t n = zone != NULL ? rapl->n_zones : 0;
    for (size_t i = 0; i < n; i++)
        zone[i] = rapl->zone[i].info;
    *ret = count_domains(zone, n, true);
    vd_free(zone);
    vd_rapl_close(rapl);
    return ret->n_packages > 0;
}

static domains domains_of(const vd_source *source)
{
    domains d = {0};
    vd_rapl_zone_info *zone = vd_calloc(VD_RAPL_ZONES_MAX, sizeof(*zone));
    if (zone != NULL)
        d = count_domains(zone, source->ops->zones(source, zone, VD_RAPL_ZONES_MAX), false);
    vd_free(zone);
    return d;
}

/* True when `perf` is to give way to powercap; else a difference is in its note. */
static bool gives_way(const vd_source_env *env, vd_source *perf)
{
    domains by_powercap, by_perf = domains_of(perf);
    vd_rapl *rapl = vd_calloc(1, sizeof(*rapl));
    bool readable = false, there = false;
    if (rapl != NULL) {
        there = look_at_powercap(env, rapl, &by_powercap);
        readable = rapl->why == VD_OK;
    }
    vd_free(rapl);
    if (!there || (by_powercap.n_packages == by_perf.n_packages &&
                   by_powercap.n_dram == by_perf.n_dram))
        return false;
    if (readable && by_powercap.n_dram >= by_perf.n_dram)
        return true;
    snprintf(perf->note, sizeof(perf->note),
             "perf events show %zu packages and %zu dram domains, powercap %zu and %zu",
             by_perf.n_packages, by_perf.n_dram, by_powercap.n_packages, by_powercap.n_dram);
    return false;
}

static vd_status fail_argument(const vd_source_env *env, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_ARG, "nothing may stand behind the colon, and '%.80s' does",
                   env->spec);
}

static vd_status open_either(const vd_source_env *env, bool psys, vd_source *ret_source,
                             vd_err *err)
{
    vd_source perf;
    vd_err why_no_perf = {0};
    if (env->spec[0] != '\0')
        return fail_argument(env, err);
    vd_status st = vd_perf_open(env, psys, &perf, &why_no_perf);
    if (st == VD_ERR_NOMEM)
        return VD_FAIL(err, st, "%s", why_no_perf.message);
    bool has_perf = st == VD_OK;
    if (has_perf && (psys || !gives_way(env, &perf))) {
        *ret_source = perf;
        return VD_OK;
    }
    if (has_perf)
        perf.ops->close(&perf);
    st = vd_powercap_open(env, psys, ret_source, err);
    if (st == VD_OK && has_perf)
        snprintf(ret_source->note, sizeof(ret_source->note),
                 "perf events show other domains than powercap, which is read");
    if (st != VD_OK && why_no_perf.status == VD_ERR_PERM && err != NULL) {
        vd_err powercap = *err;
        return VD_FAIL(err, VD_ERR_PERM, "%.300s; %s", powercap.message, why_no_perf.message);
    }
    return st;
}

vd_status vd_source_rapl_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    return open_either(env, false, ret_source, err);
}

vd_status vd_source_psys_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    return open_either(env, true, ret_source, err);
}

vd_status vd_source_rapl_perf_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    return env->spec[0] == '\0' ? vd_perf_open(env, false, ret_source, err)
                                : fail_argument(env, err);
}

vd_status vd_source_rapl_powercap_open(const vd_source_env *env, vd_source *ret_source,
                                       vd_err *err)
{
    return env->spec[0] == '\0' ? vd_powercap_open(env, false, ret_source, err)
                                : fail_argument(env, err);
}
