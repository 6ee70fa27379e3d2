/*
 * doctor_memory.c - how much memory there is, and how fast it can be read (base/bandwidth.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "cli/doctor.h"

static const uint64_t least_bytes = UINT64_C(64) << 20;
/* Shared caches of a host may be larger than what a virtual machine is shown. */
static const uint64_t wanted_bytes = UINT64_C(512) << 20, most_bytes = UINT64_C(8) << 30;

/* A line "MemAvailable:   123 kB" of /proc/meminfo in bytes, or 0. */
static uint64_t meminfo(const char *key)
{
    char line[256];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return 0;
    size_t n = strlen(key);
    while (bytes == 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            bytes = (uint64_t)strtoull(line + n + 1, NULL, 10) * 1024;
    fclose(file);
    return bytes;
}

/* The word in brackets of "always [madvise] never". */
static void find_huge_pages(char *text, size_t size)
{
    char line[128];
    snprintf(text, size, "unknown");
    if (!vd_doctor_line("/sys/kernel/mm/transparent_hugepage", "enabled", line, sizeof(line)))
        return;
    const char *open = strchr(line, '[');
    if (open != NULL)
        snprintf(text, size, "%.*s", (int)VD_MIN(strcspn(open + 1, "]"), size - 1), open + 1);
}

void vd_doctor_memory_find(vd_doctor_memory *memory, uint64_t limit_bytes)
{
    char line[64];
    memory->total_bytes = meminfo("MemTotal");
    memory->usable_bytes = limit_bytes;
    memory->available_bytes = meminfo("MemAvailable");
    find_huge_pages(memory->huge_pages, sizeof(memory->huge_pages));
    if (limit_bytes >= memory->total_bytes ||
        !vd_doctor_line(vd_doctor_sysfs(), "fs/cgroup/memory.current", line, sizeof(line)))
        return;
    uint64_t used = (uint64_t)strtoull(line, NULL, 10);
    uint64_t left = used < limit_bytes ? limit_bytes - used : 0;
    memory->available_bytes = VD_MIN(memory->available_bytes, left);
}

void vd_doctor_bandwidth_measure(vd_bandwidth *bandwidth, const vd_doctor_cpu *cpu,
                                 const vd_doctor_memory *memory)
{
    uint64_t bytes = VD_MIN(VD_MAX(wanted_bytes, 2 * cpu->last_level_bytes), most_bytes);
    bytes = VD_MIN(bytes, memory->available_bytes / 4);
    if (bytes < least_bytes) {
        snprintf(bandwidth->why_not, sizeof(bandwidth->why_not), "too little memory is available");
        return;
    }
    vd_bandwidth_measure(bytes, 0, bandwidth);
}
