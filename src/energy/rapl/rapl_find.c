/*
 * rapl_find.c - finds the zones of the powercap tree and decides which of them are added up.
 *
 * The kernel lists every zone flat in class/powercap and nested below its control type as well, so
 * we walk both and keep one entry per directory name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fail.h"
#include "energy/rapl/rapl_file.h"

enum {
    DEPTH_MAX = 4,         /* control type / package / sub-zone, and one to spare */
    DIRECTORIES_MAX = 4096 /* links that lead in circles end here; real trees have hundreds */
};

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* "intel-rapl-mmio" of "intel-rapl-mmio:0:1": which interface shows the zone. */
static size_t interface_length(const char *id)
{
    return strcspn(id, ":");
}

static bool same_interface(const vd_rapl_zone *a, const vd_rapl_zone *b)
{
    size_t n = interface_length(a->info.id);
    return n == interface_length(b->info.id) && memcmp(a->info.id, b->info.id, n) == 0;
}

static vd_rapl_zone *find_id(vd_rapl *rapl, const char *id, size_t n_id)
{
    for (size_t i = 0; i < rapl->n_zones; i++)
        if (strlen(rapl->zone[i].info.id) == n_id && memcmp(rapl->zone[i].info.id, id, n_id) == 0)
            return &rapl->zone[i];
    return NULL;
}

/* The package that holds a sub-zone, or NULL: "intel-rapl:0" of "intel-rapl:0:1". */
static vd_rapl_zone *parent_of(vd_rapl *rapl, const vd_rapl_zone *zone)
{
    const char *last = strrchr(zone->info.id, ':');
    return last == NULL ? NULL : find_id(rapl, zone->info.id, (size_t)(last - zone->info.id));
}

/* "psys", or "psys-1" of the second of several packages (intel_rapl_common.c of the kernel). */
static bool is_psys(const char *name)
{
    return strcmp(name, "psys") == 0 || starts_with(name, "psys-");
}

static void classify(vd_rapl_zone_info *info, bool psys)
{
    vd_rapl_use one = psys ? VD_RAPL_PART : VD_RAPL_READ;
    info->part = VD_PART_CPU;
    if (starts_with(info->name, "package-")) {
        info->use = one;
    } else if (strcmp(info->name, "dram") == 0) {
        info->use = one;
        info->part = VD_PART_DRAM;
    } else if (strcmp(info->name, "core") == 0 || strcmp(info->name, "uncore") == 0) {
        info->use = VD_RAPL_PART;
    } else if (is_psys(info->name)) {
        info->use = psys ? VD_RAPL_READ : VD_RAPL_WHOLE;
    } else {
        info->use = VD_RAPL_OTHER;
    }
}

vd_rapl_zone *vd_rapl_zone_add(vd_rapl *rapl, const char *id, const char *name, uint64_t range_uj)
{
    if (strlen(id) >= VD_RAPL_ID_MAX || find_id(rapl, id, strlen(id)) != NULL)
        return NULL;
    if (rapl->n_zones == VD_RAPL_ZONES_MAX) {
        rapl->too_many = true;
        return NULL;
    }
    vd_rapl_zone *zone = &rapl->zone[rapl->n_zones++];
    *zone = (vd_rapl_zone){.fd = -1};
    snprintf(zone->info.id, sizeof(zone->info.id), "%s", id);
    snprintf(zone->info.name, sizeof(zone->info.name), "%s", name);
    zone->info.range_uj = range_uj;
    classify(&zone->info, rapl->psys);
    return zone;
}

/* Takes the directory in as a zone when it has a counter and is not known yet. */
static void add_directory(vd_rapl *rapl, const char *dir, const char *id)
{
    char path[VD_RAPL_PATH_MAX + 32], name[32];
    uint64_t range_uj;
    snprintf(path, sizeof(path), "%s/energy_uj", dir);
    if (strchr(id, ':') == NULL || (access(path, F_OK) != 0 && errno == ENOENT))
        return; /* a control type, or a zone without a counter */
    if (!vd_rapl_file_text(dir, "name", name, sizeof(name)))
        return;
    if (!vd_rapl_file_number(dir, "max_energy_range_uj", &range_uj))
        range_uj = 0;
    vd_rapl_zone *zone = vd_rapl_zone_add(rapl, id, name, range_uj);
    if (zone != NULL)
        snprintf(zone->dir, sizeof(zone->dir), "%s", dir);
}

static void walk(vd_rapl *rapl, const char *dir, int depth)
{
    DIR *listing = depth > DEPTH_MAX ? NULL : opendir(dir);
    if (listing == NULL)
        return;
    const struct dirent *entry;
    while (!rapl->too_many && (entry = readdir(listing)) != NULL) {
        /* Zones and control types are named like these; `device` and `subsystem` lead in circles.
         */
        if (strstr(entry->d_name, "rapl") == NULL)
            continue;
        rapl->too_many |= ++rapl->n_directories > DIRECTORIES_MAX;
        char child[VD_RAPL_PATH_MAX];
        int n = snprintf(child, sizeof(child), "%s/%s", dir, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(child))
            continue;
        add_directory(rapl, child, entry->d_name);
        walk(rapl, child, depth + 1);
    }
    closedir(listing);
}

