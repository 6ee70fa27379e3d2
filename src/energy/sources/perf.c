/*
 * perf.c - RAPL through perf events: the PMU `power` (arch/x86/events/rapl.c of the kernel).
 *
 *   bus/event_source/devices/power/type                 9
 *   bus/event_source/devices/power/cpumask              0,28            one CPU for each package
 *   bus/event_source/devices/power/events/energy-pkg    event=0x02      also energy-ram, -psys
 *   bus/event_source/devices/power/events/energy-pkg.scale   2.3283064365386962890625e-10
 *   bus/event_source/devices/power/events/energy-pkg.unit               Joules
 *
 * The kernel reads the registers itself before they wrap and counts in 64 bits of 2^-32 J, so that
 * nothing of a wrap is seen here: 99 days at 500 W, and the difference of two readings is right
 * even then. Counting starts at 0 when it is opened. The counters of one CPU are a group, whose
 * reading is one system call; the kernel asks the package's CPU. Those that will not be grouped are
 * read one by one. System-wide counting needs CAP_PERFMON or perf_event_paranoid <= 0.
 *
 * The PMU has one CPU per die. Intel's dies have counters of their own. AMD's (and Hygon's) show
 * that of the socket, and kernels of 2024 took a core complex for a die: the first CPU of each
 * package is read, the others are its twins.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/rapl/rapl_file.h"
#include "energy/sources/counters.h"
#include "energy/sources/perf_group.h"
#include "energy/sources/rapl.h"

__extension__ typedef unsigned __int128 wide;

enum { CPUS_MAX = 64, GROUPS_MAX = 2 * CPUS_MAX };

/* vd_rapl.self: what is needed to open a counter, now and again after it was lost. */
typedef struct pmu {
    char dir[VD_RAPL_PATH_MAX];
    uint32_t type;
    int cpu[CPUS_MAX];
    size_t n_cpus;
    bool shared_dies; /* all dies of a package show one counter */
    vd_perf_open_fn open_perf;
    void *ctx;
    size_t n_groups;
    vd_perf_group group[GROUPS_MAX];
} pmu;

/* "0,28" or "0-1,4"; false when it is anything else. */
static bool parse_cpus(const char *text, int *cpu, size_t *ret_n)
{
    size_t n = 0;
    for (const char *at = text;;) {
        char *end;
        long from = strtol(at, &end, 10), to = from;
        if (end == at || from < 0)
            return false;
        if (*end == '-') {
            at = end + 1;
            to = strtol(at, &end, 10);
            if (end == at || to < from)
                return false;
        }
        for (long i = from; i <= to; i++) {
            if (n == CPUS_MAX || i > 1 << 20)
                return false;
            cpu[n++] = (int)i;
        }
        if (*end == '\0')
            break;
        if (*end != ',')
            return false;
        at = end + 1;
    }
    *ret_n = n;
    return true;
}

static vd_status find_pmu(const vd_source_env *env, pmu *p, vd_err *err)
{
    char text[512];
    uint64_t type;
    snprintf(p->dir, sizeof(p->dir), "%.480s/bus/event_source/devices/power", env->sysfs);
    if (access(p->dir, F_OK) != 0)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "there is no %s: this kernel counts no energy",
                       p->dir);
    if (!vd_rapl_file_number(p->dir, "type", &type) || type > UINT32_MAX ||
        !vd_rapl_file_text(p->dir, "cpumask", text, sizeof(text)) ||
        !parse_cpus(text, p->cpu, &p->n_cpus))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: type or cpumask is malformed", p->dir);
    p->type = (uint32_t)type;
    p->open_perf = env->open_perf;
    p->ctx = env->ctx;
    char cpus[VD_RAPL_PATH_MAX];
    snprintf(cpus, sizeof(cpus), "%.480s/devices/system/cpu", env->sysfs);
    /* "cpu:type:x86,ven0002fam0017mod0031:feature:..." */
    if (vd_rapl_file_start(cpus, "modalias", text, sizeof(text)))
        p->shared_dies = strstr(text, "ven0002") != NULL || strstr(text, "ven0009") != NULL;
    return VD_OK;
}

typedef struct event {
    const char *name, *zone; /* "energy-pkg", and what powercap calls such a zone: "package" */
    uint64_t code;
    uint64_t factor; /* its unit as microjoules with 32 bits of fraction */
} event;

/* Fills code and factor. NOT_FOUND: there is no such event. */
static vd_status find_event(const pmu *p, event *e, vd_err *err)
{
    char dir[VD_RAPL_PATH_MAX + 16], file[64], text[64], *end;
    snprintf(dir, sizeof(dir), "%s/events", p->dir);
    if (!vd_rapl_file_text(dir, e->name, text, sizeof(text)))
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "%s has no %s", dir, e->name);
    if (strncmp(text, "event=0x", 8) != 0)
        goto malformed;
    e->code = strtoull(text + 8, &end, 16);
    if (end == text + 8 || *end != '\0')
        goto malformed;
    snprintf(file, sizeof(file), "%s.unit", e->name);
    if (!vd_rapl_file_text(dir, file, text, sizeof(text)) || strcmp(text, "Joules") != 0)
        goto malformed;
    snprintf(file, sizeof(file), "%s.scale", e->name);
    if (!vd_rapl_file_text(dir, file, text, sizeof(text)))
        goto malformed;
    double scale = strtod(text, &end);
    if (*end != '\0' || !(scale > 0) || scale > 1)
        goto malformed;
    e->factor = (uint64_t)llround(ldexp(scale * 1e6, 32));
    return VD_OK;
