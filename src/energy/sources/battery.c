/*
 * battery.c - the batteries of a laptop while they are being discharged
 * (vd_source_battery_open in sources.h; docs/meters.md).
 *
 *   class/power_supply/BAT0/type          Battery
 *                          /scope         Device for the battery of a mouse; else none or System
 *                          /status        Discharging, Charging, Full, Not charging, Unknown
 *                          /power_now     microwatts   or current_now x voltage_now (uA, uV)
 *                          /energy_now    microwatt-hours   or charge_now (uAh) x voltage_now
 *   class/power_supply/AC/type            Mains, USB, Wireless
 *                        /online          0, or 1 or 2 while it supplies the machine
 *
 * Files and units: Documentation/ABI/testing/sysfs-class-power of the kernel. Some drivers give a
 * negative current or power while discharging.
 *
 * Power is integrated where there is one, for the levels move in steps of 10 mWh (36 J) or more.
 * While a battery is charged, or full on mains power, it does not see what the machine draws, and
 * where a weak charger helps it sees a part: nothing is known, which is a gap and not zero.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/sources/channel.h"
#include "energy/sources/sampler.h"
#include "energy/sources/sensor.h"
#include "energy/sources/sources.h"

__extension__ typedef __int128 wide;

static const uint64_t period_ns = UINT64_C(1000000000);
/* Laptops renew the figures every 1 to 5 s, some every 30 s; levels move in coarse steps. */
static const uint64_t power_refresh_ns = UINT64_C(6000000000),
                      level_refresh_ns = UINT64_C(60000000000);
static const double most_w = 500;
static const uint64_t slack_uj = UINT64_C(1000000000);   /* steps of up to 0.28 Wh */
static const uint64_t stuck_ns = UINT64_C(600000000000); /* 36 J at 0.06 W */
static const uint64_t most_ns = UINT64_C(10000000000);
static const double common_pct = 5, power_independent_pct = 5, level_independent_pct = 20;

enum { BATTERIES_MAX = 4, CHARGERS_MAX = 8 };

typedef enum way { POWER, CURRENT, ENERGY, CHARGE } way;

typedef struct battery {
    vd_channel channel;
    way way;
    char status[VD_SENSOR_PATH_MAX];
    vd_sensor what, voltage; /* voltage: with CURRENT and CHARGE */
    int64_t level;           /* CHARGE, ENERGY: the last, in uAh or uWh */
    uint64_t used_uj;        /* what they have lost since they were opened */
} battery;

typedef struct battery_meter {
    vd_source_env env; /* for opening files; its strings are gone */
    size_t n, n_chargers;
    battery battery[BATTERIES_MAX];
    char charger[CHARGERS_MAX][VD_SENSOR_PATH_MAX]; /* their files "online" */
} battery_meter;

/* What it says now: microwatts, or microjoules used since the level was known. 0 or an errno. */
static int read_value(battery *b, int64_t *ret_value)
{
    int64_t what = 0, voltage_uv = 1000000;
    int failed = vd_sensor_read(&b->what, &what);
    if (failed == 0 && (b->way == CURRENT || b->way == CHARGE))
        failed = vd_sensor_read(&b->voltage, &voltage_uv);
    if (failed != 0)
        return failed;
    if (b->way == POWER || b->way == CURRENT) {
        wide uw = (wide)what * voltage_uv / 1000000; /* uA x uV is pW */
        *ret_value = (int64_t)(uw < 0 ? -uw : uw);
        return 0;
    }
    wide lost = b->channel.started ? (wide)b->level - what : 0;
    wide uj = lost * voltage_uv / 1000000 * 3600; /* uAh x uV is pWh; a uWh is 3600 uJ */
    b->level = what;
    if (uj >= 0)
        b->used_uj += (uint64_t)uj;
    else
        vd_channel_restart(&b->channel); /* the gauge has corrected itself upwards */
    *ret_value = (int64_t)b->used_uj;
    return 0;
}

/* Which of several batteries serves is the firmware's choice: one that waits while another is being
 * discharged gives nothing, and that is known. */
