/*
 * amdgpu.c - the energy of AMD GPUs (vd_source_amdgpu_open in sources.h; docs/meters.md).
 *
 *   class/drm/card0/device/vendor                     0x1002
 *   class/drm/card0/device/gpu_metrics                a table whose byte 2 is its format: 1 for a
 *                                                     board, 2 and 3 for a processor with graphics
 *   class/drm/card0/device/hwmon/hwmon3/name          amdgpu
 *                                      /energy1_input microjoules, where the driver has it
 *                                      /power1_average, power1_input   microwatts
 *
 * Files and units: drivers/gpu/drm/amd/pm/amdgpu_pm.c and Documentation/gpu/amdgpu/thermal.rst of
 * the kernel; the table's head: struct metrics_table_header in kgd_pp_interface.h. The power of a
 * processor with graphics is that of its package, which RAPL counts already.
 *
 * AMD's management library (amdsmi) has an accumulator besides; it is the driver's, it stands still
 * on some boards (ROCm/amdsmi issue 38: MI100), and it is not used.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fail.h"
#include "energy/sources/sampler.h"
#include "energy/sources/sensor_set.h"
#include "energy/sources/sources.h"

static const uint64_t period_ns = UINT64_C(50000000);
/* The controller's averages are of up to a second. */
static const uint64_t refresh_ns = UINT64_C(1050000000);
static const double most_w = 3000;
static const uint64_t slack_uj = UINT64_C(3000000000);
static const uint64_t stuck_ns = UINT64_C(10000000000), most_ns = UINT64_C(2000000000);
static const double common_pct = 10, independent_pct = 10; /* docs/meters.md */

/* "card0" in "card0+card1". */
static bool is_asked_for(const char *spec, const char *card)
{
    size_t n = strlen(card);
    const char *at = spec;
    for (size_t len = strcspn(at, "+");; len = strcspn(at, "+")) {
        if (len == n && memcmp(at, card, n) == 0)
            return true;
        if (at[len] == '\0')
            return spec[0] == '\0'; /* all */
        at += len + 1;
    }
}

static size_t n_asked_for(const char *spec)
{
    size_t n = spec[0] != '\0';
    for (const char *at = spec; *at != '\0'; at++)
        n += *at == '+';
    return n;
}

/* card0, but not card0-HDMI-A-1 or renderD128. */
static bool is_card(const char *name)
{
    if (strncmp(name, "card", 4) != 0 || name[4] == '\0')
        return false;
    for (const char *at = name + 4; *at != '\0'; at++)
        if (!isdigit((unsigned char)*at))
            return false;
    return true;
}

/* Graphics inside a processor: by the format of the driver's table. A driver without one is of
 * before 2020, when it had boards only. */
static bool is_in_a_processor(const vd_source_env *env, const char *device)
{
    char path[VD_SENSOR_PATH_MAX];
    unsigned char head[4] = {0};
    snprintf(path, sizeof(path), "%.450s/gpu_metrics", device);
    int fd = env->open_file != NULL ? env->open_file(env->ctx, path)
                                    : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, head, sizeof(head));
    close(fd);
    return n == (ssize_t)sizeof(head) && head[2] >= 2;
}

/* The folder hwmon/hwmonN of the driver, if it has one. */
static bool find_hwmon(const char *device, char folder[VD_SENSOR_PATH_MAX])
{
    char path[VD_SENSOR_PATH_MAX];
    const struct dirent *entry;
    bool found = false;
    snprintf(path, sizeof(path), "%.480s/hwmon", device);
    DIR *listing = opendir(path);
    if (listing == NULL)
        return false;
    while (!found && (entry = readdir(listing)) != NULL)
        if (strncmp(entry->d_name, "hwmon", 5) == 0) {
            snprintf(folder, VD_SENSOR_PATH_MAX, "%.400s/%.40s", path, entry->d_name);
            found = true;
        }
    closedir(listing);
    return found;
}