malformed:
    return VD_FAIL(err, VD_ERR_FORMAT, "%s/%s: its code, unit or scale is malformed", dir,
                   e->name);
}

/* A new group of the zone's CPU; NULL: more than any machine has. */
static vd_perf_group *new_group(pmu *p, int cpu)
{
    if (p->n_groups == GROUPS_MAX)
        return NULL;
    vd_perf_group *group = &p->group[p->n_groups++];
    *group = (vd_perf_group){
        .fd = -1, .cpu = cpu, .type = p->type, .open = p->open_perf, .ctx = p->ctx};
    return group;
}

static int join(vd_rapl_zone *zone, pmu *p, vd_perf_group *group)
{
    int saved = vd_perf_group_add(group, zone->perf.code, &zone->fd);
    if (saved != 0)
        return saved;
    zone->perf.group = (size_t)(group - p->group);
    zone->perf.member = group->n - 1;
    zone->perf.raw = group->count[zone->perf.member];
    return 0;
}

/* Opens the zone's event in the group of its CPU, or by itself where it cannot stand in that. */
static int open_zone(pmu *p, vd_rapl_zone *zone)
{
    for (size_t i = 0; i < p->n_groups; i++)
        if (p->group[i].cpu == zone->perf.cpu && p->group[i].fd >= 0 &&
            join(zone, p, &p->group[i]) == 0)
            return 0;
    vd_perf_group *group = new_group(p, zone->perf.cpu);
    if (group == NULL)
        return ENOSPC;
    int saved = join(zone, p, group);
    if (saved != 0)
        p->n_groups--;
    return saved;
}

/* The zone that is this member of the group, or NULL. */
static vd_rapl_zone *find_member(vd_rapl *rapl, size_t group, size_t member)
{
    for (size_t i = 0; i < rapl->n_zones; i++) {
        vd_rapl_zone *zone = &rapl->zone[i];
        if (zone->info.use == VD_RAPL_READ && zone->perf.group == group &&
            zone->perf.member == member)
            return zone;
    }
    return NULL;
}

static void close_group(vd_rapl *rapl, size_t index)
{
    const pmu *p = rapl->self;
    for (size_t i = p->group[index].n; i-- > 0;) { /* the leader last */
        vd_rapl_zone *zone = find_member(rapl, index, i);
        if (zone != NULL)
            vd_rapl_zone_close(zone);
    }
}

/* Opens all members of a group that was lost; 0 or an errno, and none is open. */
static int open_group_again(vd_rapl *rapl, size_t index)
{
    pmu *p = rapl->self;
    vd_perf_group *group = &p->group[index];
    size_t n = group->n;
    int saved = 0;
    group->n = 0;
    for (size_t i = 0; i < n && saved == 0; i++) {
        vd_rapl_zone *zone = find_member(rapl, index, i);
        saved = zone != NULL ? join(zone, p, group) : ENODEV;
    }
    if (saved != 0) {
        close_group(rapl, index);
        group->fd = -1;
        group->n = n; /* to be tried again */
    }
    return saved;
}

/* vd_rapl.refresh: asks each group once. */
static void perf_refresh(vd_rapl *rapl)
{
    pmu *p = rapl->self;
    for (size_t i = 0; i < p->n_groups; i++) {
        vd_perf_group *group = &p->group[i];
        if (group->fd < 0) { /* it was lost: counts from now on, and what was before is unseen */
            int saved = open_group_again(rapl, i);
            group->error = saved != 0 ? saved : ENODATA;
        } else if (vd_perf_group_read(group) == ENODEV) {
            close_group(rapl, i);
            group->fd = -1;
        }
    }
}

/* vd_rapl.value: what was counted since it was opened, in microjoules. */
static int perf_value(vd_rapl *rapl, vd_rapl_zone *zone, uint64_t *ret_uj)
{
    const pmu *p = rapl->self;
    const vd_perf_group *group = &p->group[zone->perf.group];
    if (group->error != 0)
        return group->error;
    uint64_t raw = group->count[zone->perf.member];
    wide fraction = (wide)(raw - zone->perf.raw) * zone->perf.factor + zone->perf.rest;
    zone->perf.raw = raw;
    zone->perf.rest = (uint32_t)fraction;
    zone->perf.uj += (uint64_t)(fraction >> 32);
    *ret_uj = zone->perf.uj;
    return 0;
}