static void sample_idle(battery *b, uint64_t now_ns, vd_sample *sample)
{
    if (b->way == POWER || b->way == CURRENT)
        vd_channel_gauge(&b->channel, now_ns, 0, sample);
    else
        vd_channel_alive(&b->channel, now_ns);
}

static void sample_battery(battery *b, uint64_t now_ns, vd_sample *sample)
{
    int64_t value = 0;
    int failed = read_value(b, &value);
    if (failed != 0)
        vd_channel_fail(&b->channel, sample, "cannot be read: %s", vd_sensor_error(failed));
    else if (b->way == ENERGY || b->way == CHARGE)
        vd_channel_counter(&b->channel, now_ns, (uint64_t)value, sample);
    else if (value == 0)
        vd_channel_fail(&b->channel, sample, "says 0 W while it is being discharged");
    else
        vd_channel_gauge(&b->channel, now_ns, (uint64_t)value, sample);
}

static bool is_plugged_in(const battery_meter *m)
{
    char online[8];
    for (size_t i = 0; i < m->n_chargers; i++)
        if (vd_sensor_text(&m->env, m->charger[i], online, sizeof(online)) &&
            strcmp(online, "0") != 0)
            return true;
    return false;
}

static void sample_all(void *self, uint64_t now_ns, vd_sample *sample)
{
    battery_meter *m = self;
    char status[BATTERIES_MAX][32];
    bool serves = false, plugged_in = is_plugged_in(m);
    for (size_t i = 0; i < m->n; i++) {
        (void)vd_sensor_text(&m->env, m->battery[i].status, status[i], sizeof(status[i]));
        serves |= strcmp(status[i], "Discharging") == 0;
    }
    for (size_t i = 0; i < m->n; i++) {
        battery *b = &m->battery[i];
        if (plugged_in) {
            vd_channel_fail(&b->channel, sample, "has a charger beside it: unplug the machine");
            vd_channel_restart(&b->channel);
        } else if (strcmp(status[i], "Discharging") == 0) {
            sample_battery(b, now_ns, sample);
        } else if (serves && status[i][0] != '\0' && strcmp(status[i], "Charging") != 0) {
            sample_idle(b, now_ns, sample);
        } else {
            vd_channel_fail(&b->channel, sample, "is not being discharged (%s): unplug the machine",
                            status[i][0] != '\0' ? status[i] : "no status");
            vd_channel_restart(&b->channel);
        }
    }
}

static void free_meter(void *self)
{
    battery_meter *m = self;
    for (size_t i = 0; m != NULL && i < m->n; i++) {
        vd_sensor_close(&m->battery[i].what);
        vd_sensor_close(&m->battery[i].voltage);
    }
    vd_free(m);
}

static bool open_file(vd_sensor *sensor, const vd_source_env *env, const char *folder,
                      const char *file)
{
    char path[VD_SENSOR_PATH_MAX];
    snprintf(path, sizeof(path), "%.480s/%s", folder, file);
    return vd_sensor_open(sensor, env, path, NULL) == 0;
}

/* The first way that this battery's driver offers. */
static bool choose_way(battery *b, const vd_source_env *env, const char *folder)
{
    static const char *const files[] = {
        [POWER] = "power_now", [CURRENT] = "current_now", [ENERGY] = "energy_now",
        [CHARGE] = "charge_now"};
    b->voltage.fd = -1;
    for (way w = POWER; w <= CHARGE; w++) {
        if (!open_file(&b->what, env, folder, files[w]))
            continue;
        b->way = w;
        if ((w != CURRENT && w != CHARGE) || open_file(&b->voltage, env, folder, "voltage_now"))
            return true;
        vd_sensor_close(&b->what);
    }
    return false;
}

typedef enum supply { OTHER, BATTERY, CHARGER } supply;