static vd_status add_card(vd_sensor_set *set, const vd_source_env *env, const char *card,
                          const char *folder, vd_err *err)
{
    static const struct {
        const char *file;
        vd_sensor_kind kind;
    } files[] = {{"energy1_input", VD_SENSOR_COUNTER},
                 {"power1_average", VD_SENSOR_GAUGE},
                 {"power1_input", VD_SENSOR_GAUGE}};
    vd_status st = VD_OK;
    for (size_t i = 0; i < VD_COUNT(files); i++) {
        char path[VD_SENSOR_PATH_MAX];
        vd_channel channel = {.part = VD_PART_GPU,
                              .most_w = most_w,
                              .slack_uj = slack_uj,
                              .stuck_ns = stuck_ns,
                              .most_ns = files[i].kind == VD_SENSOR_GAUGE ? most_ns : 0,
                              .never_zero = true};
        snprintf(channel.name, sizeof(channel.name), "amdgpu %.40s", card);
        snprintf(path, sizeof(path), "%.450s/%s", folder, files[i].file);
        st = vd_sensor_set_add(set, env, path, files[i].kind, &channel, "amdgpu", err);
        if (st == VD_OK)
            snprintf(set->item[set->n - 1].runtime_status, VD_SENSOR_PATH_MAX,
                     "%.400s/class/drm/%.40s/device/power/runtime_status", env->sysfs, card);
        if (st != VD_ERR_NOT_FOUND)
            return st;
    }
    return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                   "%s shows neither energy nor power; name the others: amdgpu:card1", card);
}

static vd_status add_cards(vd_sensor_set *set, const vd_source_env *env, const char *drm,
                           DIR *listing, vd_err *err)
{
    char device[VD_SENSOR_PATH_MAX], folder[VD_SENSOR_PATH_MAX], path[VD_SENSOR_PATH_MAX], text[32];
    const struct dirent *entry;
    vd_status st = VD_OK;
    while (st == VD_OK && (entry = readdir(listing)) != NULL) {
        const char *card = entry->d_name;
        if (!is_card(card) || !is_asked_for(env->spec, card))
            continue;
        snprintf(device, sizeof(device), "%.400s/%.40s/device", drm, card);
        snprintf(path, sizeof(path), "%.480s/vendor", device);
        if (!vd_sensor_text(env, path, text, sizeof(text)) || strcmp(text, "0x1002") != 0 ||
            is_in_a_processor(env, device) || !find_hwmon(device, folder))
            continue;
        st = add_card(set, env, card, folder, err);
    }
    return st;
}

vd_status vd_source_amdgpu_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    char drm[VD_SENSOR_PATH_MAX];
    snprintf(drm, sizeof(drm), "%.400s/class/drm", env->sysfs);
    DIR *listing = opendir(drm);
    if (listing == NULL)
        return VD_FAIL(err, VD_ERR_NOT_FOUND, "no graphics driver: %s is missing", drm);
    vd_sensor_set *set = vd_sensor_set_create();
    vd_status st = set != NULL ? add_cards(set, env, drm, listing, err)
                               : VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter amdgpu");
    closedir(listing);
    if (st == VD_OK && set->n == 0)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "no AMD GPU%s%.100s below %.300s",
                     env->spec[0] != '\0' ? " called " : "", env->spec, drm);
    else if (st == VD_OK && env->spec[0] != '\0' && set->n != n_asked_for(env->spec))
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "of %.100s only %zu can be metered", env->spec, set->n);
    if (st == VD_OK) {
        vd_source source = {.method = "amdgpu",
                            .parts = 1u << VD_PART_GPU,
                            .refresh_ns = refresh_ns,
                            .common_pct = common_pct,
                            .independent_pct = independent_pct};
        snprintf(source.name, sizeof(source.name), "amdgpu: %zu GPU%s", set->n,
                 set->n == 1 ? "" : "s");
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