static uint64_t topology(const vd_source_env *env, int cpu, const char *file, uint64_t otherwise)
{
    char dir[VD_RAPL_PATH_MAX];
    uint64_t id = otherwise;
    snprintf(dir, sizeof(dir), "%.440s/devices/system/cpu/cpu%d/topology", env->sysfs, cpu);
    (void)vd_rapl_file_number(dir, file, &id);
    return id;
}

static size_t n_cpus_of(const vd_source_env *env, const pmu *p, uint64_t package)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_cpus; i++)
        n += topology(env, p->cpu[i], "physical_package_id", i) == package;
    return n;
}

static void name_zone(const vd_source_env *env, const pmu *p, size_t i, uint64_t package,
                      const char *kind, char *name, size_t size)
{
    if (strcmp(kind, "package") != 0)
        snprintf(name, size, "%s", kind);
    else if (n_cpus_of(env, p, package) > 1)
        snprintf(name, size, "package-%u-die-%u", (unsigned)package,
                 (unsigned)topology(env, p->cpu[i], "die_id", i));
    else
        snprintf(name, size, "package-%u", (unsigned)package);
}

/* Adds the event as a zone of the i-th CPU's package and opens it. 0 or an errno. */
static int add_zone(const vd_source_env *env, vd_rapl *rapl, const event *e, size_t i)
{
    pmu *p = rapl->self;
    char id[VD_RAPL_ID_MAX], name[32];
    uint64_t package = topology(env, p->cpu[i], "physical_package_id", i);
    snprintf(id, sizeof(id), "power:%s:%d", e->name, p->cpu[i]);
    name_zone(env, p, i, package, e->zone, name, sizeof(name));
    vd_rapl_zone *zone = vd_rapl_zone_add(rapl, id, name, 0);
    if (zone == NULL)
        return 0; /* more than any machine has */
    zone->perf.code = e->code;
    zone->perf.factor = e->factor;
    zone->perf.cpu = p->cpu[i];
    for (size_t k = 0; k < i && p->shared_dies; k++)
        if (topology(env, p->cpu[k], "physical_package_id", k) == package)
            zone->info.use = VD_RAPL_TWIN;
    int saved = zone->info.use == VD_RAPL_READ ? open_zone(p, zone) : 0;
    vd_rapl_zone_opened(zone, saved, env->now_ns);
    return saved;
}

/* `needed`: all of its zones must be readable. */
static vd_status add_event(const vd_source_env *env, vd_rapl *rapl, const char *name,
                           const char *zone, bool needed, vd_err *err)
{
    const pmu *p = rapl->self;
    event e = {.name = name, .zone = zone};
    vd_status st = find_event(p, &e, err);
    if (st != VD_OK)
        return st;
    size_t n = strcmp(zone, "psys") == 0 ? 1 : p->n_cpus; /* the platform has one */
    for (size_t i = 0; i < n; i++) {
        int saved = add_zone(env, rapl, &e, i);
        if (saved == 0 || !needed)
            continue;
        if (saved == EACCES || saved == EPERM)
            return VD_FAIL(err, VD_ERR_PERM,
                           "perf events of the whole machine need CAP_PERFMON, or "
                           "kernel.perf_event_paranoid at 0 or below");
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "the perf event %s of CPU %d cannot be opened: %s",
                       name, p->cpu[i], strerror(saved));
    }
    return VD_OK;
}

static vd_status open_events(const vd_source_env *env, vd_rapl *rapl, vd_err *err)
{
    if (rapl->psys)
        return add_event(env, rapl, "energy-psys", "psys", true, err);
    vd_status st = add_event(env, rapl, "energy-pkg", "package", true, err);
    if (st != VD_OK)
        return st;
    vd_err missing = {0}; /* AMD and Intel's desktops have no counter of the memory */
    st = add_event(env, rapl, "energy-ram", "dram", false, &missing);
    return st == VD_OK || st == VD_ERR_NOT_FOUND ? VD_OK : VD_FAIL(err, st, "%s", missing.message);
}

vd_status vd_perf_open(const vd_source_env *env, bool psys, vd_source *ret_source, vd_err *err)
{
    vd_rapl *rapl = vd_calloc(1, sizeof(*rapl));
    pmu *p = vd_calloc(1, sizeof(*p));
    vd_status st = VD_OK;
    if (rapl == NULL || p == NULL) {
        vd_free(p);
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the energy counters");
        goto out;
    }
    rapl->psys = psys;
    rapl->relative = true;
    rapl->refresh = perf_refresh;
    rapl->value = perf_value;
    rapl->self = p;
    rapl->free_self = vd_free;
    st = find_pmu(env, p, err);
    if (st == VD_OK)
        st = open_events(env, rapl, err);
    if (st != VD_OK)
        goto out;
    snprintf(rapl->root, sizeof(rapl->root), "%s", p->dir);
    vd_rapl_settle(rapl);
    vd_counters_source(rapl, psys ? "psys by perf events" : "rapl by perf events", ret_source);
    rapl = NULL;
out:
    vd_counters_free(rapl);
    return st;
}
