/* powercap.c - RAPL through the powercap tree (rapl.h) as a source. */
#include "base/alloc.h"
#include "base/fail.h"
#include "energy/sources/counters.h"
#include "energy/sources/rapl.h"

vd_status vd_powercap_open(const vd_source_env *env, bool psys, vd_source *ret_source, vd_err *err)
{
    vd_rapl *rapl = vd_calloc(1, sizeof(*rapl));
    if (rapl == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the energy counters");
    vd_rapl_open(rapl, env->sysfs, psys, env->open_file, env->ctx, env->now_ns);
    if (rapl->why != VD_OK) {
        vd_status st = VD_FAIL(err, rapl->why, "%s", rapl->why_text);
        vd_counters_free(rapl);
        return st;
    }
    vd_counters_source(rapl, psys ? "psys by powercap" : "rapl by powercap", ret_source);
    return VD_OK;
}
