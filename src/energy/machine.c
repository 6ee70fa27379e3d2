/* machine.c - see machine.h. */
#include "energy/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"

#define CCF "Cloud Carbon Footprint ccf-coefficients (2026-03, from SPECpower_ssj2008 results)"

/* Watts per hardware thread at rest and at full load. The source's row for the 5th generation of
 * EPYC is four times its neighbours (3.7 and 9.0 W), which no data sheet supports, so Zen 5 takes
 * the row before it. The source gives Arm Neoverse servers the figures of EPYC 2. */
typedef struct family_row {
    const char *name;
    double idle_w, full_w;
} family_row;

enum {
    EPYC_1,
    EPYC_2,
    EPYC_3,
    EPYC_4,
    SANDY_BRIDGE,
    IVY_BRIDGE,
    HASWELL,
    BROADWELL,
    SKYLAKE,
    CASCADE_LAKE,
    COFFEE_LAKE,
    ICE_LAKE,
    SAPPHIRE_RAPIDS,
    EMERALD_RAPIDS,
    GRANITE_RAPIDS,
    NEOVERSE,
    UNKNOWN
};

static const family_row families[] = {
    [EPYC_1] = {"AMD Zen (EPYC 1st generation)", 0.8468, 2.6042},
    [EPYC_2] = {"AMD Zen 2 (EPYC 2nd generation)", 0.4743, 1.6930},
    [EPYC_3] = {"AMD Zen 3 (EPYC 3rd generation)", 0.4556, 1.9573},
    [EPYC_4] = {"AMD Zen 4 and later (EPYC 4th generation)", 0.7391, 2.2822},
    [SANDY_BRIDGE] = {"Intel Sandy Bridge", 2.2122, 8.6309},
    [IVY_BRIDGE] = {"Intel Ivy Bridge", 1.7074, 5.5569},
    [HASWELL] = {"Intel Haswell", 1.8574, 5.5954},
    [BROADWELL] = {"Intel Broadwell", 0.7128, 3.6853},
    [SKYLAKE] = {"Intel Skylake", 0.6130, 4.1042},
    [CASCADE_LAKE] = {"Intel Cascade Lake", 0.6903, 4.0632},
    [COFFEE_LAKE] = {"Intel Coffee Lake", 1.1384, 5.4218},
    [ICE_LAKE] = {"Intel Ice Lake", 0.7668, 3.7582},
    [SAPPHIRE_RAPIDS] = {"Intel Sapphire Rapids", 1.0363, 4.1605},
    [EMERALD_RAPIDS] = {"Intel Emerald Rapids", 0.8140, 4.4820},
    [GRANITE_RAPIDS] = {"Intel Granite Rapids", 0.5816, 2.5275},
    [NEOVERSE] = {"Arm Neoverse", 0.4743, 1.6930},
    /* Its average over the instance types of a large provider, for processors not told apart. */
    [UNKNOWN] = {"unknown processor (average of servers)", 0.74, 3.5},
};

static size_t amd_family(int family, int model)
{
    if (family == 0x17)
        return model < 0x30 ? EPYC_1 : EPYC_2;
    if (family == 0x19) /* 10h-1Fh Genoa, 60h-7Fh desktop, A0h-AFh Bergamo and Siena are Zen 4 */
        return (model >= 0x10 && model < 0x20) || model >= 0x60 ? EPYC_4 : EPYC_3;
    return family > 0x19 ? EPYC_4 : UNKNOWN;
}

static size_t intel_family(int model, const char *name)
{
    switch (model) {
    case 0x2a:
    case 0x2d:
        return SANDY_BRIDGE;
    case 0x3a:
    case 0x3e:
        return IVY_BRIDGE;
    case 0x3c:
    case 0x3f:
    case 0x45:
    case 0x46:
        return HASWELL;
    case 0x3d:
    case 0x47:
    case 0x4f:
    case 0x56:
        return BROADWELL;
    case 0x4e:
    case 0x5e:
        return SKYLAKE;
    case 0x55: /* one model number, two generations: the second is named Gold 62xx and the like */
        return strstr(name, " 32") || strstr(name, " 42") || strstr(name, " 52") ||
                       strstr(name, " 62") || strstr(name, " 82") || strstr(name, " 92")
                   ? CASCADE_LAKE
                   : SKYLAKE;
    case 0x8e:
    case 0x9e:
        return COFFEE_LAKE;
    case 0x6a:
    case 0x6c:
    case 0x7d:
    case 0x7e:
        return ICE_LAKE;
    case 0x8f:
        return SAPPHIRE_RAPIDS;
    case 0xcf:
        return EMERALD_RAPIDS;
    case 0xad:
    case 0xae:
        return GRANITE_RAPIDS;
    default:
        return UNKNOWN;
    }
}

