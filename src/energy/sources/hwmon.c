/*
 * hwmon.c - any power or energy sensor of the kernel (vd_source_hwmon_open in sources.h;
 * docs/meters.md).
 *
 *   class/hwmon/hwmon2/name              macsmc_hwmon
 *                     /power1_label      Total System Power
 *                     /power1_average    microwatts, a mean; power1_input: at the moment
 *                     /power1_average_interval   milliseconds
 *                     /energy1_input     microjoules, only growing
 *
 * Files and units: Documentation/hwmon/sysfs-interface.rst of the kernel. What a sensor covers is
 * not in them: a driver's name says it, or whoever names the sensor.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/sources/parts.h"
#include "energy/sources/sampler.h"
#include "energy/sources/sensor_set.h"
#include "energy/sources/sources.h"

static const uint64_t period_ns = UINT64_C(100000000);
/* Many drivers ask their chip once a second and answer from memory meanwhile. */
static const uint64_t chip_ns = UINT64_C(1000000000);
static const double most_w = 20000; /* a machine of eight accelerators draws 10 kW */
static const uint64_t slack_uj = UINT64_C(20000000000);
static const uint64_t stuck_ns = UINT64_C(30000000000), most_ns = UINT64_C(5000000000);
static const double common_pct = 10, independent_pct = 5; /* docs/meters.md */

/* What the drivers we know measure, and which of their sensors when none is named: those of
 * amd_energy and zenergy count each core, and the socket that holds them. */
static const struct {
    const char *name, *label;
    unsigned parts;
} known[] = {
    {"amd_energy", "Esocket*", 1u << VD_PART_CPU}, {"zenergy", "Esocket*", 1u << VD_PART_CPU},
    {"fam15h_power", "", 1u << VD_PART_CPU},       {"amdgpu", "", 1u << VD_PART_GPU},
    {"i915", "", 1u << VD_PART_GPU},               {"xe", "", 1u << VD_PART_GPU},
    {"nouveau", "", 1u << VD_PART_GPU},
};

enum { FOUND_MAX = 128, FOLDER_MAX = 440, DRIVER_MAX = 40, LABEL_MAX = 64 };

typedef struct found {
    char folder[FOLDER_MAX + 1];
    char name[DRIVER_MAX], label[LABEL_MAX];
    unsigned number; /* of energyN or powerN */
    bool energy;
    const char *suffix; /* "input" or "average" */
} found;

typedef struct catalogue {
    size_t n;
    found item[FOUND_MAX];
} catalogue;

/* NAME[/LABEL][@PART] */
typedef struct wish {
    char name[DRIVER_MAX], label[LABEL_MAX];
    unsigned parts; /* 0: as the driver's name says */
} wish;

static vd_status parse_wish(const char *spec, wish *w, vd_err *err)
{
    const char *at = strrchr(spec, '@');
    size_t n = at != NULL ? (size_t)(at - spec) : strlen(spec);
    const char *slash = memchr(spec, '/', n);
    size_t n_name = slash != NULL ? (size_t)(slash - spec) : n;
    size_t n_label = slash != NULL ? n - n_name - 1 : 0;
    *w = (wish){.parts = 0};
    if ((at != NULL && !vd_parts_parse(at + 1, &w->parts)) || n_name >= sizeof(w->name) ||
        n_label >= sizeof(w->label))
        return VD_FAIL(err, VD_ERR_ARG,
                       "hwmon: \"%.100s\" is not NAME[/LABEL][@cpu|dram|gpu|all]", spec);
    memcpy(w->name, spec, n_name);
    if (slash != NULL)
        memcpy(w->label, slash + 1, n_label);
    return VD_OK;
}

/* "Esocket*" stands for every label that begins so. */
static bool matches(const char *pattern, const char *label)
{
    size_t n = strlen(pattern);
    if (n > 0 && pattern[n - 1] == '*')
        return strncmp(pattern, label, n - 1) == 0;
    return strcmp(pattern, label) == 0;
}

