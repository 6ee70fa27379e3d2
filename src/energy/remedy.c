/*
 * remedy.c - see remedy.h.
 *
 * The kernel lets only root read energy_uj since 5.10, because power tells others what is computed
 * (CVE-2020-8694). The entries of class/powercap are links, which chmod -R does not follow.
 */
#include "energy/remedy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void add(vd_remedy *list, size_t *n, const char *what, const char *fmt, ...) VD_PRINTF(4, 5);
static void add(vd_remedy *list, size_t *n, const char *what, const char *fmt, ...)
{
    vd_remedy *remedy = &list[(*n)++];
    remedy->what = what;
    va_list args;
    va_start(args, fmt);
    vsnprintf(remedy->command, sizeof(remedy->command), fmt, args);
    va_end(args);
}

static void add_for_permission(const vd_meter_info *info, vd_remedy *list, size_t *n)
{
    add(list, n, "until the next boot, for all users of this machine",
        "sudo chmod a+r %s/*/energy_uj", info->powercap);
    add(list, n, "for good, for all users",
        "echo 'SUBSYSTEM==\"powercap\", ACTION==\"add\", RUN+=\"/bin/chmod a+r "
        "/sys%%p/energy_uj\"' | sudo tee /etc/udev/rules.d/70-powercap.rules && sudo udevadm "
        "control --reload && sudo udevadm trigger --action=add --subsystem-match=powercap");
    add(list, n, "for good, for a group: a helper that is root for them (docs/meters.md)",
        "sudo groupadd -f --system verdant && sudo usermod -aG verdant \"$USER\" && "
        "sudo verdant-meterd --group verdant");
    char perf[VD_RAPL_PATH_MAX + 64];
    snprintf(perf, sizeof(perf), "%s/../../bus/event_source/devices/power", info->powercap);
    if (access(perf, F_OK) == 0)
        add(list, n, "for this program alone, through perf events of the whole machine",
            "sudo setcap cap_perfmon=ep \"$(command -v verdant)\"");
    else
        add(list, n, "for this program alone, which may then read every file",
            "sudo setcap cap_dac_read_search=ep \"$(command -v verdant)\"");
}

static void add_for_absence(const vd_meter_info *info, vd_remedy *list, size_t *n)
{
    static const char modprobe[] = "sudo modprobe intel_rapl_msr";
    bool masked = access(info->powercap, F_OK) == 0;
    if (masked)
        add(list, n, "in a container: hand the host's counters in (they count the whole host)",
            "docker run -v /sys/class/powercap:/host/class/powercap:ro "
            "-v /sys/devices/virtual/powercap:/host/devices/virtual/powercap:ro "
            "-e VERDANT_SYSFS=/host ...");
    if (info->machine.virtual_machine)
        add(list, n,
            "in a virtual machine: only the host can hand counters in, e.g. by virtiofs, for "
            "VERDANT_SYSFS to point at (they count the whole host); else the model serves",
            "%s", "");
    else
        add(list, n, "on a machine of its own: load the driver (AMD's too)", "%s", modprobe);
}

size_t vd_remedies_find(const vd_meter_info *info, vd_remedy ret_remedies[VD_REMEDIES_MAX])
{
    size_t n = 0;
    if (info->why == VD_ERR_PERM)
        add_for_permission(info, ret_remedies, &n);
    else if (info->why == VD_ERR_NOT_FOUND && info->n_zones == 0)
        add_for_absence(info, ret_remedies, &n);
    else if (info->why != VD_OK)
        add(ret_remedies, &n, "see what the kernel shows", "grep . %s/*/name %s/*/energy_uj",
            info->powercap, info->powercap);
    return n;
}