static supply kind_of(const vd_source_env *env, const char *folder)
{
    char path[VD_SENSOR_PATH_MAX], type[32], scope[32];
    snprintf(path, sizeof(path), "%.480s/type", folder);
    (void)vd_sensor_text(env, path, type, sizeof(type));
    snprintf(path, sizeof(path), "%.480s/scope", folder);
    (void)vd_sensor_text(env, path, scope, sizeof(scope));
    if (strcmp(scope, "Device") == 0)
        return OTHER;
    if (strcmp(type, "Battery") == 0)
        return BATTERY;
    bool charges = strcmp(type, "Mains") == 0 || strncmp(type, "USB", 3) == 0 ||
                   strcmp(type, "Wireless") == 0;
    return charges ? CHARGER : OTHER;
}

static vd_status add_battery(battery_meter *m, const vd_source_env *env, const char *folder,
                             const char *name, vd_err *err)
{
    if (m->n == BATTERIES_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "more than %d batteries", BATTERIES_MAX);
    battery *b = &m->battery[m->n];
    if (!choose_way(b, env, folder))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                       "the battery %.40s shows neither power nor energy in %.300s", name, folder);
    bool level = b->way == ENERGY || b->way == CHARGE;
    b->channel = (vd_channel){.part = VD_PART_CPU,
                              .most_w = most_w,
                              .slack_uj = slack_uj,
                              .stuck_ns = stuck_ns,
                              .most_ns = level ? 0 : most_ns};
    snprintf(b->channel.name, sizeof(b->channel.name), "the battery %.40s", name);
    snprintf(b->status, sizeof(b->status), "%.480s/status", folder);
    m->n++;
    return VD_OK;
}

static vd_status find(battery_meter *m, const vd_source_env *env, vd_err *err)
{
    char root[VD_SENSOR_PATH_MAX], folder[VD_SENSOR_PATH_MAX];
    const struct dirent *entry;
    vd_status st = VD_OK;
    snprintf(root, sizeof(root), "%.400s/class/power_supply", env->sysfs);
    DIR *listing = opendir(root);
    while (listing != NULL && st == VD_OK && (entry = readdir(listing)) != NULL) {
        snprintf(folder, sizeof(folder), "%.420s/%.48s", root, entry->d_name);
        bool asked = env->spec[0] == '\0' || strcmp(env->spec, entry->d_name) == 0;
        supply kind = entry->d_name[0] != '.' ? kind_of(env, folder) : OTHER;
        if (kind == BATTERY && asked)
            st = add_battery(m, env, folder, entry->d_name, err);
        else if (kind == CHARGER && m->n_chargers < CHARGERS_MAX)
            snprintf(m->charger[m->n_chargers++], VD_SENSOR_PATH_MAX, "%.480s/online", folder);
    }
    if (listing != NULL)
        closedir(listing);
    if (st == VD_OK && m->n == 0)
        st = VD_FAIL(err, VD_ERR_NOT_FOUND, "no battery%s%.100s in %s",
                     env->spec[0] != '\0' ? " " : "", env->spec, root);
    return st;
}

vd_status vd_source_battery_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    bool level = false;
    battery_meter *m = vd_calloc(1, sizeof(*m));
    if (m == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter battery");
    m->env = (vd_source_env){.open_file = env->open_file, .ctx = env->ctx};
    vd_status st = find(m, env, err);
    for (size_t i = 0; i < m->n; i++)
        level |= m->battery[i].way == ENERGY || m->battery[i].way == CHARGE;
    if (st == VD_OK) {
        vd_source source = {
            .method = "battery",
            .parts = VD_SOURCE_WHOLE,
            .refresh_ns = level ? level_refresh_ns : power_refresh_ns,
            .common_pct = common_pct,
            .independent_pct = level ? level_independent_pct : power_independent_pct,
            .note = "the whole machine with its screen, while it runs on battery",
        };
        snprintf(source.name, sizeof(source.name), "battery: %zu%s", m->n,
                 level ? ", by its level" : "");
        vd_sampler_plan plan = {.sample = sample_all,
                                .free = free_meter,
                                .self = m,
                                .period_ns = period_ns,
                                .may_begin_lost = true};
        st = vd_sampler_start(&plan, env, &source, ret_source, err);
    }
    if (st != VD_OK)
        free_meter(m);
    return st;
}