/* 0 for a driver that we do not know. */
static unsigned parts_of_driver(const char *name)
{
    for (size_t i = 0; i < VD_COUNT(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].parts;
    return 0;
}

/* powerN_average, powerN_input or energyN_input; false for other files. */
static bool parse_file(const char *file, found *f)
{
    bool energy = strncmp(file, "energy", 6) == 0;
    if (!energy && strncmp(file, "power", 5) != 0)
        return false;
    char *end = NULL;
    const char *digits = file + (energy ? 6 : 5);
    unsigned long number = strtoul(digits, &end, 10);
    if (end == digits || digits[0] < '0' || digits[0] > '9' || number > 10000)
        return false;
    f->energy = energy;
    f->number = (unsigned)number;
    f->suffix = strcmp(end, "_input") == 0                ? "input"
                : !energy && strcmp(end, "_average") == 0 ? "average"
                                                          : NULL;
    return f->suffix != NULL;
}

/* A mean is better to integrate than a moment: of the two files of one power, the average. */
static void add_found(catalogue *c, const found *f)
{
    for (size_t i = 0; i < c->n; i++) {
        found *other = &c->item[i];
        if (strcmp(other->folder, f->folder) == 0 && other->energy == f->energy &&
            other->number == f->number) {
            if (strcmp(f->suffix, "average") == 0)
                other->suffix = f->suffix;
            return;
        }
    }
    if (c->n < FOUND_MAX)
        c->item[c->n++] = *f;
}

/* `link` leads to the folder below its device, where only the hwmon folders of that device are:
 * there the sensor is to be found again when its number has changed. */
static void scan_device(catalogue *c, const vd_source_env *env, const char *link)
{
    char path[VD_SENSOR_PATH_MAX], folder[PATH_MAX];
    const struct dirent *entry;
    found f = {.suffix = NULL};
    DIR *listing =
        realpath(link, folder) != NULL && strlen(folder) <= FOLDER_MAX ? opendir(folder) : NULL;
    if (listing == NULL)
        return;
    snprintf(path, sizeof(path), "%.440s/name", folder);
    if (vd_sensor_text(env, path, f.name, sizeof(f.name)))
        while ((entry = readdir(listing)) != NULL) {
            if (!parse_file(entry->d_name, &f))
                continue;
            snprintf(f.folder, sizeof(f.folder), "%.440s", folder);
            snprintf(path, sizeof(path), "%.440s/%s%u_label", folder,
                     f.energy ? "energy" : "power", f.number);
            (void)vd_sensor_text(env, path, f.label, sizeof(f.label));
            add_found(c, &f);
        }
    closedir(listing);
}

static void scan(catalogue *c, const vd_source_env *env)
{
    char root[VD_SENSOR_PATH_MAX], folder[VD_SENSOR_PATH_MAX];
    const struct dirent *entry;
    snprintf(root, sizeof(root), "%.380s/class/hwmon", env->sysfs);
    DIR *listing = opendir(root);
    if (listing == NULL)
        return;
    while ((entry = readdir(listing)) != NULL)
        if (strncmp(entry->d_name, "hwmon", 5) == 0) {
            snprintf(folder, sizeof(folder), "%.400s/%.32s", root, entry->d_name);
            scan_device(c, env, folder);
        }
    closedir(listing);
}

/* "macsmc_hwmon/Total System Power, ina219" */
static void list(const catalogue *c, const char *name, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < c->n && n < size; i++) {
        const found *f = &c->item[i];
        if (name != NULL && strcmp(name, f->name) != 0)
            continue;
        int more = snprintf(text + n, size - n, "%s%s%s%s", n > 0 ? ", " : "", f->name,
                            f->label[0] != '\0' ? "/" : "", f->label);
        n += more > 0 ? (size_t)more : 0;
    }
}

static bool is_wanted(const found *f, const wish *w)
{
    return strcmp(f->name, w->name) == 0 && (w->label[0] == '\0' || matches(w->label, f->label));
}

/* Without a name: the drivers that count a processor's energy. Without a label: what we know of the
 * driver. */
static void complete(const catalogue *c, wish *w)
{
    for (size_t i = 0; w->name[0] == '\0' && i < c->n; i++)
        if (c->item[i].energy && parts_of_driver(c->item[i].name) == 1u << VD_PART_CPU)
            memcpy(w->name, c->item[i].name, sizeof(w->name));
    for (size_t i = 0; w->label[0] == '\0' && i < VD_COUNT(known); i++)
        if (strcmp(known[i].name, w->name) == 0)
            snprintf(w->label, sizeof(w->label), "%s", known[i].label);
    if (w->parts == 0)
        w->parts = parts_of_driver(w->name);
    if (w->parts == 0)
        w->parts = VD_SOURCE_WHOLE;
}

/* Sensors that are not told apart by a label might be parts of each other: those of one device, and
 * those of several devices unless the driver is known to have one of each. */