/* Directories come in any order; shown and added up they stand by id. */
static void sort_zones(vd_rapl *rapl)
{
    for (size_t i = 1; i < rapl->n_zones; i++)
        for (size_t k = i; k > 0; k--) {
            vd_rapl_zone *a = &rapl->zone[k - 1], *b = &rapl->zone[k];
            if (strcmp(a->info.id, b->info.id) <= 0)
                break;
            vd_rapl_zone swap = *a;
            *a = *b;
            *b = swap;
        }
}

void vd_rapl_zone_opened(vd_rapl_zone *zone, int saved, uint64_t now_ns)
{
    zone->last_ns = zone->moved_ns = now_ns;
    if (saved != 0)
        zone->info.use = saved == EACCES || saved == EPERM ? VD_RAPL_DENIED : VD_RAPL_BROKEN;
}

/* The same counter shown by the model-specific registers and by memory-mapped I/O (or another
 * interface to come): the package's name is the same, the interface is not. */
static bool are_twins(vd_rapl *rapl, const vd_rapl_zone *a, const vd_rapl_zone *b)
{
    if (same_interface(a, b) || strcmp(a->info.name, b->info.name) != 0)
        return false;
    const vd_rapl_zone *above_a = parent_of(rapl, a), *above_b = parent_of(rapl, b);
    if (above_a == NULL || above_b == NULL)
        return above_a == above_b;
    return strcmp(above_a->info.name, above_b->info.name) == 0;
}

/* One die's view of a counter that all dies of the package show. A package of several dies has a
 * zone for each, "package-0-die-1". Intel's dies count for themselves; on AMD (Zen and Zen 2, later
 * ones under kernels that take a core complex for a die) each shows the one counter of the socket,
 * and their sum would be a multiple of it. Counters of their own drift apart in seconds. */
static bool are_mirrors(const vd_rapl_zone *a, const vd_rapl_zone *b)
{
    static const uint64_t near_uj = 5000000; /* 500 W for the 10 ms between the two readings */
    unsigned package_a, package_b, die;
    if (a->info.use != VD_RAPL_READ || b->info.use != VD_RAPL_READ || !same_interface(a, b) ||
        sscanf(a->info.name, "package-%u-die-%u", &package_a, &die) != 2 ||
        sscanf(b->info.name, "package-%u-die-%u", &package_b, &die) != 2 || package_a != package_b)
        return false;
    uint64_t low = VD_MIN(a->last_uj, b->last_uj), high = VD_MAX(a->last_uj, b->last_uj);
    return high - low < near_uj || /* or one has wrapped between the readings */
           (high <= a->info.range_uj && a->info.range_uj - high + low < near_uj);
}

/* Of two zones with one counter one is read: a readable one before an unreadable one, the one with
 * the plain interface (registers) before others. */
static vd_rapl_zone *worse_of(vd_rapl_zone *a, vd_rapl_zone *b)
{
    bool reads_a = a->info.use == VD_RAPL_READ, reads_b = b->info.use == VD_RAPL_READ;
    if (reads_a != reads_b)
        return reads_a ? b : a;
    return interface_length(a->info.id) <= interface_length(b->info.id) ? b : a;
}

/* A package inside a package is a part of it. The kernel shows none, but links can. */
static void find_inner_packages(vd_rapl *rapl)
{
    for (size_t i = 0; i < rapl->n_zones; i++) {
        vd_rapl_zone *zone = &rapl->zone[i];
        const vd_rapl_zone *above = parent_of(rapl, zone);
        if (zone->info.use != VD_RAPL_READ || zone->info.part != VD_PART_CPU || above == NULL ||
            !starts_with(above->info.name, "package-"))
            continue;
        zone->info.use = VD_RAPL_PART;
        vd_rapl_zone_close(zone);
    }
}

static void choose_twins(vd_rapl *rapl)
{
    for (size_t i = 0; i < rapl->n_zones; i++)
        for (size_t k = i + 1; k < rapl->n_zones; k++) {
            vd_rapl_zone *a = &rapl->zone[i], *b = &rapl->zone[k];
            if (a->info.use == VD_RAPL_TWIN || b->info.use == VD_RAPL_TWIN ||
                !(are_twins(rapl, a, b) || (!rapl->relative && are_mirrors(a, b))))
                continue;
            vd_rapl_zone *worse = worse_of(a, b);
            worse->info.use = VD_RAPL_TWIN;
            vd_rapl_zone_close(worse);
        }
}

