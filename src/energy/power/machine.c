/* machine.c - see machine.h. */
#include "energy/power/machine.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/checked.h"

#define SPEC                                                                                       \
    "SPECpower_ssj2008 results published to March 2026, as collected by ccf-coefficients"

/* Watts of a whole server per hardware thread, waiting and at full load, and the nominal clock and
 * cores per chip that go with them: geometric means of the results of a family, `n` of them. The
 * source gives none for a processor that is not told apart: there, the mean of all since 2014. */
typedef struct family_row {
    const char *name;
    double idle_w, full_w, mhz, cores;
    int n;
} family_row;

enum {
    EPYC_1,
    EPYC_2,
    EPYC_3,
    EPYC_4,
    EPYC_5,
    SANDY_BRIDGE,
    IVY_BRIDGE,
    HASWELL,
    BROADWELL,
    SKYLAKE_CLIENT,
    SKYLAKE,
    CASCADE_LAKE,
    COFFEE_LAKE,
    ROCKET_LAKE,
    ICE_LAKE,
    SAPPHIRE_RAPIDS,
    EMERALD_RAPIDS,
    GRANITE_RAPIDS,
    SIERRA_FOREST,
    NEOVERSE,
    UNKNOWN
};

static const family_row families[] = {
    [EPYC_1] = {"AMD Zen (EPYC 1st generation)", 0.79, 2.50, 2157, 29.9, 10},
    [EPYC_2] = {"AMD Zen 2 (EPYC 2nd generation)", 0.45, 1.69, 2163, 64.0, 36},
    [EPYC_3] = {"AMD Zen 3 (EPYC 3rd generation)", 0.44, 1.95, 2368, 64.0, 28},
    [EPYC_4] = {"AMD Zen 4 (EPYC 4th generation)", 0.39, 1.78, 2327, 78.7, 74},
    [EPYC_5] = {"AMD Zen 5 and later (EPYC 5th generation)", 0.24, 1.37, 2264, 134.7, 43},
    [SANDY_BRIDGE] = {"Intel Sandy Bridge", 2.06, 8.35, 2324, 7.4, 126},
    [IVY_BRIDGE] = {"Intel Ivy Bridge", 2.48, 7.70, 2659, 5.4, 12},
    [HASWELL] = {"Intel Haswell", 0.87, 4.53, 2353, 12.6, 21},
    [BROADWELL] = {"Intel Broadwell", 0.62, 3.50, 2188, 21.0, 17},
    [SKYLAKE_CLIENT] = {"Intel Skylake (client)", 1.80, 5.86, 2675, 4.0, 4},
    [SKYLAKE] = {"Intel Skylake", 0.54, 3.98, 2376, 27.4, 78},
    [CASCADE_LAKE] = {"Intel Cascade Lake", 0.65, 4.01, 2573, 26.5, 77},
    [COFFEE_LAKE] = {"Intel Coffee Lake", 1.12, 5.19, 3700, 6.6, 9},
    [ROCKET_LAKE] = {"Intel Rocket Lake", 1.28, 5.09, 3200, 7.6, 22},
    [ICE_LAKE] = {"Intel Ice Lake", 0.94, 4.15, 2383, 35.5, 51},
    [SAPPHIRE_RAPIDS] = {"Intel Sapphire Rapids", 0.98, 3.96, 1947, 49.8, 63},
    [EMERALD_RAPIDS] = {"Intel Emerald Rapids", 0.82, 3.46, 2010, 55.5, 33},
    [GRANITE_RAPIDS] = {"Intel Granite Rapids", 0.60, 2.66, 2093, 78.4, 33},
    [SIERRA_FOREST] = {"Intel Sierra Forest", 0.66, 2.35, 2182, 149.7, 18},
    [NEOVERSE] = {"Arm Neoverse", 0.71, 1.66, 3000, 98.2, 7},
    [UNKNOWN] = {"unknown processor (mean of servers)", 0.61, 2.97, 2321, 42.8, 624},
};

/* How watts per thread go with clock and cores within a family: exponents of a regression over 762
 * results of 20 families. It leaves a standard deviation (of the logarithm) of 0.16 at full load,
 * which is in the prior of power.c; without the cores 0.21, without the clock too 0.25, between
 * families 0.48. docs/power-model.md. */
static const double full_by_clock = 0.52, full_by_cores = -0.44;
static const double idle_by_clock = -0.56, idle_by_cores = -0.84;
static const double sd_known = 0.16, sd_no_cores = 0.21, sd_no_clock = 0.25, sd_no_family = 0.48;