static vd_status check_single(const catalogue *c, const wish *w, bool energy, vd_err *err)
{
    char names[300];
    bool one_each = parts_of_driver(w->name) != 0;
    const found *first = NULL;
    for (size_t i = 0; w->label[0] == '\0' && i < c->n; i++) {
        const found *f = &c->item[i];
        if (!is_wanted(f, w) || f->energy != energy)
            continue;
        if (first != NULL && (!one_each || strcmp(f->folder, first->folder) == 0)) {
            list(c, w->name, names, sizeof(names));
            return VD_FAIL(err, VD_ERR_ARG,
                           "%s has several sensors: name one, or %s/* to add them up: %s", w->name,
                           w->name, names);
        }
        first = f;
    }
    return VD_OK;
}

static vd_status add_sensor(vd_sensor_set *set, const vd_source_env *env, const found *f,
                            vd_part part, uint64_t *refresh_ns, vd_err *err)
{
    char path[VD_SENSOR_PATH_MAX], text[32];
    const char *what = f->energy ? "energy" : "power";
    vd_channel channel = {.part = part,
                          .most_w = most_w,
                          .slack_uj = slack_uj,
                          .stuck_ns = stuck_ns,
                          .most_ns = f->energy ? 0 : most_ns,
                          .never_zero = part == VD_PART_CPU};
    snprintf(channel.name, sizeof(channel.name), "%.25s %.32s", f->name,
             f->label[0] != '\0' ? f->label : what);
    snprintf(path, sizeof(path), "%.440s/%s%u_average_interval", f->folder, what, f->number);
    if (vd_sensor_text(env, path, text, sizeof(text))) {
        unsigned long ms = strtoul(text, NULL, 10);
        *refresh_ns = VD_MAX(*refresh_ns, period_ns + VD_MIN(ms, 3600000ul) * 1000000u);
    }
    snprintf(path, sizeof(path), "%.440s/%s%u_%s", f->folder, what, f->number, f->suffix);
    return vd_sensor_set_add(set, env, path, f->energy ? VD_SENSOR_COUNTER : VD_SENSOR_GAUGE,
                             &channel, f->name, err);
}

/* The counters of what is wanted, or where there are none its powers. */
static vd_status add_wanted(vd_sensor_set *set, const vd_source_env *env, const catalogue *c,
                            const wish *w, uint64_t *refresh_ns, vd_err *err)
{
    bool energy = false;
    vd_status st = VD_OK;
    char names[300];
    for (size_t i = 0; i < c->n; i++)
        energy |= is_wanted(&c->item[i], w) && c->item[i].energy;
    st = check_single(c, w, energy, err);
    for (size_t i = 0; st == VD_OK && i < c->n; i++)
        if (is_wanted(&c->item[i], w) && c->item[i].energy == energy)
            st = add_sensor(set, env, &c->item[i], vd_parts_home(w->parts), refresh_ns, err);
    if (st != VD_OK || set->n > 0)
        return st;
    list(c, NULL, names, sizeof(names));
    return VD_FAIL(err, VD_ERR_NOT_FOUND,
                   "no hwmon sensor \"%.40s%s%.64s\" of power or energy; there %s%s", w->name,
                   w->label[0] != '\0' ? "/" : "", w->label, c->n > 0 ? "are: " : "is none", names);
}

static vd_status open_set(const vd_source_env *env, vd_sensor_set *set, catalogue *c,
                          vd_source *ret_source, vd_err *err)
{
    wish w;
    uint64_t refresh_ns = chip_ns + period_ns;
    vd_status st = parse_wish(env->spec, &w, err);
    if (st != VD_OK)
        return st;
    scan(c, env);
    complete(c, &w);
    st = add_wanted(set, env, c, &w, &refresh_ns, err);
    if (st != VD_OK)
        return st;
    vd_source source = {.method = "hwmon",
                        .parts = w.parts,
                        .refresh_ns = refresh_ns,
                        .common_pct = common_pct,
                        .independent_pct = independent_pct};
    snprintf(source.name, sizeof(source.name), "hwmon: %.20s%s%.18s", w.name,
             w.label[0] != '\0' ? "/" : "", w.label);
    vd_sampler_plan plan = {.sample = vd_sensor_set_sample,
                            .free = vd_sensor_set_free,
                            .self = set,
                            .period_ns = period_ns};
    return vd_sampler_start(&plan, env, &source, ret_source, err);
}

vd_status vd_source_hwmon_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    vd_sensor_set *set = vd_sensor_set_create();
    catalogue *c = vd_calloc(1, sizeof(*c));
    vd_status st = set != NULL && c != NULL
                       ? open_set(env, set, c, ret_source, err)
                       : VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter hwmon");
    vd_free(c);
    if (st != VD_OK)
        vd_sensor_set_free(set);
    return st;
}