static void say(vd_rapl *rapl, vd_status why, const char *fmt, ...) VD_PRINTF(3, 4);
static void say(vd_rapl *rapl, vd_status why, const char *fmt, ...)
{
    rapl->why = why;
    va_list args;
    va_start(args, fmt);
    vsnprintf(rapl->why_text, sizeof(rapl->why_text), fmt, args);
    va_end(args);
}

/* Is what can be read enough to serve? One unread package would be a figure that is too low. */
static void judge(vd_rapl *rapl)
{
    const vd_rapl_zone *denied = NULL, *broken = NULL;
    bool has_package = false, has_unread_memory = false;
    for (size_t i = 0; i < rapl->n_zones; i++) {
        const vd_rapl_zone *zone = &rapl->zone[i];
        bool read = zone->info.use == VD_RAPL_READ, memory = zone->info.part == VD_PART_DRAM;
        has_package |= read && !memory;
        rapl->has_dram |= read && memory;
        if (zone->info.use == VD_RAPL_DENIED)
            denied = denied == NULL ? zone : denied;
        else if (zone->info.use == VD_RAPL_BROKEN && memory)
            has_unread_memory = true;
        else if (zone->info.use == VD_RAPL_BROKEN)
            broken = broken == NULL ? zone : broken;
    }
    if (rapl->too_many) { /* those that do not fit would be missing in the sum */
        say(rapl, VD_ERR_LIMIT, "%s holds more than %d energy counters, or links in circles",
            rapl->root, VD_RAPL_ZONES_MAX);
    } else if (rapl->n_zones == 0 && access(rapl->root, F_OK) != 0) {
        say(rapl, VD_ERR_NOT_FOUND,
            "there is no %s: a virtual machine without pass-through, a processor without RAPL, or "
            "its driver is not loaded",
            rapl->root);
    } else if (rapl->n_zones == 0) {
        say(rapl, VD_ERR_NOT_FOUND,
            "%s holds no energy counter: a container masks it, or the driver is not loaded",
            rapl->root);
    } else if (denied != NULL) {
        say(rapl, VD_ERR_PERM, "%s/energy_uj may be read by root only (since CVE-2020-8694)",
            denied->dir);
    } else if (broken != NULL) {
        say(rapl, VD_ERR_FORMAT, "%s/energy_uj is not a readable number", broken->dir);
    } else if (!has_package) {
        say(rapl, VD_ERR_NOT_FOUND, "%s has no zone named %s", rapl->root,
            rapl->psys ? "psys" : "package-N");
    } else if (!rapl->has_dram && !rapl->psys) {
        say(rapl, VD_OK, "%s",
            has_unread_memory ? "the dram zone is not readable" : "there is no dram zone");
    }
}

void vd_rapl_open(vd_rapl *rapl, const char *sysfs, bool psys, vd_rapl_open_fn open_file, void *ctx,
                  uint64_t now_ns)
{
    *rapl = (vd_rapl){.psys = psys, .open_file = open_file, .ctx = ctx};
    int n = snprintf(rapl->root, sizeof(rapl->root), "%s/class/powercap", sysfs);
    if (n < 0 || (size_t)n >= sizeof(rapl->root)) {
        say(rapl, VD_ERR_ARG, "the path of the system tree is too long");
        return;
    }
    walk(rapl, rapl->root, 0);
    for (size_t i = 0; i < rapl->n_zones; i++) {
        vd_rapl_zone *zone = &rapl->zone[i];
        if (zone->info.use == VD_RAPL_READ)
            vd_rapl_zone_opened(zone, vd_rapl_zone_open(rapl, zone, &zone->last_uj), now_ns);
    }
    vd_rapl_settle(rapl);
}

void vd_rapl_settle(vd_rapl *rapl)
{
    sort_zones(rapl);
    find_inner_packages(rapl);
    choose_twins(rapl);
    judge(rapl);
}

void vd_rapl_close(vd_rapl *rapl)
{
    for (size_t i = 0; i < rapl->n_zones; i++)
        vd_rapl_zone_close(&rapl->zone[i]);
    rapl->n_zones = 0;
    if (rapl->free_self != NULL)
        rapl->free_self(rapl->self);
    rapl->self = NULL;
}

const char *vd_rapl_use_text(vd_rapl_use use)
{
    static const char *const text[] = {
        [VD_RAPL_READ] = "read",
        [VD_RAPL_PART] = "inside another, not added",
        [VD_RAPL_WHOLE] = "holds the packages, not added",
        [VD_RAPL_TWIN] = "twin of another, not added",
        [VD_RAPL_DENIED] = "permission denied",
        [VD_RAPL_BROKEN] = "not readable",
        [VD_RAPL_OTHER] = "unknown kind, not added",
    };
    return (size_t)use < VD_COUNT(text) ? text[use] : "?";
}
