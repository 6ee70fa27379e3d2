/* doctor_cpu.c - cores, caches and instruction sets, as hwloc and the kernel show them. */
#include <fcntl.h>
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/pool.h"
#include "cli/doctor.h"

const char *vd_doctor_sysfs(void)
{
    const char *sysfs = getenv("VERDANT_SYSFS");
    return sysfs != NULL && sysfs[0] != '\0' ? sysfs : "/sys";
}

bool vd_doctor_line(const char *root, const char *path, char *text, size_t size)
{
    char full[VD_DOCTOR_PATH_MAX];
    text[0] = '\0';
    int n = snprintf(full, sizeof(full), "%s/%s", root, path);
    if (n < 0 || (size_t)n >= sizeof(full))
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text[0] != '\0';
}

static size_t count(hwloc_topology_t topology, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(topology, type);
    return n > 0 ? (size_t)n : 0;
}

static void find_caches(hwloc_topology_t topology, vd_doctor_cpu *cpu)
{
    static const struct {
        hwloc_obj_type_t type;
        unsigned level;
        const char *kind;
    } types[] = {
        {HWLOC_OBJ_L1CACHE, 1, "data"},    {HWLOC_OBJ_L1ICACHE, 1, "instruction"},
        {HWLOC_OBJ_L2CACHE, 2, "unified"}, {HWLOC_OBJ_L3CACHE, 3, "unified"},
        {HWLOC_OBJ_L4CACHE, 4, "unified"}, {HWLOC_OBJ_L5CACHE, 5, "unified"},
    };
    for (size_t i = 0; i < VD_COUNT(types); i++) {
        hwloc_obj_t first = hwloc_get_obj_by_type(topology, types[i].type, 0);
        if (first == NULL || first->attr == NULL || first->attr->cache.size == 0)
            continue;
        vd_doctor_cache *cache = &cpu->cache[cpu->n_caches++];
        *cache = (vd_doctor_cache){.level = types[i].level,
                                   .kind = types[i].kind,
                                   .bytes = first->attr->cache.size,
                                   .n = count(topology, types[i].type)};
        if (types[i].type != HWLOC_OBJ_L1ICACHE)
            cpu->last_level_bytes = cache->bytes * cache->n;
    }
}

/* Is `word` one of the words in `text`, which are separated by blanks? */
static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += n)
        if ((at == text || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' ' || at[n] == '\n'))
            return true;
    return false;
}

/* The instruction sets that a model server can use, those of x86-64 and those of Arm. */
static void find_extensions(vd_doctor_cpu *cpu)
{
    static const char *const wanted[] = {
        "avx",         "f16c",        "fma",          "avx2",     "avx_vnni", "avx512f",
        "avx512bw",    "avx512vl",    "avx512_vnni",  "avx512_bf16", "avx512_fp16", "avx512_vbmi2",
        "amx_tile",    "amx_int8",    "amx_bf16",     "asimd",    "asimdhp",  "asimddp",
        "i8mm",        "bf16",        "sve",          "sve2"};
    char line[8192];
    size_t used = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || (strncmp(line, "flags", 5) != 0 && strncmp(line, "Features", 8) != 0))
            continue;
        for (size_t i = 0; i < VD_COUNT(wanted); i++)
            if (has_word(colon + 1, wanted[i]) &&
                used + strlen(wanted[i]) + 2 < sizeof(cpu->extensions))
                used += (size_t)snprintf(cpu->extensions + used, sizeof(cpu->extensions) - used,
                                         "%s%s", used > 0 ? " " : "", wanted[i]);
        break;
    }
    fclose(file);
}

void vd_doctor_cpu_find(vd_doctor_cpu *cpu)
{
    hwloc_topology_t topology;
    find_extensions(cpu);
    cpu->n_usable_cores = vd_pool_n_cores();
    if (hwloc_topology_init(&topology) != 0)
        return;
    /* Caches of instructions are left out of the topology unless asked for. */
    hwloc_topology_set_icache_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
    if (hwloc_topology_load(topology) == 0) {
        cpu->n_packages = count(topology, HWLOC_OBJ_PACKAGE);
        cpu->n_cores = count(topology, HWLOC_OBJ_CORE);
        cpu->n_threads = count(topology, HWLOC_OBJ_PU);
        cpu->n_numa = count(topology, HWLOC_OBJ_NUMANODE);
        find_caches(topology, cpu);
    }
    hwloc_topology_destroy(topology);
}