static size_t amd_family(int family, int model)
{
    if (family == 0x17)
        return model < 0x30 ? EPYC_1 : EPYC_2;
    if (family == 0x19) /* 10h-1Fh Genoa, 60h-7Fh desktop, A0h-AFh Bergamo and Siena are Zen 4 */
        return (model >= 0x10 && model < 0x20) || model >= 0x60 ? EPYC_4 : EPYC_3;
    return family > 0x19 ? EPYC_5 : UNKNOWN;
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
        return SKYLAKE_CLIENT;
    case 0x55: /* one model number, two generations: the second is named Gold 62xx and the like */
        return strstr(name, " 32") || strstr(name, " 42") || strstr(name, " 52") ||
                       strstr(name, " 62") || strstr(name, " 82") || strstr(name, " 92")
                   ? CASCADE_LAKE
                   : SKYLAKE;
    case 0x8e:
    case 0x9e:
    case 0xa5:
    case 0xa6:
        return COFFEE_LAKE;
    case 0xa7:
        return ROCKET_LAKE;
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
    case 0xaf:
        return SIERRA_FOREST;
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
    machine->family_source = SPEC;
    machine->family_known = row != UNKNOWN;
    machine->idle_w = families[row].idle_w;
    machine->full_w = families[row].full_w;
    machine->family_mhz = families[row].mhz;
    machine->family_cores = families[row].cores;
}

void vd_machine_power_base(const vd_machine *machine, vd_power_base *ret_base)
{
    bool clock = machine->family_known && machine->base_mhz > 0;
    bool cores = machine->family_known && machine->cores_per_chip > 0;
    double by_clock = clock ? log(machine->base_mhz / machine->family_mhz) : 0;
    double by_cores = cores ? log(machine->cores_per_chip / machine->family_cores) : 0;
    double sd = !machine->family_known ? sd_no_family
                : !clock               ? sd_no_clock
                : !cores               ? sd_no_cores
                                       : sd_known;
    *ret_base = (vd_power_base){
        .full_w = machine->n_cpu * machine->full_w *
                  exp(full_by_clock * by_clock + full_by_cores * by_cores),
        .idle_w = machine->n_cpu * machine->idle_w *
                  exp(idle_by_clock * by_clock + idle_by_cores * by_cores),
        .sd = sqrt(sd * sd - sd_known * sd_known),
    };
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

double vd_machine_name_mhz(const char *name)
{
    const char *at = strrchr(name, '@');
    if (at == NULL)
        return 0;
    char *end;
    double number = strtod(at + 1, &end);
    if (!(number > 0))
        return 0;
    end += strspn(end, " ");
    double mhz = strncasecmp(end, "GHz", 3) == 0   ? number * 1000
                 : strncasecmp(end, "MHz", 3) == 0 ? number
                                                   : 0;
    return mhz >= 100 && mhz <= 20000 ? mhz : 0;
}

/* The nominal clock by the drivers of clocks: Intel's, then that of ACPI (AMD, Arm). */
static double sysfs_mhz(const char *sysfs)
{
    static const struct {
        const char *file;
        double per_mhz;
    } files[] = {{"cpufreq/base_frequency", 1000}, {"acpi_cppc/nominal_freq", 1}};
    for (size_t i = 0; i < VD_COUNT(files); i++) {
        char path[512], text[64];
        snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu0/%s", sysfs, files[i].file);
        double mhz =
            read_text(path, text, sizeof(text)) ? strtod(text, NULL) / files[i].per_mhz : 0;
        if (mhz >= 100 && mhz <= 20000)
            return mhz;
    }
    return 0;
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
    /* A virtual machine's cores are those it was given. */
    cpuinfo_value(text, "cpu cores", value, sizeof(value));
    if (!machine->virtual_machine)
        machine->cores_per_chip = VD_MAX(strtod(value, NULL), 0);
    machine->base_mhz = vd_machine_name_mhz(machine->cpu);
    if (machine->base_mhz == 0 && machine->virtual_machine) { /* there it is the clock of the TSC */
        cpuinfo_value(text, "cpu MHz", value, sizeof(value));
        machine->base_mhz = VD_MAX(strtod(value, NULL), 0);
    }
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
    double mhz = sysfs_mhz(sysfs);
    if (mhz > 0)
        ret_machine->base_mhz = mhz;
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                          : sysconf(_SC_NPROCESSORS_ONLN);
    ret_machine->n_cpu = quota_cpus(sysfs, n > 0 ? (double)n : 1);
    ret_machine->memory_bytes = find_memory(sysfs);
}