void vd_machine_family(const char *vendor, int family, int model, const char *name,
                       vd_machine *machine)
{
    size_t row = UNKNOWN;
    if (strcmp(vendor, "AuthenticAMD") == 0)
        row = amd_family(family, model);
    else if (strcmp(vendor, "GenuineIntel") == 0 && family == 6)
        row = intel_family(model, name);
    else if (strcmp(vendor, "0x41") == 0)
        row = NEOVERSE;
    machine->family = families[row].name;
    machine->family_source = CCF;
    machine->idle_w = families[row].idle_w;
    machine->full_w = families[row].full_w;
}

/* The beginning of a small file as text; false when there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    size_t n = 0;
    ssize_t got;
    while (n < size - 1 && (got = read(fd, text + n, size - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    text[n] = '\0';
    return n > 0;
}

/* The value of the first line "key   : value" in /proc/cpuinfo; "" when there is none. */
static void cpuinfo_value(const char *text, const char *key, char *value, size_t size)
{
    value[0] = '\0';
    size_t n_key = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *next = strchr(line, '\n');
        size_t blanks = strspn(line + (strncmp(line, key, n_key) == 0 ? n_key : 0), " \t");
        if (strncmp(line, key, n_key) == 0 && line[n_key + blanks] == ':') {
            const char *start = line + n_key + blanks + 1;
            start += strspn(start, " \t");
            size_t n = next == NULL ? strlen(start) : (size_t)(next - start);
            snprintf(value, size, "%.*s", (int)VD_MIN(n, size - 1), start);
            return;
        }
        line = next == NULL ? NULL : next + 1;
    }
}

static void find_cpu(vd_machine *machine)
{
    char text[16384], vendor[32], value[32], flags[8192];
    snprintf(machine->cpu, sizeof(machine->cpu), "unknown");
    vd_machine_family("", 0, 0, "", machine);
    if (!read_text("/proc/cpuinfo", text, sizeof(text)))
        return;
    cpuinfo_value(text, "model name", machine->cpu, sizeof(machine->cpu));
    if (machine->cpu[0] == '\0')
        snprintf(machine->cpu, sizeof(machine->cpu), "unknown");
    cpuinfo_value(text, "vendor_id", vendor, sizeof(vendor));
    if (vendor[0] == '\0')
        cpuinfo_value(text, "CPU implementer", vendor, sizeof(vendor));
    cpuinfo_value(text, "cpu family", value, sizeof(value));
    int family = (int)strtol(value, NULL, 10);
    cpuinfo_value(text, "model", value, sizeof(value));
    vd_machine_family(vendor, family, (int)strtol(value, NULL, 10), machine->cpu, machine);
    cpuinfo_value(text, "flags", flags, sizeof(flags));
    machine->virtual_machine = strstr(flags, "hypervisor") != NULL;
}

/* A number, or false for "max" (no limit) and -1. */
static bool parse_limit(const char *text, double *ret)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || !(number > 0))
        return false;
    *ret = number;
    return true;
}

/* CPUs by the cgroup's quota (versions 2 and 1), or `n_cpu` where there is none below it. */
static double quota_cpus(const char *sysfs, double n_cpu)
{
    char path[512], text[64];
    double quota, period = 100000;
    snprintf(path, sizeof(path), "%s/fs/cgroup/cpu.max", sysfs);
    if (read_text(path, text, sizeof(text))) { /* "150000 100000" or "max 100000" */
        if (!parse_limit(text, &quota))
            return n_cpu;
        const char *second = strchr(text, ' ');
        if (second != NULL)
            (void)parse_limit(second, &period);
        return VD_MIN(n_cpu, quota / period);
    }
    snprintf(path, sizeof(path), "%s/fs/cgroup/cpu/cpu.cfs_quota_us", sysfs);
    if (!read_text(path, text, sizeof(text)) || !parse_limit(text, &quota))
        return n_cpu;
    snprintf(path, sizeof(path), "%s/fs/cgroup/cpu/cpu.cfs_period_us", sysfs);
    if (read_text(path, text, sizeof(text)))
        (void)parse_limit(text, &period);
    return VD_MIN(n_cpu, quota / period);
}

static uint64_t find_memory(const char *sysfs)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    static const char *const files[] = {"memory.max", "memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < VD_COUNT(files); i++) {
        char path[512], text[64];
        double limit;
        snprintf(path, sizeof(path), "%s/fs/cgroup/%s", sysfs, files[i]);
        if (read_text(path, text, sizeof(text)) && parse_limit(text, &limit) &&
            limit < (double)bytes)
            bytes = (uint64_t)limit;
    }
    return bytes;
}

void vd_machine_find(const char *sysfs, vd_machine *ret_machine)
{
    *ret_machine = (vd_machine){0};
    find_cpu(ret_machine);
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                          : sysconf(_SC_NPROCESSORS_ONLN);
    ret_machine->n_cpu = quota_cpus(sysfs, n > 0 ? (double)n : 1);
    ret_machine->memory_bytes = find_memory(sysfs);
}
