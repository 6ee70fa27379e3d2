/* calibration.c - the curve of a calibrated machine, and which file serves. See calibration.h;
 * calibration_file.c reads and writes it. */
#include "energy/power/calibration.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/home.h"

/* Processors of one type differ among themselves: +-10 % holds 90 % of them (Inadomi et al. 2015
 * measured 2,000 of one). A virtual machine need not run on the one that was measured. */
static const double specimen_pct = 10;
/* Of the logarithm: the table says next to nothing of a machine that was measured. */
static const double scale_sd = 3;

vd_status vd_calibration_path(const char *cpu_type, char **ret_path, vd_err *err)
{
    char name[32 + VD_CALIBRATION_TEXT_MAX];
    snprintf(name, sizeof(name), "calibration/%.*s.json", VD_CALIBRATION_TEXT_MAX - 1, cpu_type);
    char *at = name + strlen("calibration/");
    for (size_t n = strlen(at) - strlen(".json"); n > 0; n--, at++) {
        bool keep = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                    (*at >= '0' && *at <= '9') || *at == '.' || *at == '-';
        if (!keep)
            *at = '_';
    }
    return vd_home_path(name, ret_path, err);
}

vd_status vd_calibration_fit(const vd_calibration *c, const vd_machine *machine,
                             vd_power *ret_power, vd_err *err)
{
    vd_power_prior prior;
    vd_power_shipped(&prior);
    if (c->wall) /* the table is of whole servers too */
        prior.mean[VD_POWER_FULL] = prior.mean[VD_POWER_IDLE] = 0;
    vd_machine whole = *machine;
    whole.n_cpu = c->threads;
    vd_power_base base, part;
    vd_machine_power_base(&whole, &base);
    vd_machine_power_base(machine, &part);
    base.sd = scale_sd; /* how much it draws is what was measured */

    vd_power_point *points = NULL;
    vd_status st = vd_alloc_array(c->n, sizeof(*points), "points of a calibration", &points, err);
    if (st != VD_OK)
        return st;
    memcpy(points, c->points, c->n * sizeof(*points));
    double memory_w = c->wall ? c->memory_gb * VD_DRAM_W_PER_GB : 0;
    for (size_t i = 0; i < c->n && st == VD_OK; i++) {
        points[i].watts -= memory_w;
        if (points[i].watts <= 0)
            st = VD_FAIL(err, VD_ERR_FORMAT,
                         "point %zu of the calibration has %g W, but %g GB of memory draw %.1f W",
                         i + 1, c->points[i].watts, c->memory_gb, memory_w);
    }
    vd_power power;
    if (st == VD_OK)
        st = vd_power_fit(&base, &prior, 1, points, c->n, &power, err);
    vd_free(points);
    if (st != VD_OK)
        return st;
    /* Parameters are relative to the table, so a part of the machine is a smaller base. */
    power.base = part;
    power.meter_pct = machine->virtual_machine ? hypot(c->meter_pct, specimen_pct) : c->meter_pct;
    *ret_power = power;
    return VD_OK;
}

static vd_status use_file(const char *path, bool named, const vd_machine *machine,
                          vd_power *ret_power, char note[VD_ERR_MESSAGE_MAX], vd_err *err)
{
    vd_calibration c = {0};
    vd_status st = vd_calibration_read(path, &c, err);
    if (st == VD_OK && !named && strcmp(c.cpu_type, machine->cpu) != 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s is of the processor '%s', not of '%s'", path,
                     c.cpu_type, machine->cpu);
    if (st == VD_OK)
        st = vd_calibration_fit(&c, machine, ret_power, err);
    if (st == VD_OK)
        snprintf(note, VD_ERR_MESSAGE_MAX, "calibrated by %s%s%s (%zu points, %s): %.200s",
                 c.meter[0] != '\0' ? c.meter : "measurements", c.made_at[0] != '\0' ? " at " : "",
                 c.made_at, c.n, c.wall ? "whole machine" : "processor", path);
    vd_calibration_done(&c);
    return st;
}

bool vd_calibration_find(const vd_machine *machine, vd_power *ret_power,
                         char ret_note[VD_ERR_MESSAGE_MAX])
{
    ret_note[0] = '\0';
    vd_power_prior prior;
    vd_power_base base;
    vd_power_shipped(&prior);
    vd_machine_power_base(machine, &base);
    vd_power_guess(&base, &prior, ret_power);

    const char *named = getenv("VERDANT_CALIBRATION");
    bool is_named = named != NULL && named[0] != '\0';
    if (is_named && strcmp(named, "none") == 0)
        return false;
    char *path = NULL;
    vd_err err = {0};
    vd_status st = is_named ? VD_OK : vd_calibration_path(machine->cpu, &path, &err);
    if (st == VD_OK)
        st = use_file(is_named ? named : path, is_named, machine, ret_power, ret_note, &err);
    vd_free(path);
    if (st == VD_OK)
        return true;
    if (is_named || (st != VD_ERR_NOT_FOUND && err.os_errno != ENOENT)) /* there is one */
        snprintf(ret_note, VD_ERR_MESSAGE_MAX, "no calibration: %.*s", VD_ERR_MESSAGE_MAX - 32,
                 err.message);
    return false;
}
