/*
 * scaphandre.c - what a host counted for this virtual machine (vd_source_scaphandre_open in
 * sources.h; docs/meters.md).
 *
 *   /var/scaphandre/intel-rapl:0/energy_uj     microjoules of this machine, rewritten every 5 s
 *   /var/scaphandre/intel-rapl:0:0/            an empty folder
 *
 * The layout is that of Scaphandre's QEMU exporter (its documentation: "Propagate power consumption
 * metrics from hypervisor to virtual machines"; src/exporters/qemu.rs), passed in by virtiofs or
 * 9p: a powercap tree without names and ranges, one zone per socket at most. The host splits its
 * sockets and memory by CPU time, so the figure is of both and stands in "cpu".
 *
 * The counter of a machine that waits may stand still; its file is rewritten all the same, and that
 * is what tells a waiting machine from an exporter that has stopped. A file that is empty for the
 * moment of its rewriting is read again (sensor.c).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "energy/sources/sampler.h"
#include "energy/sources/sensor_set.h"
#include "energy/sources/sources.h"

static const uint64_t period_ns = UINT64_C(500000000), refresh_ns = UINT64_C(5500000000);
static const double most_w = 5000;
static const uint64_t slack_uj = UINT64_C(25000000000); /* five seconds of it */
static const uint64_t stuck_ns = UINT64_C(30000000000); /* six rewritings that did not come */
static const double common_pct = 15, independent_pct = 25; /* docs/meters.md */

/* "intel-rapl:0", but not its parts "intel-rapl:0:0". */
static bool is_zone(const char *name)
{
    const char *colon = strchr(name, ':');
    return strncmp(name, "intel-rapl", 10) == 0 && colon != NULL && strchr(colon + 1, ':') == NULL;
}

static vd_status add_zones(vd_sensor_set *set, const vd_source_env *env, const char *root,
                           DIR *listing, vd_err *err)
{
    const struct dirent *entry;
    vd_status st = VD_OK;
    while (st == VD_OK && (entry = readdir(listing)) != NULL) {
        char path[VD_SENSOR_PATH_MAX];
        if (!is_zone(entry->d_name))
            continue;
        vd_channel channel = {.part = VD_PART_CPU,
                              .most_w = most_w,
                              .slack_uj = slack_uj,
                              .stuck_ns = stuck_ns};
        snprintf(channel.name, sizeof(channel.name), "the host's %.40s", entry->d_name);
        snprintf(path, sizeof(path), "%.420s/%.40s/energy_uj", root, entry->d_name);
        st = vd_sensor_set_add(set, env, path, VD_SENSOR_REWRITTEN, &channel, "", err);
    }
    return st;
}

vd_status vd_source_scaphandre_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    const char *root = env->spec[0] != '\0' ? env->spec : "/var/scaphandre";
    if (env->spec[0] == '\0' && strcmp(env->sysfs, "/sys") != 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s goes with this machine's /sys alone", root);
    DIR *listing = opendir(root);
    if (listing == NULL)
        return VD_FAIL(err, errno == EACCES ? VD_ERR_PERM : VD_ERR_NOT_FOUND,
                       "the host passes no energy into this machine: %.300s: %s", root,
                       strerror(errno));
    vd_sensor_set *set = vd_sensor_set_create();
    vd_status st = set != NULL ? add_zones(set, env, root, listing, err)
                               : VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter scaphandre");
    closedir(listing);
    if (st == VD_OK && set->n == 0)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "no intel-rapl:0 in %.300s: is the exporter of the "
                     "host running?", root);
    if (st == VD_OK) {
        vd_source source = {.method = "scaphandre",
                            .name = "scaphandre: this machine's share",
                            .parts = 1u << VD_PART_CPU | 1u << VD_PART_DRAM,
                            .refresh_ns = refresh_ns,
                            .common_pct = common_pct,
                            .independent_pct = independent_pct};
        vd_sampler_plan plan = {.sample = vd_sensor_set_sample,
                                .free = vd_sensor_set_free,
                                .self = set,
                                .period_ns = period_ns};
        st = vd_sampler_start(&plan, env, &source, ret_source, err);
    }
    if (st != VD_OK)
        vd_sensor_set_free(set);
    return st;
}
